"""Full scale: the highest sample value of a file, and counting clipped samples."""

import numpy as np

BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
BITS |= {"ALAC_16": 16, "ALAC_20": 20, "ALAC_24": 24, "ALAC_32": 32}
"""Bits of the integer sample formats, as libsndfile calls them: they are stored without loss."""

FLOATS = ("FLOAT", "DOUBLE")
"""Kinds of samples that have no full scale, and are stored without loss."""

HIGHEST = {"ULAW": 32124, "ALAW": 32256}
"""The highest value, in steps of 16 bits, of other kinds that have a full scale; 32767 where it is not listed."""

UNLIMITED = ("VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", *FLOATS)
"""Kinds of samples that may be of any size: lossy ones are decoded to floats."""

CLIPPED_SHARE = 1e-3
"""Share of samples at full scale; less is inaudible, and the standard sets have a few clipped peaks as well."""


def full_scale(subtype: str) -> float:
    """The highest value of a kind of samples; infinity where there is none.

    Args:
        subtype: as libsndfile calls it, such as `PCM_16`.
    """
    if subtype in UNLIMITED:
        return np.inf
    if subtype in BITS:
        return 1 - 2.0 ** (1 - BITS[subtype])
    return HIGHEST.get(subtype, 32767) / 32768


def clipped_samples(samples: np.ndarray, highest: float) -> int:
    """Number of samples of `(time, ...)` that stand at full scale in runs of three or more along time."""
    full = np.abs(samples) >= highest
    if full.sum() < 3:
        return 0
    runs = full[:-2] & full[1:-1] & full[2:]
    inside = np.zeros_like(full)
    for shift in range(3):
        inside[shift : len(full) - 2 + shift] |= runs
    return int(inside.sum())
