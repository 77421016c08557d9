import numpy as np
import pytest
import soundfile

from mixit_lightning.data.recordings import RecordingPool
from mixit_lightning.errors import UserError


def write(path, samples=None, sample_rate=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    if samples is None:
        samples = 0.1 * np.random.default_rng(len(path.name)).standard_normal(1000)
    soundfile.write(str(path), samples, sample_rate, subtype=None if path.suffix == ".flac" else "FLOAT")


@pytest.fixture
def folder(tmp_path):
    for speaker in ("ann", "bob", "cy"):
        for number in range(8):
            write(tmp_path / speaker / ("book" if number % 2 else "") / f"{speaker}{number}.wav")
    return tmp_path


def rng(seed=0):
    return np.random.default_rng(seed)


def test_scanning_sorts_recordings_by_speaker_at_any_depth(folder):
    pool = RecordingPool.of_speakers(folder, 8000)
    assert pool.groups == ["ann", "bob", "cy"]
    for speaker, paths in pool.recordings.items():
        assert sorted(path.stem for path in paths) == [f"{speaker}{number}" for number in range(8)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "data: no such folder"),
        (["ann/notes.txt"], "data: no audio files"),
        (["ann/1.wav", "ann/2.wav"], r"only one speaker \(ann\)"),
        (["ann/1.wav", "bob/1.wav", "loose.wav"], r"loose\.wav: lies beside"),
        (["ann/1.wav", "bob/broken.wav"], r"broken\.wav"),
    ],
)
def test_scan_refuses_what_is_no_folder_of_speakers(tmp_path, files, message):
    for name in files:
        path = tmp_path / "data" / name
        write(path.with_suffix(".wav"))
        if path.suffix == ".txt":
            path.with_suffix(".wav").rename(path)
        if path.stem == "broken":
            path.write_text("none")
    with pytest.raises(UserError, match=message):
        RecordingPool.of_speakers(tmp_path / "data", 8000)


def test_scan_refuses_a_rate_below_the_wanted_and_takes_one_above(folder):
    write(folder / "ann" / "high.wav", sample_rate=16000)
    RecordingPool.of_speakers(folder, 8000)
    with pytest.raises(UserError, match=r"ann0\.wav: 8000 Hz, .*sample_rate=16000"):
        RecordingPool.of_speakers(folder, 16000)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_split_parts_the_recordings_in_the_given_share(folder, share):
    pool = RecordingPool.of_speakers(folder, 8000)

    def files(part):
        return [path for paths in part.recordings.values() for path in paths]

    labelled, rest = pool.split(share, seed=3)
    assert len(files(labelled)) == share * 24
    assert not set(files(labelled)) & set(files(rest))
    assert sorted(files(labelled) + files(rest)) == sorted(files(pool))
    assert all(path.stem.startswith(speaker) for speaker, paths in labelled.recordings.items() for path in paths)
    assert labelled.sample_rate == rest.sample_rate == 8000
    assert [files(part) for part in pool.split(share, seed=3)] == [files(labelled), files(rest)]
    assert set(files(pool.split(share, seed=4)[0])) != set(files(labelled))


@pytest.mark.parametrize("share", [0, 1, 0.0, 1.0])
def test_split_into_nothing_and_everything_gives_everything_twice(folder, share):
    pool = RecordingPool.of_speakers(folder, 8000)
    assert pool.split(share, seed=0) == (pool, pool)


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_split_refuses_a_part_without_two_speakers(folder, share):
    with pytest.raises(UserError, match=f"labelled_share={share} "):
        RecordingPool.of_speakers(folder, 8000).split(share, seed=0)


@pytest.fixture
def ramp(tmp_path):
    """A pool whose speaker `up` has one recording that tells the place of every sample."""
    write(tmp_path / "up" / "ramp.wav", np.arange(1, 13, dtype=np.float32) / 100)
    write(tmp_path / "other" / "o.wav")
    return RecordingPool.of_speakers(tmp_path, 8000)


def test_whole_recordings_come_at_rms_1(ramp):
    name, samples = ramp.draw("up", rng(), None)
    assert name == "ramp" and samples.dtype == np.float32
    expected = np.arange(1, 13)
    np.testing.assert_allclose(samples, expected / np.sqrt(np.mean(expected**2)), rtol=1e-6)


