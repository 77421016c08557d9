"""Waveforms at another sample rate."""

import numpy as np
import torch

RATE_STEP = 25
"""Hz, to which rates are rounded where they have no large common divisor, and the resampler would need a filter of its
own for every sample: half of it is 0.2 % at 8 kHz, a thirtieth of a semitone."""


def rounded_rate(rate: float) -> int:
    """The rate (Hz) that the resampler uses."""
    return max(1, round(rate / RATE_STEP)) * RATE_STEP


def resample(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample `(..., time)` by windowed sinc interpolation.

    Odd rates, such as 44,056 Hz, are rounded, there and back alike, see `rounded_rate`.
    """
    from_rate, to_rate = rounded_rate(from_rate), rounded_rate(to_rate)
    if from_rate == to_rate:
        return samples
    from torchaudio.functional import resample as sinc_resample

    return sinc_resample(torch.from_numpy(samples), from_rate, to_rate).numpy()
