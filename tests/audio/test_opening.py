import os
import struct

import numpy as np
import pytest
import soundfile

from mixit_lightning.audio.claims import SAMPLES_AT_ONCE
from mixit_lightning.audio.finding import recordings_below
from mixit_lightning.audio.opening import read, read_header, read_headers
from mixit_lightning.audio.resampling import resample
from mixit_lightning.audio.writing import write
from mixit_lightning.errors import UserError

STEP_16_BIT = 1 / 2**15


def noise(length=8000, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


def sine(frequency, sample_rate, seconds=1.0, amplitude=0.3):
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def cut_off(path):
    content = path.read_bytes()
    path.write_bytes(content[: 2 * len(content) // 3])


@pytest.mark.parametrize("sample_rate", [8000, 16000])
def test_what_is_written_is_read_again(tmp_path, sample_rate):
    samples = noise()
    path = tmp_path / "a.wav"
    write(path, samples, sample_rate)
    assert read_header(path) == (8000, sample_rate)
    again = read(path)
    assert again.dtype == np.float32
    np.testing.assert_allclose(again, samples, rtol=0, atol=STEP_16_BIT)
    assert soundfile.info(str(path)).subtype == "PCM_16"


def test_what_is_too_loud_is_clipped_and_does_not_wrap_around(tmp_path):
    path = tmp_path / "a.wav"
    write(path, np.array([1.5, -1.5, 0.5], dtype=np.float32), 8000)
    np.testing.assert_allclose(read(path), [1, -1, 0.5], rtol=0, atol=STEP_16_BIT)


def test_writing_leaves_no_temporary_file_and_a_failure_keeps_the_old_one(tmp_path):
    path = tmp_path / "a.wav"
    write(path, noise(), 8000)
    before = path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(Exception):  # noqa: B017 - whatever the library raises for a shape that is no audio
        write(path, np.zeros((2, 2, 2)), 8000)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_partial_reads(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    soundfile.write(str(path), noise(), 8000, subtype="PCM_16")
    whole, _ = soundfile.read(str(path), dtype="float32")
    for start, frames in [(0, 100), (1234, 567), (7999, 1), (0, 8000)]:
        np.testing.assert_array_equal(read(path, start, frames), whole[start : start + frames])
    np.testing.assert_array_equal(read(path, 5000), whole[5000:])


def test_reading_past_the_end_is_an_error(tmp_path):
    path = tmp_path / "a.wav"
    write(path, noise(), 8000)
    with pytest.raises(UserError, match=r"a\.wav: .* 8000 "):
        read(path, 7000, 1001)


@pytest.mark.parametrize(("from_rate", "to_rate"), [(16000, 8000), (44100, 16000), (8000, 16000)])
def test_resampling_keeps_frequency_level_and_time(from_rate, to_rate):
    result = resample(sine(1000, from_rate), from_rate, to_rate)
    expected = sine(1000, to_rate)
    assert result.dtype == np.float32 and len(result) == len(expected)
    inner = slice(to_rate // 10, -to_rate // 10)
    np.testing.assert_allclose(result[inner], expected[inner], rtol=0, atol=2e-3)


def test_resampling_removes_what_the_lower_rate_cannot_hold():
    result = resample(sine(6000, 16000), 16000, 8000)
    assert np.abs(result[800:-800]).max() < 0.003


def test_resampling_to_the_same_rate_changes_nothing():
    samples = noise()
    np.testing.assert_array_equal(resample(samples, 8000, 8000), samples)


def cut_off_wav(path):
    soundfile.write(str(path), noise(), 8000)
    cut_off(path)


def cut_off_ogg(path):
    soundfile.write(str(path), noise(80000), 8000)
    cut_off(path)


def text(path):
    path.write_text("This is not audio.\n" * 50)


def empty(path):
    path.touch()


def stereo(path):
    soundfile.write(str(path), np.stack([noise(), noise()], 1), 8000)


def no_samples(path):
    soundfile.write(str(path), noise(0), 8000)


def missing(path):
    pass


def claiming(rate, channels):
    """Makes a file whose header claims what no recording has."""

    def make(path):
        form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 % 2**32, channels * 2, 16)
        samples = b"\1\0" * 4000
        body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(samples)) + samples
        path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)

    return make


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.wav", cut_off_wav, "cut off"),
        ("a.ogg", cut_off_ogg, "cut off"),
        ("a.wav", text, "cannot be read as audio"),
        ("a.flac", text, "cannot be read as audio"),
        ("a.wav", empty, "is empty"),
        ("a.wav", stereo, "2 channels"),
        ("a.wav", no_samples, "no samples"),
        ("a.wav", missing, "cannot be read"),
        ("a.wav", os.mkfifo, "no regular file"),
        ("a.wav", claiming(1, 1), "1 Hz"),
        ("a.wav", claiming(3_000_000, 1), "3000000 Hz"),
        ("a.wav", claiming(8000, 1000), "1000 channels"),
    ],
)
def test_headers_of_bad_files_are_refused_by_name(tmp_path, name, make, message):
    path, good = tmp_path / name, tmp_path / "good.wav"
    make(path)
    write(good, noise(), 8000)
    for refused in (lambda: read_header(path), lambda: read_headers([good, path, good], "files")):
        with pytest.raises(UserError) as error:
            refused()
        assert str(path) in str(error.value) and message in str(error.value)
        assert "\n" not in str(error.value)


