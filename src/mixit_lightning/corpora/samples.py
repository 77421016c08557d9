"""Measurements of the samples of each item, on all cores."""

import hashlib
from typing import NamedTuple

import numpy as np

from ..audio.levels import clipped_samples
from ..audio.opening import opened, read, read_header
from ..data.inventory import Item
from ..errors import UserError
from .active_level import active_level

PADDING = 0.05
"""Seconds of zeros at the end of a source that make it look padded."""

FULL_SCALE = 32767 / 32768
"""Level at which a mixture may have been clipped, so that it is not the sum of its sources."""


class Measured(NamedTuple):
    """Facts about the samples of one file."""

    frames: int
    sample_rate: int
    digest: bytes
    mean: float
    rms: float
    clipped: float
    """Share of the samples, in runs of three or more at the full scale of the format."""
    padded: bool
    """Whether it ends with nothing but zeros."""
    highs: float
    """Energy above what 8 kHz can hold, to that of the mids; NaN below 14 kHz of sample rate."""
    level: float
    """Active level in dB; NaN where it was not asked for."""


class ItemMeasured(NamedTuple):
    """Facts about one item."""

    files: dict[str, Measured]
    problems: dict[str, str]
    """Reasons why signals cannot be read, by signal."""
    difference: float | None
    """Largest difference between mixture and sum of sources, in steps of 16 bits, where the mixture is not clipped."""
    decibels: float | None
    """The same as power, in dB to the mixture."""


def measure_item(item: Item, *, any_channels: bool = False) -> ItemMeasured:
    """Read all files of an item, in a process of its own."""
    signals: dict[str, np.ndarray] = {}
    files: dict[str, Measured] = {}
    problems: dict[str, str] = {}
    for name, path in item.paths.items():
        if not path.is_file():
            continue
        try:
            rate = read_header(path, any_channels=any_channels).sample_rate
            with opened(path) as sound:
                highest = sound.full_scale
            signals[name] = read(path)
        except UserError as error:
            problems[name] = str(error).removeprefix(f"{path}: ")
            continue
        is_source = name != next(iter(item.paths))
        files[name] = measure(signals[name], rate, highest, with_level=bool(item.levels) and is_source)
    difference = decibels = None
    if len(item.paths) > 1 and len(signals) == len(item.paths):
        mixture, *sources = signals.values()
        if all(len(source) == len(mixture) for source in sources):
            rest = np.sum(sources, axis=0, dtype=np.float64) - mixture
            rest[np.abs(mixture) >= FULL_SCALE] = 0
            difference = float(np.abs(rest).max()) * 32768
            power = np.sum(rest**2) / max(1e-20, np.sum(np.square(mixture, dtype=np.float64)))
            decibels = float(10 * np.log10(power + 1e-20))
    return ItemMeasured(files, problems, difference, decibels)


def measure(samples: np.ndarray, sample_rate: int, highest: float, *, with_level: bool) -> Measured:
    """Facts about `(time,)` samples, whose full scale is `highest`."""
    tail = max(1, round(PADDING * sample_rate))
    return Measured(
        frames=len(samples),
        sample_rate=sample_rate,
        digest=hashlib.blake2b(samples.tobytes(), digest_size=16).digest(),
        mean=float(samples.mean(dtype=np.float64)),
        rms=float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))),
        clipped=clipped_samples(samples, highest) / len(samples),
        padded=not samples[-tail:].any(),
        highs=energy_of_highs(samples, sample_rate),
        level=active_level(samples, sample_rate) if with_level else float("nan"),
    )


def energy_of_highs(samples: np.ndarray, sample_rate: int) -> float:
    """Energy from 5.5 to 7 kHz, to that from 1 to 3.5 kHz.

    Resampling from 8 kHz leaves images around 4 kHz and, of the strong lows, around 8 kHz. The window keeps a recording
    that was cut in the middle of a word from spreading over all frequencies.
    """
    if sample_rate < 14000 or not samples.any():
        return float("nan")
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    mids, highs = (
        power[round(low / sample_rate * len(samples)) : round(high / sample_rate * len(samples))].sum()
        for low, high in ((1000, 3500), (5500, 7000))
    )
    return float(highs / mids) if mids else float("nan")
