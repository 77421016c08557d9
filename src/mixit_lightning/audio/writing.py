"""Writing audio: rounded to the nearest whole numbers and clipped at full scale, neither of which libsndfile does."""

import io
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from ..files import CannotWrite, disk_full, replacing
from .levels import BITS, FLOATS, full_scale
from .opening import reason

BLOCK = 100_000
"""Samples of each channel that are written at once: libvorbis keeps a block on the stack."""

RIFF_BYTES = 2**32 - 2**20
"""A WAV file has to be smaller than 4 GiB, with some room for its header."""

ALMOST_NOTHING = 2**20
"""Bytes that are left where a file could not be written because its disk is full."""


def write(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write `(time,)` as 16-bit WAV, under a temporary name first, so that a broken file never stands under `path`."""
    content = wav_bytes(samples, sample_rate)  # as libsndfile says of a full disk only that something is wrong
    with replacing(path) as partial:
        partial.write_bytes(content)


def wav_bytes(samples: np.ndarray, sample_rate: int) -> memoryview:
    """Content of a 16-bit WAV file of `(time,)`, rounded and clipped."""
    steps = np.clip(np.rint(samples * 2.0**15), -(2**15), 2**15 - 1).astype(np.int16)
    memory = io.BytesIO()
    soundfile.write(memory, steps, sample_rate, subtype="PCM_16", format="WAV")
    return memory.getbuffer()


def lossless(kind: str, subtype: str, samples: int) -> tuple[str, str]:
    """Format and kind of samples of a file that loses nothing of what a recording holds.

    Args:
        kind: format of the recording, as libsndfile calls it; it is kept where it is lossless, else it is WAV.
        subtype: kind of samples of the recording, likewise; else it is floats.
        samples: of all channels.
    """
    if not ((subtype in BITS or subtype in FLOATS) and soundfile.check_format(kind, subtype)):
        kind, subtype = "WAV", "FLOAT"
    size = BITS.get(subtype, 64 if subtype == "DOUBLE" else 32) // 8
    return ("RF64" if kind in ("WAV", "WAVEX") and size * samples >= RIFF_BYTES else kind), subtype


ENDINGS = {
    "WAV": (".wav", ".wave"),
    "WAVEX": (".wav", ".wave"),
    "RF64": (".wav", ".rf64"),
    "FLAC": (".flac",),
    "AIFF": (".aiff", ".aif", ".aifc"),
    "AU": (".au", ".snd"),
    "CAF": (".caf",),
    "W64": (".w64",),
    "OGG": (".ogg", ".oga", ".opus"),
    "MP3": (".mp3",),
}
"""What files of a format are called, the most usual ending first."""


def ending(kind: str, suffix: str) -> str:
    """The ending of a file of a format: that of the recording where it fits."""
    known = ENDINGS.get(kind, (suffix,))
    return suffix if suffix.lower() in known else known[0]


def rounded(outputs: np.ndarray, total: np.ndarray, bits: int) -> np.ndarray:
    """Round outputs to whole numbers that add up to the rounded total exactly.

    Each goes to the nearest one; where their sum is off by a few steps, as many of them go to the next nearest, those
    first that were rounded furthest the other way.

    Args:
        outputs: `(channel, output, time)`, full scale being 1.
        total: `(channel, time)`, what they add up to but for float32's precision.
        bits: of the whole numbers.

    Returns:
        `(channel, output, time)` in steps, not clipped.
    """
    scale = 2.0 ** (bits - 1)
    wanted = np.rint(total * scale)
    exact = outputs * scale
    exact += ((wanted - exact.sum(1)) / outputs.shape[1])[:, None]
    steps = np.rint(exact)
    missing = wanted - steps.sum(1)
    channels, times = np.nonzero(missing)
    off = missing[channels, times][:, None]
    lost = (exact - steps)[channels, :, times] * np.sign(off)
    rank = (-lost).argsort(1, kind="stable").argsort(1, kind="stable")
    steps[channels, :, times] += np.sign(off) * (rank < np.abs(off))
    return steps


class OutputFiles:
    """The files of all outputs of a recording, which add up to it as far as their format allows.

    Args:
        paths: of the files, one per output.
        sample_rate: Hz.
        channels: of each file.
        kind: format, as libsndfile calls it.
        subtype: kind of samples, likewise.

    Raises:
        CannotWrite: the disk is full.
        UserError: it cannot be written there.
    """

    def __init__(self, paths: Sequence[Path], sample_rate: int, channels: int, kind: str, subtype: str) -> None:
        self.paths = paths
        self.subtype = subtype
        self.clipped = 0
        """Samples that were clipped at full scale."""
        self.files: list[soundfile.SoundFile] = []
        with explained(paths[0].parent):
            for path in paths:
                name = os.fsencode(path)  # as a name may be in any encoding
                self.files.append(soundfile.SoundFile(name, "w", sample_rate, channels, subtype, format=kind))

    def write(self, outputs: np.ndarray, total: np.ndarray) -> None:
        """Write the next samples.

        Args:
            outputs: `(channel, output, time)`.
            total: `(channel, time)`, what they add up to.

        Raises:
            CannotWrite: the disk is full.
        """
        samples = self.storable(outputs, total)
        with explained(self.paths[0].parent):
            for number, file in enumerate(self.files):
                for start in range(0, samples.shape[-1], BLOCK):
                    file.write(np.ascontiguousarray(samples[:, number, start : start + BLOCK].T))

    def storable(self, outputs: np.ndarray, total: np.ndarray) -> np.ndarray:
        """The samples as libsndfile takes them: rounded and clipped, whole numbers in the highest bits of int32."""
        if self.subtype in BITS:
            bits = BITS[self.subtype]
            steps = rounded(outputs.astype(np.float64), total, bits)
            highest = 2 ** (bits - 1)
            self.clipped += int(((steps >= highest) | (steps < -highest)).sum())
            return np.clip(steps, -highest, highest - 1).astype(np.int32) << (32 - bits)
        if np.isinf(full_scale(self.subtype)):
            return outputs
        self.clipped += int((np.abs(outputs) > 1).sum())
        return np.clip(outputs, -1, 1 - 2.0**-15)

    def close(self) -> None:
        """Write what is left.

        Raises:
            CannotWrite: the disk is full.
        """
        with explained(self.paths[0].parent):
            for file in self.files:
                file.close()

    def check_whole(self) -> None:
        """Compare the closed files with what was written: when one is closed, libsndfile does not say a disk is full.

        Raises:
            DiskFull: a file is shorter.
        """
        for path, file in zip(self.paths, self.files, strict=True):
            try:
                whole = soundfile.info(os.fsencode(path)).frames >= file.frames
            except soundfile.LibsndfileError:
                whole = False
            if not whole:
                raise disk_full(path)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Raise a clear error where libsndfile cannot write into a folder; it does not tell why.

    Raises:
        CannotWrite: instead of its error.
    """
    try:
        yield
    except soundfile.LibsndfileError as error:
        if shutil.disk_usage(folder).free < ALMOST_NOTHING:
            raise disk_full(folder) from error
        raise CannotWrite(f"{folder}: cannot be written ({reason(error)}); give another path") from error
