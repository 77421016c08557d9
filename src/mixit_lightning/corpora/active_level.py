"""Active speech level."""

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.signal import lfilter

TIME_CONSTANT = 0.03
"""Seconds, of each of the two smoothing filters."""

HANGOVER = 0.2
"""Seconds for which speech counts as active after its envelope has fallen."""

MARGIN = 15.9
"""dB between the active level and the threshold of activity."""


def active_level(samples: np.ndarray, sample_rate: int) -> float:
    """Power of a recording `(time,)` over the time in which it is active, in dB.

    Activity is what lies above a threshold `MARGIN` dB below the result, which is found by interpolation between
    thresholds 6 dB apart. Silence has minus infinity.

    Source: ITU-T Recommendation P.56, method B; the active levels of wsj0-2mix are of this kind.
    """
    energy = float(np.sum(np.square(samples, dtype=np.float64)))
    if energy == 0:
        return -np.inf
    decay = np.exp(-1 / (TIME_CONSTANT * sample_rate))
    envelope = np.abs(samples.astype(np.float64))
    for _ in range(2):
        envelope = lfilter([1 - decay], [1, -decay], envelope)
    hangover = max(1, round(HANGOVER * sample_rate))
    # The largest of the last `hangover` samples.
    held = maximum_filter1d(envelope, hangover, origin=(hangover - 1) // 2, mode="constant")
    thresholds = held.max() * 2.0 ** -np.arange(16.0)
    counts = np.searchsorted(np.sort(held), thresholds, side="left")
    levels = 10 * np.log10(energy / (len(held) - counts))
    margins = levels - 20 * np.log10(thresholds)
    # Thresholds fall, so the margin rises in the end; before, it may fall, where little lies above the threshold.
    crossing = max(np.flatnonzero(margins < MARGIN), default=0)
    around = slice(crossing, crossing + 2)
    return float(np.interp(MARGIN, margins[around], levels[around]))
