"""Choosing held-out recordings by their content, so that new recordings or names hardly change the choice."""

import hashlib

import numpy as np

from ..data.datamodule import Split
from .crops import Recording
from .usable import Usable

FEW = 10
"""Number of recordings below which the end of each is held out, not whole recordings."""


def hold_out(found: Usable, share: float) -> dict[Split, list[Recording]]:
    """Split the recordings: whole ones by a hash of their samples, or the end of each where there are few.

    A recording longer than that share of the total is trained on, as too little would be left without it.
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
        ends_of = {split: [recording.between(*end) for recording in found.recordings] for split, end in ends.items()}
        return {split: [one for one in recordings if one.channels] for split, recordings in ends_of.items()}
    test, valid = candidates[:count], candidates[count : 2 * count]
    train = [number for number in order if number not in {*test, *valid}]
    splits: dict[Split, list[int]] = {"train": train, "valid": valid, "test": test}
    return {split: [found.recordings[number] for number in numbers] for split, numbers in splits.items()}
