"""The active level is the power of what is on, whatever stands around it."""

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly

from mixit_lightning.audio.opening import read
from mixit_lightning.corpora.active_level import active_level
from mixit_lightning.corpora.doctor import ODD_LEVEL, OTHER_CHANNEL

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"
"""Recordings that are no part of the project; tests that use them are skipped where they are absent."""

TIME_CONSTANT, HANGOVER, MARGIN = 0.03, 0.2, 15.9
"""Of ITU-T P.56: seconds, seconds, dB."""

RATES = pytest.mark.parametrize("sample_rate", [8000, 16000])


def decibels(samples):
    return 10 * np.log10(np.mean(samples**2))


def bursts(seed, sample_rate, seconds=6):
    """Noise below 3.5 kHz, 0.6 s on and 0.4 s 60 dB lower; the same at every sample rate."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(seconds * 16000))
    spectrum[3500 * seconds :] = 0
    time = np.arange(seconds * sample_rate) / sample_rate
    noise = np.fft.irfft(spectrum[: seconds * sample_rate // 2 + 1], seconds * sample_rate) * sample_rate / 16000
    return 0.1 * noise * np.where(time % 1 < 0.6, 1, 1e-3)


def crossing(level):
    """Time constants after which a tone's envelope, having been switched off, falls below a share of itself."""
    steps = np.linspace(0, 50, 100000)
    return steps[np.argmax((1 + steps) * np.exp(-steps) < level)]


@RATES
@pytest.mark.parametrize(("on", "off"), [(1.0, 1.0), (0.5, 2.0), (2.0, 0.5)])
def test_bursts_of_a_tone_have_the_level_of_what_is_on(sample_rate, on, off):
    time = np.arange(round(4 * (on + off) * sample_rate)) / sample_rate
    samples = 0.3 * np.sin(2 * np.pi * 440 * time) * (time % (on + off) < on)
    level = active_level(samples, sample_rate)
    tone = 10 * np.log10(0.3**2 / 2)
    # The envelope of a sine is 2 / pi of its amplitude; it rises and falls with the filters, and is held then.
    share = 10 ** ((level - MARGIN) / 20) / (0.3 * 2 / np.pi)
    active = on + HANGOVER + TIME_CONSTANT * (crossing(share) - crossing(1 - share))
    assert level == pytest.approx(tone + 10 * np.log10(on / active), abs=0.1)
    assert 0 < tone + 10 * np.log10(on / (on + HANGOVER)) - level < 0.5


@RATES
@pytest.mark.parametrize("seconds", [1, 20])
def test_what_never_pauses_has_the_level_of_its_power(sample_rate, seconds):
    samples = 0.1 * np.random.default_rng(seconds).standard_normal(seconds * sample_rate)
    assert active_level(samples, sample_rate) == pytest.approx(decibels(samples), abs=0.25)


@RATES
@pytest.mark.parametrize("gain", [-40, -6.02, 3, 12])
def test_a_gain_moves_the_level_by_as_much(sample_rate, gain):
    samples = bursts(0, sample_rate)
    moved = active_level(samples * 10 ** (gain / 20), sample_rate)
    assert moved == pytest.approx(active_level(samples, sample_rate) + gain, abs=1e-6)


@RATES
def test_silence_around_it_changes_nothing(sample_rate):
    samples = bursts(1, sample_rate)
    silence = np.zeros(4 * sample_rate)
    level = active_level(samples, sample_rate)
    for longer in (np.concatenate([samples, silence]), np.concatenate([silence, samples, silence])):
        assert active_level(longer, sample_rate) == pytest.approx(level, abs=0.1)
        assert decibels(longer) < decibels(samples) - 2


@pytest.mark.parametrize("seed", range(3))
def test_the_sample_rate_does_not_matter(seed):
    assert active_level(bursts(seed, 8000), 8000) == pytest.approx(active_level(bursts(seed, 16000), 16000), abs=0.1)


def test_float32_and_float64_have_the_same_level():
    samples = bursts(2, 8000)
    assert active_level(samples.astype(np.float32), 8000) == pytest.approx(active_level(samples, 8000), abs=1e-3)


@pytest.mark.filterwarnings("error")
def test_silence_has_no_level():
    assert active_level(np.zeros(8000), 8000) == -np.inf


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("length", [1, 10, 8000])
def test_a_click_alone_has_some_level(length):
    samples = np.zeros(length)
    samples[length // 2] = 0.5
    assert np.isfinite(active_level(samples, 8000))


@pytest.mark.skipif(not (CORPORA / "speech").is_dir(), reason="the corpora are not on this machine")
@RATES
def test_cutting_speech_to_another_utterance_moves_its_level_little(sample_rate):
    """As much as `mode=min` does to sets that were made rightly, which the doctor must not take for another channel."""
    paths = sorted((CORPORA / "speech" / "test").rglob("*.flac"))
    signals = [resample_poly(read(path), sample_rate, 16000) for path in paths]
    levels = [active_level(signal, sample_rate) for signal in signals]
    order = np.random.default_rng(0).permutation(len(signals))
    moves, shares = [], []
    for one, other in zip(order, np.roll(order, 1), strict=True):
        short, long = sorted((one, other), key=lambda number: len(signals[number]))
        moves.append(abs(active_level(signals[long][: len(signals[short])], sample_rate) - levels[long]))
        shares.append(len(signals[short]) / len(signals[long]))
    gentle = np.array(moves)[np.array(shares) >= 0.6]
    for name, values in (("all pairs", moves), ("60 % or more left", gentle)):
        median, most = np.percentile(values, [50, 99])
        print(f"{sample_rate} Hz, {name} ({len(values)}): median {median:.2f} dB, 99 % below {most:.2f} dB")
    assert np.median(moves) < 0.6 * OTHER_CHANNEL and max(moves) < ODD_LEVEL
    assert np.median(gentle) < 0.5 * OTHER_CHANNEL and np.percentile(gentle, 99) < 0.5 * ODD_LEVEL
