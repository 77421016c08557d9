"""Read by hand, a plain WAV file gives the very samples that libsndfile gives; all else is left to libsndfile."""

import numpy as np
import pytest
import soundfile

from mixit_lightning.audio.opening import read
from mixit_lightning.audio.plain_wav import read_plain_wav

LENGTH = 5000


def samples(channels=1):
    values = np.random.default_rng(0).integers(-(2**15), 2**15, (LENGTH, channels), dtype=np.int16)
    values[:4] = np.array([-(2**15), 2**15 - 1, 0, -1])[:, None]
    return values


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "plain.wav"
    soundfile.write(str(path), samples(), 8000, subtype="PCM_16")
    return path


@pytest.mark.parametrize(("start", "frames"), [(0, None), (0, LENGTH), (1, 3), (4000, None), (4999, 1), (5000, 0)])
def test_a_segment_is_what_libsndfile_gives(plain, start, frames):
    found = read_plain_wav(plain, start, frames)
    stop = None if frames is None else start + frames
    expected, _ = soundfile.read(str(plain), start=start, stop=stop, dtype="float32")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_chunks_after_the_samples_are_not_samples(plain):
    content = plain.read_bytes() + b"LIST" + (400).to_bytes(4, "little") + bytes(400)
    plain.write_bytes(content)
    assert len(read_plain_wav(plain, 0, None)) == LENGTH
    assert read_plain_wav(plain, LENGTH - 10, 11) is None


def with_a_chunk_before(path):
    soundfile.write(str(path), samples(), 8000, subtype="PCM_16")
    content = path.read_bytes()
    path.write_bytes(content[:36] + b"LIST" + (8).to_bytes(4, "little") + bytes(8) + content[36:])


@pytest.mark.parametrize(
    ("name", "channels", "settings"),
    [
        ("a.flac", 1, {"subtype": "PCM_16"}),
        ("a.wav", 2, {"subtype": "PCM_16"}),
        ("a.wav", 1, {"subtype": "PCM_24"}),
        ("a.wav", 1, {"subtype": "PCM_U8"}),
        ("a.wav", 1, {"subtype": "FLOAT"}),
        ("a.wav", 1, {"subtype": "ALAW"}),
        ("a.wav", 1, {"subtype": "PCM_16", "format": "WAVEX"}),
        ("a.wav", 1, {"subtype": "PCM_16", "endian": "BIG"}),
        ("a.wav", 1, None),
    ],
)
def test_other_files_are_left_to_libsndfile(tmp_path, name, channels, settings):
    path = tmp_path / name
    if settings is None:
        with_a_chunk_before(path)
    else:
        soundfile.write(str(path), samples(channels), 8000, **settings)
    assert read_plain_wav(path, 100, 50) is None
    expected, _ = soundfile.read(str(path), start=100, stop=150, dtype="float32", always_2d=True)
    np.testing.assert_array_equal(read(path, 100, 50), expected[:, 0])


def test_what_is_wrong_with_a_file_is_left_to_libsndfile(plain, tmp_path):
    assert read_plain_wav(plain, 4999, 2) is None
    assert read_plain_wav(plain, 5001, None) is None
    plain.write_bytes(plain.read_bytes()[:5000])
    assert read_plain_wav(plain, 0, None) is None and read_plain_wav(plain, 2000, 1000) is None
    np.testing.assert_array_equal(read_plain_wav(plain, 0, 2000), samples()[:2000, 0] / np.float32(2**15))
    plain.write_bytes(plain.read_bytes()[:40])
    for path in (plain, tmp_path / "missing.wav", tmp_path):
        assert read_plain_wav(path, 0, 1) is None
