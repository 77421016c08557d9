import numpy as np
import pytest
import soundfile

from mixit_lightning.audio.writing import OutputFiles, ending, lossless, rounded, write
from mixit_lightning.files import DiskFull


def shares(outputs, channels, time, bits, seed):
    """Whole numbers `(channel, time)`, and outputs that add up to them but for float32's precision."""
    rng = np.random.default_rng(seed)
    total = rng.integers(-(2 ** (bits - 2)), 2 ** (bits - 2), (channels, time)) / 2.0 ** (bits - 1)
    weights = rng.dirichlet(np.ones(outputs), (channels, time)).transpose(0, 2, 1)
    return (weights * total[:, None]).astype(np.float32), total


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("outputs", [1, 2, 4, 8])
def test_rounded_outputs_add_up_and_stay_near(bits, outputs):
    parts, total = shares(outputs, 2, 5000, bits, seed=bits + outputs)
    steps = rounded(parts.astype(np.float64), total, bits)
    assert (steps.sum(1) == total * 2 ** (bits - 1)).all() and (steps == np.rint(steps)).all()
    exact = parts.astype(np.float64) * 2 ** (bits - 1)
    precision = np.abs(exact).max() * 2**-23 * outputs
    assert np.abs(steps - exact).max() < 1 + precision
    # No plan that adds up is nearer in sum: as many are moved as have to be, and those that were furthest off.
    nearest = np.rint(exact)
    if bits <= 16:
        moved = np.abs(steps - nearest).sum(1)
        assert (moved == np.abs(total * 2 ** (bits - 1) - nearest.sum(1))).all()


def test_rounding_has_no_bias():
    parts, total = shares(4, 1, 100_000, 16, seed=1)
    off = rounded(parts.astype(np.float64), total, 16) - parts.astype(np.float64) * 2**15
    assert np.abs(off.mean(2)).max() < 0.01  # of a step; rounding down would be half of one


def test_silence_stays_silent():
    parts, total = shares(3, 1, 1000, 16, seed=2)
    parts = np.concatenate([parts, np.zeros((1, 1, 1000), np.float32)], 1)
    assert not rounded(parts.astype(np.float64), total, 16)[:, 3].any()


def test_a_file_of_our_own_is_rounded(tmp_path):
    write(tmp_path / "a.wav", np.array([0.4, -0.4, 0.6, -0.6, 1.4, -1.4]) / 2**15, 8000)
    assert soundfile.read(tmp_path / "a.wav", dtype="int16")[0].tolist() == [0, 0, 1, -1, 1, -1]


def test_a_long_file_is_wav_until_it_is_too_long():
    assert lossless("MP3", "MPEG_LAYER_III", 2**30 - 2**19) == ("WAV", "FLOAT")
    assert lossless("MP3", "MPEG_LAYER_III", 2**30) == ("RF64", "FLOAT")
    assert lossless("WAV", "PCM_16", 2**30) == ("WAV", "PCM_16")
    assert lossless("WAV", "PCM_24", 2**31) == ("RF64", "PCM_24")
    assert lossless("FLAC", "PCM_24", 2**40) == ("FLAC", "PCM_24")
    assert lossless("OGG", "VORBIS", 100) == ("WAV", "FLOAT")
    assert lossless("WAV", "ULAW", 100) == ("WAV", "FLOAT")
    assert lossless("RF64", "PCM_16", 100) == ("RF64", "PCM_16")


def test_endings_fit_the_format():
    assert [ending("WAV", suffix) for suffix in (".wav", ".WAV", ".mp3", "", ".m4a")] == [".wav", ".WAV", *3 * [".wav"]]
    assert ending("FLAC", ".oga") == ".flac" and ending("AIFF", ".aif") == ".aif" and ending("NIST", ".sph") == ".sph"


@pytest.mark.parametrize(
    ("kind", "subtype", "full_scale"),
    [("WAV", "PCM_16", 32767 / 32768), ("WAV", "PCM_U8", 127 / 128), ("FLAC", "PCM_24", 1 - 2.0**-23)],
)
def test_clipped_samples_stay_at_full_scale(tmp_path, kind, subtype, full_scale):
    files = OutputFiles([tmp_path / "1", tmp_path / "2"], 8000, 1, kind, subtype)
    outputs = np.array([[[1.5, -1.5, 0.25], [-1.0, 1.0, 0.25]]])
    files.write(outputs, outputs.sum(1))
    files.close()
    assert soundfile.read(tmp_path / "1")[0].tolist() == [full_scale, -1, 0.25]
    assert soundfile.read(tmp_path / "2")[0].tolist() == [-1, full_scale, 0.25]
    assert files.clipped == 3


def test_floats_are_not_clipped(tmp_path):
    files = OutputFiles([tmp_path / "1"], 8000, 1, "WAV", "FLOAT")
    files.write(np.array([[[1.5, -2.5]]]), np.array([[1.5, -2.5]]))
    files.close()
    assert soundfile.read(tmp_path / "1")[0].tolist() == [1.5, -2.5] and files.clipped == 0


def test_a_file_that_lost_its_end_when_it_was_closed_is_noticed(tmp_path):
    for content in (b"", None):
        files = OutputFiles([tmp_path / "1.flac"], 8000, 1, "FLAC", "PCM_16")
        files.write(np.zeros((1, 1, 9000)), np.zeros((1, 9000)))
        files.close()
        files.check_whole()
        shorter = (tmp_path / "1.flac").read_bytes()[:4] if content is None else content
        (tmp_path / "1.flac").write_bytes(shorter)
        with pytest.raises(DiskFull, match=r"1\.flac"):
            files.check_whole()
