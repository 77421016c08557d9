import itertools
from collections import Counter

import numpy as np
import pytest
import soundfile

from mixit_lightning.audio.resampling import resample
from mixit_lightning.collection.crops import CropList, Cropped, active_blocks, as_recording, crop, read_segment
from mixit_lightning.collection.index import AnalysedRecording
from mixit_lightning.data.dynamic import REFERENCE_RMS
from mixit_lightning.errors import UserError

from ..helpers.recordings import surveyed

RATE = 8000


def noise(seconds, seed=0, rate=RATE, scale=0.1):
    return scale * np.random.default_rng(seed).standard_normal(round(seconds * rate))


def recording(path, samples, rate=RATE):
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return as_recording(AnalysedRecording(path.name, path, surveyed(path)))


def test_a_segment_is_what_lies_there_with_silence_around(tmp_path):
    samples = noise(1).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", np.stack([0 * samples, samples], axis=1), RATE, subtype="FLOAT")

    def read(start, length, within=(0, RATE)):
        return read_segment(tmp_path / "a.wav", 1, RATE, start, within, length, RATE)

    assert (read(2000, 1000) == samples[2000:3000]).all()
    assert (read(-1000, 2000) == np.concatenate([np.zeros(1000), samples[:1000]])).all()
    assert (read(7200, 2000) == np.concatenate([samples[7200:], np.zeros(1200)])).all()
    assert (read(-4000, 16000) == np.concatenate([np.zeros(4000), samples, np.zeros(4000)])).all()
    assert (read(0, 3000, (1000, 2000)) == np.pad(samples[1000:2000], 1000)).all()


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24414, 32768, 44100, 44144, 48000, 48048, 96000])
@pytest.mark.parametrize("to_rate", [8000, 16000])
def test_a_segment_has_the_length_that_was_asked_for_at_every_rate_and_speed(tmp_path, rate, to_rate):
    samples = noise(2, rate=rate).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    for speed in (0.8, 0.95, 1.0, 1.05, 1.25):
        for length in (1, 4001, to_rate):
            found = read_segment(tmp_path / "a.wav", 0, rate, rate // 5, (0, len(samples)), length, to_rate, speed)
            assert len(found) == length and (length == 1 or found[-1] != 0)


def test_a_segment_at_another_rate_is_what_resampling_all_of_it_would_give(tmp_path):
    samples = noise(1, rate=44100).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 44100, subtype="FLOAT")
    found = read_segment(tmp_path / "a.wav", 0, 44100, 8820, (0, 44100), 4001, RATE)
    expected = resample(samples, 44100, RATE)[1600:5601]
    # But for the filter's reach at both ends.
    assert np.abs(found - expected)[20:-20].max() < 1e-5


@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_what_is_played_faster_is_higher_and_begins_at_the_same_place(tmp_path, speed):
    time = np.arange(4 * 16000) / 16000
    soundfile.write(tmp_path / "a.wav", np.sin(2 * np.pi * 500 * time) * (time >= 2), 16000, subtype="FLOAT")
    start = round(16000 * (2 - 0.5 * speed))
    found = read_segment(tmp_path / "a.wav", 0, 16000, start, (0, 64000), RATE, RATE, speed)
    spectrum = np.abs(np.fft.rfft(found[4000:8000] * np.hanning(4000)))
    assert spectrum.argmax() * RATE / 4000 == pytest.approx(500 * speed, abs=2)
    assert np.abs(found[:3980]).max() < 0.05 < np.abs(found[4000:4020]).max()


def test_a_recording_that_is_gone_or_spoilt_is_named(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(RATE, np.nan), RATE, subtype="FLOAT")

    def read(end=RATE):
        return read_segment(path, 0, RATE, 0, (0, end), 2 * RATE, RATE)

    with pytest.raises(UserError, match=r"a\.wav: holds samples that are not finite"):
        read()
    soundfile.write(path, np.zeros(RATE), RATE)
    with pytest.raises(UserError, match=r"a\.wav: ends after 8000 samples, earlier than before"):
        read(RATE + 1)
    path.unlink()
    with pytest.raises(UserError, match=r"a\.wav: cannot be read any more"):
        read()


def test_activity_follows_the_loud_parts():
    levels = np.array([-120, -20, -30, -61, -59, -90, -20])
    assert active_blocks(levels).tolist() == [1, 2, 4, 6]
    assert active_blocks(np.array([-75, -90])).tolist() == []
    assert active_blocks(np.array([-65, -69, -71])).tolist() == [0, 1]


