"""Properties of room impulse responses."""

import numpy as np

SPEED_OF_SOUND = 343.0
"""m/s, in air of 20 degrees."""

LEAD = 40
"""Samples that every simulated response begins with, so that the direct sound, which hardly ever arrives exactly at a
sample, can be interpolated on both sides: half of the simulator's filters of 81 samples."""


def direct_sample(distance: float, sample_rate: int) -> int:
    """The sample of a simulated response at which sound arrives straight from `distance` metres away."""
    return LEAD + round(distance / SPEED_OF_SOUND * sample_rate)


def reverberation_time(response: np.ndarray, sample_rate: int) -> float:
    """RT60 in seconds of an impulse response `(time,)`, from its decay between -5 and -35 dB (T30).

    Source: Schroeder, "New Method of Measuring Reverberation Time", 1965: the energy that is still to come, integrated
    backwards, is the mean decay over all noises; a line through it as in ISO 3382.

    Raises:
        ValueError: it does not decay by 35 dB.
    """
    energy = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    with np.errstate(divide="ignore"):
        level = 10 * np.log10(energy / energy[0])
    first, last = np.argmax(level <= -5), np.argmax(level <= -35)
    if last - first < 2:
        raise ValueError("the response does not decay from -5 to -35 dB; it is cut off, or there is no room around it")
    slope, _ = np.polyfit(np.arange(first, last) / sample_rate, level[first:last], 1)
    return float(-60 / slope)
