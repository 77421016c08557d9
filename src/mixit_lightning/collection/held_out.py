"""Which recordings are held out: what they hold decides, so that more of them or other names hardly change it."""

import hashlib

import numpy as np

from ..data.datamodule import Split
from .crops import Recording
from .usable import Usable

FEW = 10
"""Recordings, below which parts of each are held out, not whole ones."""


def hold_out(found: Usable, share: float) -> dict[Split, list[Recording]]:
    """Part the recordings: whole ones by a hash of their samples, or the end of each where these are few.

    A recording that has more than that share of the time is trained on, as too little would be left without it.
    """
    seconds = np.array([one.survey.seconds for one in found.analysed])
    keys = [hashlib.sha256(one.survey.digest.encode()).digest() for one in found.analysed]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    candidates = [number for number in order if seconds[number] <= share * seconds.sum() + 1]
    count = max(2, round(share * len(order)))
    if len(order) < FEW or len(candidates) < 2 * count:
        ends: dict[Split, tuple[float, float]] = {
            "train": (0, 1 - 2 * share),
            "valid": (1 - 2 * share, 1 - share),
            "test": (1 - share, 1),
        }
        parted = {split: [recording.part(*end) for recording in found.recordings] for split, end in ends.items()}
        return {split: [part for part in parts if part.channels] for split, parts in parted.items()}
    test, valid = candidates[:count], candidates[count : 2 * count]
    train = [number for number in order if number not in {*test, *valid}]
    parts: dict[Split, list[int]] = {"train": train, "valid": valid, "test": test}
    return {split: [found.recordings[number] for number in part] for split, part in parts.items()}