def test_channels_count_alone_and_silent_ones_do_not(tmp_path):
    found = recording(tmp_path / "a.wav", np.stack([noise(1), np.zeros(RATE), noise(1, 1, scale=0.01)], axis=1))
    assert [channel.number for channel in found.channels] == [0, 2]
    assert found.channels[0].rms == pytest.approx(0.1, rel=0.1)
    assert found.channels[1].rms == pytest.approx(0.01, rel=0.1)
    assert found.active_seconds == pytest.approx(1.0)
    quiet = np.concatenate([noise(0.5), np.zeros(RATE // 2)])
    half = recording(tmp_path / "b.wav", np.stack([noise(1), quiet], axis=1))
    assert half.active_seconds == pytest.approx(0.75)


def test_what_stands_out_of_the_background_is_known(tmp_path):
    samples = noise(10, scale=0.001)
    samples[4000:5600] += noise(0.2, 1, scale=0.05)
    channel = recording(tmp_path / "a.wav", samples).channels[0]
    assert len(channel.active) == 100 and channel.events.tolist() == [5, 6]
    steady = recording(tmp_path / "b.wav", noise(10)).channels[0]
    assert (steady.events == steady.active).all()


@pytest.mark.parametrize("place", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("block", [0, 7, 29])
def test_a_crop_has_its_block_in_it_and_stays_inside(tmp_path, place, block):
    samples = noise(3)
    samples[block * 800 : (block + 1) * 800] = 0.5
    channel = recording(tmp_path / "a.wav", samples).channels[0]
    found = crop(channel, block, place, RATE, RATE) * channel.rms
    assert len(found) == RATE and (np.abs(found - 0.5) < 1e-6).sum() >= 800 and (found != 0).all()


def test_crops_find_their_block_hours_later(tmp_path):
    """A tenth of a second at 11,025 Hz is no whole number of samples."""
    samples = np.zeros(600 * 11025, np.float32)
    samples[-11025:-9923] = noise(0.1, rate=11025)
    channel = recording(tmp_path / "a.wav", samples, 11025).channels[0]
    for block in channel.active.tolist():
        for place in (0.0, 0.5, 1.0):
            assert np.abs(crop(channel, block, place, RATE // 2, RATE)).max() > 1


def wave(value, seconds):
    """A square wave, whose level and place can be read off its samples."""
    return value * np.tile([1.0, -1.0], round(seconds * RATE / 2))


@pytest.mark.parametrize("seconds", [1, 3])
def test_a_crop_of_a_part_stays_inside_the_part(tmp_path, seconds):
    samples = np.concatenate([wave(0.1, 1), wave(0.2, 2), wave(0.3, 1)])
    part = recording(tmp_path / "a.wav", samples).between(0.25, 0.75)
    channel = part.channels[0]
    assert part.active_seconds == pytest.approx(2.0)
    for block, place in itertools.product((10, 29), (0, 1)):
        found = np.abs(crop(channel, block, place, seconds * RATE, RATE)) * channel.rms
        assert found[found > 0] == pytest.approx(0.2) and (found > 0).sum() == min(seconds, 2) * RATE


def test_parts_have_no_block_in_common(tmp_path):
    whole = recording(tmp_path / "a.wav", noise(1.23))
    parts = [whole.between(0, 0.37).channels[0], whole.between(0.37, 1).channels[0]]
    assert parts[0].end == parts[1].first and not set(parts[0].active) & set(parts[1].active)


def test_a_short_recording_stands_anywhere_in_its_crop(tmp_path):
    channel = recording(tmp_path / "a.wav", wave(0.1, 0.25)).channels[0]
    for place, first in ((0, 0), (0.5, 3000), (1, 6000)):
        found = crop(channel, 1, place, RATE, RATE)
        assert np.flatnonzero(found).tolist() == list(range(first, first + 2000))


def pool(recordings, fairness=0.5, **more):
    settings = {"length": 2000, "sample_rate": RATE, "num_mixtures": 2, "max_level": 0.0, "speeds": [1.0], "seed": 0}
    return Cropped(recordings, fairness=fairness, **(settings | more))


@pytest.fixture
def three(tmp_path):
    """Recordings of 1, 4 and 16 s."""
    return [recording(tmp_path / f"{seconds}.wav", noise(seconds, seconds)) for seconds in (1, 4, 16)]


@pytest.mark.parametrize(("fairness", "weights"), [(0, (1, 1, 1)), (0.5, (1, 2, 4)), (1, (1, 4, 16))])
def test_recordings_are_drawn_without_replacement_by_their_time(three, fairness, weights):
    crops = pool(three, fairness)
    counts = Counter(tuple(crops.choose(example)) for example in range(6000))
    shares = np.array(weights) / sum(weights)
    for one, other in itertools.permutations(range(3), 2):
        expected = shares[one] * shares[other] / (1 - shares[one])
        assert counts[one, other] / 6000 == pytest.approx(expected, abs=0.025)
    assert not any(one == other for one, other in counts)


def test_a_recording_that_outweighs_all_others_is_drawn_once(tmp_path, three):
    crops = pool(three, 1)
    crops.weights = np.array([1e-17, 1e-17, 1.0])
    assert all(set(crops.choose(example)) > {2} for example in range(100))


def test_silence_is_passed_over(tmp_path):
    samples = np.zeros(20 * RATE)
    samples[10 * RATE : 10 * RATE + 800] = noise(0.1)
    quiet = recording(tmp_path / "a.wav", samples)
    crops = pool([quiet, recording(tmp_path / "b.wav", noise(20, 1))])
    for number in range(40):
        assert crops.draw(number).mixture.abs().max() > 0


def test_calls_are_heard_more_often_than_the_wind(tmp_path):
    calls = np.concatenate([noise(0.5, 3, scale=0.05), np.zeros(round(24.5 * RATE))]) + noise(25, scale=0.002)
    crops = pool([recording(tmp_path / f"{number}.wav", calls) for number in range(2)], length=800)
    with_call = sum(crops.draw(number).mixture.abs().max() > 5 * REFERENCE_RMS for number in range(200))
    assert 0.4 < with_call / 200 < 0.65  # 2 % of the time has one


def test_draws_depend_on_seed_and_number_alone_and_have_the_level_of_their_recording(three):
    crops, again, other = pool(three), pool(three), pool(three, seed=1)
    assert all((crops.draw(number).mixture == again.draw(number).mixture).all() for number in range(8))
    assert not all(crops.draw(number).name == other.draw(number).name for number in range(8))
    found = crops.draw(0)
    assert found.references.shape == (0, 2000)
    assert found.mixture.square().mean().sqrt().item() == pytest.approx(REFERENCE_RMS, rel=0.1)
    loud = [pool(three, max_level=6.0).draw(number).mixture.square().mean().sqrt() for number in range(40)]
    assert (
        REFERENCE_RMS / 2.3 < min(loud) < 0.7 * REFERENCE_RMS and 1.4 * REFERENCE_RMS < max(loud) < 2.3 * REFERENCE_RMS
    )


def test_a_single_recording_is_mixed_with_another_part_of_itself(tmp_path):
    samples = np.concatenate([wave(0.1, 5), wave(0.2, 5)])
    crops = pool([recording(tmp_path / "a.wav", samples)])
    levels = {tuple(np.unique(crops.draw(number).mixture.abs().numpy().round(4))) for number in range(20)}
    assert len(levels) == 2 and all(len(level) == 1 for level in levels)
    for example in range(10):
        assert sorted(crops.choose(example)) == [0, 1]


def test_crops_are_drawn_at_all_speeds(tmp_path):
    time = np.arange(20 * RATE) / RATE
    tones = [recording(tmp_path / f"{number}.wav", np.sin(2 * np.pi * 1000 * time)) for number in range(2)]
    crops = pool(tones, speeds=[0.8, 1.0, 1.25], length=RATE)
    peaks = Counter(int(peak(crops, number)) for number in range(90))
    assert set(peaks) == {800, 1000, 1250} and min(peaks.values()) > 15
    with pytest.raises(UserError, match=r"datamodule\.speeds"):
        pool(tones, speeds=[3.0])


def peak(crops, number):
    return np.abs(np.fft.rfft(crops.draw(number).mixture.numpy())).argmax()


def test_too_little_is_refused(tmp_path):
    with pytest.raises(UserError, match="too little"):
        pool([recording(tmp_path / "a.wav", noise(0.1))])


def test_a_list_is_spread_over_recordings_and_their_time(three):
    crops = CropList(three, 2000, RATE, 14, 0.5)
    names = [crops[number].name for number in range(len(crops))]
    counts = Counter(name.split(" around ")[0] for name in names)
    assert counts == {"1.wav": 2, "4.wav": 4, "16.wav": 8} and len(set(names)) == 14
    times = sorted(float(name.split(" around ")[1].removesuffix(" s")) for name in names if name.startswith("16"))
    assert times == pytest.approx([1, 3, 5, 7, 9, 11, 13, 15], abs=0.11)
    assert (crops[3].mixture == CropList(three, 2000, RATE, 14, 0.5)[3].mixture).all()
    even = CropList(three, 2000, RATE, 9, 0.0)
    assert Counter(even[number].name.split(" around ")[0] for number in range(9)).most_common()[-1][1] == 3


def test_neighbours_of_a_list_are_from_different_recordings_or_far_apart(tmp_path, three):
    several = [recording(tmp_path / f"x{number}.wav", noise(3, number)) for number in range(4)]
    crops = CropList(several, 2000, RATE, 20, 0.5)
    names = [crops[number].name.split(" around ")[0] for number in range(20)]
    assert all(one != other for one, other in itertools.pairwise(names))
    one = CropList(three[2:], 2000, RATE, 20, 0.5)
    times = [float(one[number].name.split(" around ")[1].removesuffix(" s")) for number in range(20)]
    assert all(abs(first - second) > 6 for first, second in itertools.pairwise(times))


def test_a_list_holds_no_more_than_fits_and_two_at_least(three):
    assert len(CropList(three, RATE, RATE, 1000, 0.5)) == 1 + 4 + 16
    assert len(CropList(three, RATE, RATE, 5, 0.5)) == 5
    with pytest.raises(UserError, match=r"1\.wav: .* too short for two crops of 1 s"):
        CropList(three[:1], RATE, RATE, 100, 0.5)
