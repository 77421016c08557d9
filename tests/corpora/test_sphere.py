import numpy as np
import pytest

from mixit_lightning.corpora.sphere import read_sphere, sphere_header
from mixit_lightning.errors import UserError

PLAIN = {"01": "<i2", "10": ">i2"}
"""SPHERE's names of the byte orders."""


def header(frames, *, byte_format="01", coding="pcm"):
    """The 1024 bytes at the beginning of a mono file at 16 kHz."""
    fields = [
        "channel_count -i 1",
        f"sample_count -i {frames}",
        "sample_rate -i 16000",
        "sample_n_bytes -i 2",
        f"sample_byte_format -s2 {byte_format}",
        "sample_sig_bits -i 16",
        f"sample_coding -s{len(coding)} {coding}",
        "end_head",
    ]
    return "\n".join(["NIST_1A", "   1024", *fields, ""]).encode().ljust(1024, b" ")


def write_plain(path, samples, byte_format="01"):
    path.write_bytes(header(len(samples), byte_format=byte_format) + samples.astype(PLAIN[byte_format]).tobytes())


def write_compressed(path, samples, block_size=256):
    path.write_bytes(header(len(samples), coding="pcm,embedded-shorten-v2.00") + shorten(samples, block_size))


class Bits:
    """What shorten's streams are made of."""

    def __init__(self):
        self.bits = []

    def unsigned(self, value, size):
        """Rice code: the upper bits as a number of zeros and a one, the `size` lower ones as they are."""
        self.bits += [0] * (value >> size) + [1] + [value >> place & 1 for place in reversed(range(size))]

    def signed(self, value, size):
        self.unsigned(2 * value if value >= 0 else 2 * ~value + 1, size)

    def long(self, value):
        self.unsigned(value.bit_length(), 2)
        self.unsigned(value, value.bit_length())


def shorten(samples, block_size):
    """A stream of version 2: every block as differences of the order, 0 to 2, that takes least, or as silence."""
    block_length, quit_, zero = 5, 4, 8
    stream = Bits()
    for value in (
        5,
        1,
        block_size,
        0,
        0,
        0,
    ):  # 16 bits, channels, block, no linear prediction, no mean, nothing skipped
        stream.long(value)
    known = np.concatenate([np.zeros(2, int), samples])
    for start in range(0, len(samples), block_size):
        stop = min(start + block_size, len(samples))
        if stop - start < block_size:
            stream.unsigned(block_length, 2)
            stream.long(stop - start)
        differences = [np.diff(known[start + 2 - order : stop + 2], order) for order in range(3)]
        order = int(np.argmin([np.abs(values).sum() for values in differences]))
        if not differences[0].any():
            stream.unsigned(zero, 2)
            continue
        size = max(1, int(2 * np.abs(differences[order]).mean()).bit_length())
        stream.unsigned(order, 2)
        stream.unsigned(size - 1, 3)
        for value in differences[order]:
            stream.signed(int(value), size)
    stream.unsigned(quit_, 2)
    padding = [0] * (-len(stream.bits) % 32)
    return b"ajkg\x02" + np.packbits(stream.bits + padding).tobytes()


def sine(length):
    return (3000 * np.sin(np.arange(length) / 20)).astype(np.int16)


def noise(length, limit=100):
    return np.random.default_rng(0).integers(-limit, limit, length).astype(np.int16)


SIGNALS = {
    "sine": sine(1000),
    "noise": noise(1000),
    "both": sine(1000) + noise(1000, 20),
    "whole blocks": sine(1024) + noise(1024, 20),
    "one short block": sine(77),
    "one sample": np.array([-5], np.int16),
    "silence between": np.concatenate([sine(512), np.zeros(600, np.int16), noise(512)]),
    "the whole range": np.array([-32768, 32767, 0, -1, 1] * 60, np.int16),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "01to030v.wv1"


@pytest.mark.parametrize("byte_format", PLAIN)
@pytest.mark.parametrize("signal", SIGNALS)
def test_plain_files_are_read_bit_by_bit(path, signal, byte_format):
    write_plain(path, SIGNALS[signal], byte_format)
    samples = read_sphere(path)
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples * 32768, SIGNALS[signal])


@pytest.mark.parametrize("block_size", [256, 100])
@pytest.mark.parametrize("signal", SIGNALS)
def test_compressed_files_are_read_bit_by_bit(path, signal, block_size):
    write_compressed(path, SIGNALS[signal], block_size)
    samples = read_sphere(path)
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples * 32768, SIGNALS[signal])


def test_header_gives_its_fields(path):
    write_compressed(path, sine(1000))
    fields = sphere_header(path)
    assert fields["sample_count"] == "1000" and fields["sample_rate"] == "16000"
    assert fields["sample_coding"] == "pcm,embedded-shorten-v2.00"


@pytest.mark.parametrize("missing", [10, 300, 6000])
def test_a_compressed_file_that_is_cut_off_is_named(path, missing):
    """Of streams below 9 kB, half a second of speech, the decoder makes up the last samples."""
    write_compressed(path, np.tile(SIGNALS["both"], 12))
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(UserError, match=f"^{path}: "):
        read_sphere(path)


def test_a_compressed_file_without_its_stream_is_named(path):
    path.write_bytes(header(1000, coding="pcm,embedded-shorten-v2.00"))
    with pytest.raises(UserError, match=f"^{path}: "):
        read_sphere(path)


def test_a_plain_file_that_is_cut_off_is_named(path):
    write_plain(path, sine(1000))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match=f"^{path}: .* 750 of 1000 "):
        read_sphere(path)


@pytest.mark.parametrize(
    "content", [b"", b"NIST_1A", b"RIFF\x24\x00\x00\x00WAVEfmt ", b"NIST_1A\n   many\n", b"NIST_2A\n   1024\n"]
)
def test_a_file_of_another_kind_is_named(path, content):
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path}: "):
        read_sphere(path)


def test_a_plain_file_whose_header_is_cut_off_is_named(path):
    write_plain(path, sine(1000))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=f"^{path}: "):
        read_sphere(path)


def test_a_missing_file_is_named(path):
    with pytest.raises(UserError, match=f"^{path}: "):
        read_sphere(path)
