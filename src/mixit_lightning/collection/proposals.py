"""Proposed settings for a folder of recordings: rules of thumb, to be overridden where more is known."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from .crops import FLOOR, LOUD
from .index import Index
from .survey import EDGES, LOWEST, Survey
from .usable import usable

RATES = (8000, 16000, 24000, 32000, 48000)
"""Sample rates in Hz that may be proposed."""

KEPT_HOURS = 0.9
"""Share of the time that must have the proposed rate or a higher one."""

LOST_ENERGY = 0.1
"""Share of the energy, with highs raised by 6 dB an octave, that the proposed rate may lose."""

DURATIONS = (2.0, 5.0)
"""Seconds: the shortest and the longest crop that is proposed, where there is enough to choose from."""

LEAST_CROPS = 40
"""Crops that must fit into all recordings together, so that two fit into the held-out tenth."""

BACKGROUND = -20
"""dB of the quietest tenth to the loud blocks, from which on a recording has a background to be separated."""


class Proposal(NamedTuple):
    """A value for a setting, and why."""

    value: int | float
    why: str


def propose(index: Index, shortest: float) -> dict[str, Proposal]:
    """Propose values by the keys of a recipe's settings.

    Args:
        index: of the recordings.
        shortest: seconds of a recording that is used.

    Raises:
        UserError: none of them can be used.
    """
    found = usable(index, 0, shortest)
    surveys = [one.survey for one in found.analysed]
    if not surveys:
        examples = "; ".join(f"{name} {why}" for name, why in list(found.skipped.items())[:5])
        raise UserError(f"{index.root}: none of {len(found.skipped)} recordings can be used: {examples}")
    lengths = [survey.seconds for survey in surveys]
    quartile, most = float(np.percentile(lengths, 25)), sum(lengths) / LEAST_CROPS
    duration = max(0.5, int(10 * min(max(DURATIONS[0], quartile), DURATIONS[1], most)) / 10)
    why = f"a quarter of the recordings are shorter than {quartile:.1f} s; 2 to 5 s, if {LEAST_CROPS} fit"
    return {
        "sample_rate": propose_rate(surveys),
        "num_outputs": propose_outputs(surveys),
        "datamodule.duration": Proposal(duration, why),
    }


def propose_rate(surveys: Sequence[Survey]) -> Proposal:
    """The lowest rate that loses little, if most of the time was recorded at it or above."""
    seconds = np.array([survey.seconds for survey in surveys])
    rates = np.array([survey.sample_rate for survey in surveys])
    bands = np.array([survey.bands for survey in surveys])
    shares = bands / np.maximum(bands.sum(1, keepdims=True), 1e-30)  # loud recordings count no more than others
    energy = np.average(shares, axis=0, weights=seconds)
    kept = {rate: float(seconds[rates >= rate].sum() / seconds.sum()) for rate in RATES}
    lost = {rate: float(energy[EDGES.index(rate // 2) :].sum()) for rate in RATES}
    possible = [rate for rate in RATES if kept[rate] >= KEPT_HOURS] or [RATES[0]]
    chosen = next((rate for rate in possible if lost[rate] <= LOST_ENERGY), possible[-1])
    why = f"{kept[chosen]:.0%} of the time has it or more, {lost[chosen]:.0%} of the energy lies above its half"
    return Proposal(chosen, why)


def propose_outputs(surveys: Sequence[Survey]) -> Proposal:
    """Two outputs per simultaneous source, as training adds up two recordings.

    How many sources there are cannot be told without separating them: two are taken for granted, and a background is
    one more.
    """
    seconds = [survey.seconds for survey in surveys]
    share = float(np.average([has_background(survey.levels) for survey in surveys], weights=seconds))
    sources = 3 if share >= 0.5 else 2
    why = f"two outputs for each of two sources at a time, and of a background, which {share:.0%} have"
    return Proposal(2 * sources, why)


def has_background(levels: np.ndarray) -> bool:
    """Whether the loudest channel of levels `(channel, block)` never gets quiet, but for digital silence."""
    sounding = [channel[channel > LOWEST].astype(float) for channel in levels if (channel > LOWEST).any()]
    loudest = max(sounding, key=lambda channel: float(np.percentile(channel, LOUD)))
    return bool(np.percentile(loudest, FLOOR) > np.percentile(loudest, LOUD) + BACKGROUND)