def test_long_recordings_are_cropped_anywhere(ramp):
    whole = ramp.draw("up", rng(), None)[1]
    starts = set()
    for seed in range(60):
        samples = ramp.draw("up", rng(seed), 10)[1]
        (start,) = (s for s in range(3) if np.array_equal(samples, whole[s : s + 10]))
        starts.add(start)
    assert starts == {0, 1, 2}


def test_short_recordings_are_padded_with_silence_anywhere(ramp):
    whole = ramp.draw("up", rng(), None)[1]
    starts = set()
    for seed in range(60):
        samples = ramp.draw("up", rng(seed), 14)[1]
        assert samples.shape == (14,)
        start = int(np.flatnonzero(samples)[0])
        np.testing.assert_array_equal(samples, np.concatenate([np.zeros(start), whole, np.zeros(2 - start)]))
        starts.add(start)
    assert starts == {0, 1, 2}


def test_every_recording_of_the_speaker_is_drawn_and_no_other(folder):
    pool = RecordingPool.of_speakers(folder, 8000)
    names = {pool.draw("bob", rng(seed), 10)[0] for seed in range(100)}
    assert names == {f"bob{number}" for number in range(8)}


def test_recordings_at_higher_rates_are_resampled(tmp_path):
    time = np.arange(16000) / 16000
    write(tmp_path / "a" / "sine.wav", 0.1 * np.sin(2 * np.pi * 500 * time), 16000)
    write(tmp_path / "b" / "other.wav")
    samples = RecordingPool.of_speakers(tmp_path, 8000).draw("a", rng(), None)[1]
    expected = np.sqrt(2) * np.sin(2 * np.pi * 500 * np.arange(8000) / 8000)
    assert len(samples) == 8000
    np.testing.assert_allclose(samples[500:-500], expected[500:-500], atol=0.01)


def test_a_recording_is_decoded_once_and_not_changed_by_its_users(ramp):
    first = ramp.draw("up", rng(), None)[1].copy()
    ramp.recordings["up"][0].unlink()
    np.testing.assert_array_equal(ramp.draw("up", rng(), None)[1], first)


def test_what_does_not_fit_into_the_cache_is_decoded_again(ramp, monkeypatch):
    monkeypatch.setattr("mixit_lightning.data.recordings.CACHE_BYTES", 40)
    first = ramp.draw("up", rng(), None)[1]
    assert not ramp.decoded.cache and not ramp.decoded.cached_bytes
    np.testing.assert_array_equal(ramp.draw("up", rng(), None)[1], first)


def test_a_silent_recording_is_refused(tmp_path):
    write(tmp_path / "a" / "silent.wav", np.zeros(100))
    write(tmp_path / "b" / "other.wav")
    with pytest.raises(UserError, match=r"silent\.wav"):
        RecordingPool.of_speakers(tmp_path, 8000).draw("a", rng(), 10)


def test_a_faster_recording_is_shorter_and_higher(tmp_path):
    for name in ("ann", "bob"):
        write(tmp_path / name / "tone.wav", 0.5 * np.sin(2 * np.pi * 500 * np.arange(8000) / 16000), 16000)
    pool = RecordingPool.of_speakers(tmp_path, 8000)
    (path,) = pool.recordings["ann"]
    for speed in (0.8, 0.95, 1.0, 1.2):
        samples, rms = pool.decoded.load(path, speed)
        assert abs(len(samples) - 4000 / speed) <= 1
        frequency = np.abs(np.fft.rfft(samples, 80000)).argmax() / 10
        assert frequency == pytest.approx(500 * speed, abs=1)
        assert np.sqrt(np.mean(samples**2)) == pytest.approx(rms, rel=1e-5)


def test_all_speeds_are_drawn_and_kept_apart(ramp):
    pool = RecordingPool.of_speakers(next(iter(ramp.recordings["up"])).parents[1], 8000, speeds=[0.5, 1.0])
    lengths = {len(pool.draw("up", rng(seed), None)[1]) for seed in range(20)}
    assert lengths == {12, 24}
    assert [part.speeds for part in pool.split(1.0, seed=0)] == [(0.5, 1.0)] * 2


@pytest.mark.parametrize("speeds", [[], [0.0], [1.0, 3.0], [float("nan")]])
def test_impossible_speeds_are_refused(folder, speeds):
    with pytest.raises(UserError, match=r"datamodule\.speeds"):
        RecordingPool.of_speakers(folder, 8000, speeds)
