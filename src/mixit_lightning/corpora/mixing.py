"""The arithmetic that the standard sets share."""

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
from scipy.signal import resample_poly

from ..errors import UserError
from ..files import replacing
from ..jobs import Job

Mode = Literal["min", "max"]

WAV_HEADER = 44
"""Bytes."""

SOURCE_RATE = 16000
"""Sample rate in Hz of the corpora that both standard sets are made of."""


def at_rate(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample `(time,)` by scipy's polyphase filter, with which both standard sets were made."""
    return resample_poly(samples, to_rate, from_rate)


def num_frames_at(frames: int, from_rate: int, to_rate: int) -> int:
    """Length of what `at_rate` returns."""
    return -(-frames * to_rate // from_rate)


def fit(signals: Sequence[np.ndarray], mode: Mode) -> list[np.ndarray]:
    """Cut all to the shortest (`min`), or pad all with zeros at their ends to the longest (`max`)."""
    lengths = [len(signal) for signal in signals]
    if mode == "min":
        return [signal[: min(lengths)] for signal in signals]
    return [np.pad(signal, (0, max(lengths) - len(signal))) for signal in signals]


def folders_of(root: Path, split: str, rates: Sequence[int], modes: Sequence[Mode]) -> dict[tuple[int, Mode], Path]:
    """The folder of a split by rate (Hz) and mode, as both standard sets call it."""
    return {(rate, mode): root / f"wav{rate // 1000}k" / mode / split for rate in rates for mode in modes}


def mixture_job(
    name: str,
    parts: Sequence[str],
    folders: dict[tuple[int, Mode], Path],
    lengths: Sequence[int],
    key: Iterable[object],
    make: Callable[[], Any],
) -> Job:
    """The job that makes all files of one mixture.

    Args:
        name: of the mixture, and of all of its files.
        parts: folders of the mixture and of its sources.
        folders: that these are in, see `folders_of`.
        lengths: samples at `SOURCE_RATE` of what is mixed.
        key: everything that the files depend on.
        make: see `Job`.
    """
    frames = [num_frames_at((min if mode == "min" else max)(lengths), SOURCE_RATE, rate) for rate, mode in folders]
    return Job(
        key=" ".join(map(str, key)),
        outputs=[folder / part / f"{name}.wav" for folder in folders.values() for part in parts],
        size=len(parts) * sum(WAV_HEADER + 2 * count for count in frames),
        make=make,
    )


def write_wav(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write `(time,)` as 16-bit WAV under a temporary name first: 16-bit integers as they are, floats rounded down.

    Libsndfile rounds them down, and so the published scripts made the standard sets.
    """
    # Not synchronised with the disk: a killed process leaves nothing half-written, and that a power cut may, the
    # doctor finds. Waiting for the disk a hundred thousand times would take longer than all the rest.
    # Written at once from memory, as libsndfile goes back to the header of a file on disk several times.
    memory = io.BytesIO()
    soundfile.write(memory, samples, sample_rate, subtype="PCM_16", format="WAV")
    with replacing(path, synchronise=False) as partial:
        partial.write_bytes(memory.getbuffer())


def check_choice(name: str, values: Sequence[object], allowed: Sequence[object]) -> None:
    """Refuse a setting that holds nothing, or something that is not there to choose.

    Raises:
        UserError: with the setting's name and what there is.
    """
    if not values or any(value not in allowed for value in values):
        raise UserError(f"{name}={list(values)}: choose from {list(allowed)}")
