import importlib

import numpy as np
import pytest

from mixit_lightning.cli import main
from mixit_lightning.config import load_config

SAMPLE_RATE = 8000
LENGTH = 2 * SAMPLE_RATE
KINDS = ["voice", "siren", "birds", "drums", "bells", "noise"]
DRAWS = 15


@pytest.fixture(scope="module")
def sounds():
    load_config(["recipe=synthetic"])  # makes the recipe's modules known
    return importlib.import_module("sounds").KINDS


@pytest.fixture(scope="module")
def pool():
    load_config(["recipe=synthetic"])
    return importlib.import_module("synthetic").GeneratedSounds(SAMPLE_RATE)


def frames(sound, size=256):
    return sound[: len(sound) // size * size].reshape(-1, size)


def power_spectrum(sound):
    return np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2, np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)


def centroid(sound):
    """Hz."""
    power, frequency = power_spectrum(sound)
    return (power * frequency).sum() / power.sum()


def quiet_share(sound):
    """Share of the frames of 32 ms that are 30 dB or more below the loudest."""
    energy = np.square(frames(sound)).sum(1)
    return np.mean(energy < energy.max() / 1000)


def peakedness(sound):
    """Share of the energy in the strongest 2 of 129 bands of every loud frame of 32 ms: 1 for a steady tone."""
    energy = np.square(frames(sound)).sum(1)
    power = np.abs(np.fft.rfft(frames(sound)[energy > energy.max() / 100] * np.hanning(256))) ** 2
    return np.mean(np.sort(power, 1)[:, -2:].sum(1) / power.sum(1))


def crest(sound):
    return np.abs(sound).max() / np.sqrt(np.mean(np.square(sound)))


def envelope(sound):
    """Energy of frames of 20 ms."""
    return np.square(frames(sound, 160)).sum(1)


def attacks(sound):
    """How often the energy jumps by 15 dB to within 10 dB of the loudest."""
    energy = envelope(sound)
    return np.sum((energy[1:] > energy.max() / 10) & (energy[1:] > 30 * energy[:-1]))


def rise(sound):
    """The steepest rise of the level over its steepest fall: 1 for what comes as it goes."""
    steps = np.diff(np.sqrt(envelope(sound)))
    return steps.max() / -steps.min()


TELLING = {
    "voice": {rise: (0, 3), attacks: (0, 1), quiet_share: (0.05, 0.6), crest: (5.5, 15), centroid: (300, 1600)},
    "siren": {peakedness: (0.8, 1), crest: (1, 2), quiet_share: (0, 0)},
    "birds": {centroid: (2000, 4000), quiet_share: (0.3, 1), peakedness: (0.3, 1)},
    "drums": {attacks: (3, 12), crest: (6, 20), centroid: (0, 2000)},
    "bells": {rise: (3, 20), crest: (4, 6), peakedness: (0.6, 1)},
    "noise": {quiet_share: (0, 0.01), peakedness: (0, 0.6), crest: (3.5, 6.5)},
}
"""What each kind can be told by, and no other kind has all of: measures within bounds."""


@pytest.mark.parametrize("sample_rate", [8000, 16000])
@pytest.mark.parametrize("kind", KINDS)
def test_sounds_are_sounds_and_a_generator_is_a_sound(sounds, kind, sample_rate):
    for length in (sample_rate // 2, 2 * sample_rate + 1):
        one, again, other = (sounds[kind](np.random.default_rng(seed), length, sample_rate) for seed in (1, 1, 2))
        assert one.shape == (length,) and one.dtype == np.float32
        assert np.isfinite(one).all() and np.sqrt(np.mean(one**2)) > 1e-3
        np.testing.assert_array_equal(one, again)
        assert not np.array_equal(one, other)


def test_there_are_six_kinds(sounds):
    assert list(sounds) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_every_sound_can_be_told_from_those_of_the_other_kinds(sounds, kind):
    for seed in range(DRAWS):
        sound = sounds[kind](np.random.default_rng(seed), LENGTH, SAMPLE_RATE)
        fitting = [
            name
            for name, bounds in TELLING.items()
            if all(low <= measure(sound) <= high for measure, (low, high) in bounds.items())
        ]
        assert fitting == [kind]


def test_the_pool_gives_every_kind_at_rms_1(pool):
    assert list(pool.groups) == KINDS
    for kind in KINDS:
        for seed in range(5):
            name, sound = pool.draw(kind, np.random.default_rng(seed), LENGTH)
            assert name == kind and sound.shape == (LENGTH,)
            assert np.sqrt(np.mean(sound.astype(np.float64) ** 2)) == pytest.approx(1, rel=1e-5)


def test_a_voice_that_pauses_all_the_time_is_drawn_again(pool, sounds):
    silent = 0
    for seed in range(400):
        silent += not sounds["voice"](np.random.default_rng(seed), SAMPLE_RATE // 2, SAMPLE_RATE).any()
        assert np.isfinite(pool.draw("voice", np.random.default_rng(seed), SAMPLE_RATE // 2)[1]).all()
    assert silent  # otherwise this shows nothing


@pytest.mark.parametrize("setting", ["datamodule.duration=0.4", "sample_rate=4000"])
def test_what_the_sounds_do_not_fit_into_is_refused(setting, tmp_path, capsys):
    assert main(["train", "recipe=synthetic", "trainer.accelerator=cpu", f"runs={tmp_path / 'runs'}", setting]) == 1
    assert setting.split("=")[0] in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/*/*"))