def test_more_samples_than_memory_are_not_read(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(4000), 8000)
    content = bytearray(path.read_bytes())
    content[22:26] = struct.pack(">I", SAMPLES_AT_ONCE + 1)  # the lower bits of their number
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.flac: .*{SAMPLES_AT_ONCE + 1} samples"):
        read(path)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_written_into_a_pipe_is_not_taken_for_one_that_is_cut_off(tmp_path, size):
    path = tmp_path / "a.wav"
    soundfile.write(str(path), noise(), 8000)
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = size.to_bytes(4, "little")
    path.write_bytes(content)
    assert read_header(path) == (8000, 8000)
    assert len(read(path)) == 8000


def test_headers_come_in_the_order_of_the_paths(tmp_path):
    lengths = [500, 100, 300, 200, 400]
    paths = [tmp_path / f"{length}.wav" for length in lengths]
    for path, length in zip(paths, lengths, strict=True):
        write(path, noise(length), 8000)
    assert [header.frames for header in read_headers(paths, "files")] == lengths


def test_a_flac_without_its_last_third_is_refused_when_that_part_is_read(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(str(path), noise(32000), 16000)
    cut_off(path)
    assert len(read(path, 0, 1000)) == 1000
    for start, frames in [(0, None), (20000, 12000), (30000, 100)]:
        with pytest.raises(UserError, match=r"a\.flac: "):
            read(path, start, frames)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path, value):
    samples = noise()
    samples[4000] = value
    path = tmp_path / "a.wav"
    soundfile.write(str(path), samples, 8000, subtype="FLOAT")
    with pytest.raises(UserError, match=r"a\.wav: "):
        read(path)
    np.testing.assert_array_equal(read(path, 0, 4000), samples[:4000])


def test_finding_audio_sorts_follows_links_and_leaves_other_files_out(tmp_path):
    folder, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    names = ["b/deep/er/2.flac", "b/1.WAV", "a/3.ogg"]
    for path in [*(folder / name for name in names), folder / "a/notes.txt", folder / "a/wav", elsewhere / "4.wav"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "c").symlink_to(elsewhere)
    found = [str(path.relative_to(folder)) for path in recordings_below(folder)]
    assert found == ["a/3.ogg", "b/1.WAV", "b/deep/er/2.flac", "c/4.wav"]


def test_odd_rates_go_there_and_back_without_a_filter_for_every_sample():
    samples = sine(440, 44056)
    there = resample(samples, 44056, 8000)
    assert abs(len(there) - 8000) < 20
    back = resample(there, 8000, 44056)
    inner = slice(2000, 42000)
    assert np.abs(back[inner] - samples[inner]).max() < 0.01
    assert resample(samples, 8003, 8000) is samples
