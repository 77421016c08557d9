"""The arithmetic that the standard sets share."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from scipy.signal import resample_poly

from ..errors import UserError
from ..files import replacing

Mode = Literal["min", "max"]

WAV_HEADER = 44
"""Bytes."""


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
