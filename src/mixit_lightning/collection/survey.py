"""Analysis of one recording of any length: its level over time, and whatever else decides how it can be used."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..audio.levels import clipped_samples
from ..audio.opening import Sound, read_block
from ..errors import UserError

BLOCK = 0.1
"""Seconds of a block, of which the level is kept."""

LOWEST = -120
"""Lowest level in dB of full scale, for digital silence."""

READ_SECONDS = 60.0
"""Seconds that are read at once."""

MOST_SAMPLES = 2**24
"""Samples, over all channels, that are read at once."""

EDGES = (0, 4000, 8000, 12000, 16000, 24000)
"""Hz, between which energy is summed up: what sample rates of twice that would keep or lose."""


class Survey(NamedTuple):
    """Results of the analysis of a recording."""

    frames: int
    sample_rate: int
    """Sample rate in Hz."""
    levels: np.ndarray
    """`(channel, block)`, int8: RMS of every block without its mean, in dB of full scale."""
    bands: Sequence[float]
    """Energy above each of `EDGES` up to the next, with highs raised by 6 dB an octave, over all channels."""
    clipped: float
    """Share of the samples in runs of three or more at the full scale of the format."""
    remarks: Sequence[str]
    """Warnings about it, such as that its end is missing."""
    digest: str
    """Hash of the samples: files with equal samples have equal digests."""

    @property
    def block(self) -> int:
        """Samples of a block of about 0.1 s."""
        return block_of(self.sample_rate)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


def survey(path: Path, sound: Sound) -> Survey:
    """Analyse an open recording from its beginning, block by block.

    Raises:
        UserError: it is damaged, ends early, or holds samples that are not numbers.
    """
    file = sound.file
    block = block_of(file.samplerate)
    blocks = max(1, min(round(READ_SECONDS / BLOCK), MOST_SAMPLES // (block * file.channels)))
    levels, bands, clipped, frames = [], np.zeros(len(EDGES)), 0, 0
    digest = hashlib.blake2b(f"{file.samplerate} {file.channels}".encode(), digest_size=16)
    while len(samples := read_block(path, file, block * blocks)):
        frames += len(samples)
        digest.update(samples.tobytes())
        clipped += clipped_samples(samples, sound.full_scale)
        levels.append(levels_of(samples, block))
        bands += sum(energies(channel, file.samplerate) for channel in samples.T)
    if frames < file.frames:
        raise UserError(f"{path}: ends after {frames} samples, earlier than its header says; replace it")
    return Survey(
        frames=frames,
        sample_rate=file.samplerate,
        levels=np.concatenate(levels, axis=1),
        bands=tuple(map(float, bands)),
        clipped=clipped / (frames * file.channels),
        remarks=sound.remarks,
        digest=digest.hexdigest(),
    )


def block_of(sample_rate: int) -> int:
    """Samples of a block."""
    return round(BLOCK * sample_rate)


def levels_of(samples: np.ndarray, block: int) -> np.ndarray:
    """Levels `(channel, block)` of `(time, channel)`; a last block that is not full has the level of what there is."""
    starts = np.arange(0, len(samples), block)
    samples, sizes = samples.astype(np.float64), np.diff(np.append(starts, len(samples)))[:, None]
    power = np.add.reduceat(np.square(samples), starts, axis=0) / sizes
    power -= np.square(np.add.reduceat(samples, starts, axis=0) / sizes)  # an offset is no sound
    return np.clip(np.round(10 * np.log10(np.maximum(power.T, 1e-30))), LOWEST, 127).astype(np.int8)


def energies(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Energy between each of `EDGES` and the next, of a tenth of a second in every one of `(time,)` samples.

    Of the differences of neighbouring samples, as recordings have their energy in the lows, wherever their sounds are.
    """
    size = block_of(sample_rate)
    count = len(samples) // (10 * size)
    tenths = samples[: count * 10 * size].reshape(count, 10 * size) if count else samples[None]
    samples = tenths[:, :size]
    if samples.shape[-1] < 2:
        return np.zeros(len(EDGES))
    window = np.hanning(samples.shape[-1] - 1)
    power = np.square(np.abs(np.fft.rfft(np.diff(samples) * sample_rate / 8000 * window))).sum(0)
    frequencies = np.fft.rfftfreq(samples.shape[-1] - 1, 1 / sample_rate)
    return np.histogram(frequencies, [*EDGES, np.inf], weights=power)[0]
