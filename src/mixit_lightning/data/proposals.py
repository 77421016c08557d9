"""What settings a folder of recordings suggests: rules of thumb, to be overridden by whoever knows the recordings."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import UserError
from .crops import LOUD, active_blocks
from .index import Index
from .survey import EDGES, LOWEST, Survey
from .usable import usable

RATES = (8000, 16000, 24000, 32000, 48000)
"""Hz, that are proposed."""

KEPT_HOURS = 0.9
"""Share of the time that must have the proposed rate or a higher one."""

LOST_ENERGY = 0.1
"""Share of the energy, with highs raised by 6 dB an octave, that the proposed rate may lose."""

DURATIONS = (2.0, 5.0)
"""Seconds: the shortest and the longest crop that is proposed."""

ABOVE_FLOOR = 6
"""dB above the quietest tenth of a recording, from which on something is heard besides its background."""

BACKGROUND = -35
"""dB of the quietest tenth to the loud parts, from which on a recording has a background to be separated."""


class Proposals(NamedTuple):
    """Settings, and why."""

    sample_rate: int
    duration: float
    num_outputs: int
    reasons: dict[str, str]
    """By setting."""


def propose(index: Index, shortest: float) -> Proposals:
    """Propose settings for the recordings of an index.

    Args:
        index: of a folder.
        shortest: seconds of a recording that is used.

    Raises:
        UserError: none of them can be used.
    """
    found = usable(index, 0, shortest)
    surveys = [heard.survey for heard in found.heard]
    if not surveys:
        name, why = next(iter(found.skipped.items()))
        raise UserError(f"{index.root}: none of {len(found.skipped)} recordings can be used; {name} {why}")
    rate, why_rate = propose_rate(surveys)
    quartile = float(np.percentile([survey.seconds for survey in surveys], 25))
    duration = round(2 * min(max(DURATIONS[0], quartile), DURATIONS[1])) / 2
    outputs, why_outputs = propose_outputs(surveys)
    reasons = {
        "sample_rate": why_rate,
        "duration": f"a quarter of the recordings are shorter than {quartile:.1f} s; from 2 to 5 s are proposed",
        "num_outputs": why_outputs,
    }
    return Proposals(rate, duration, outputs, reasons)


def propose_rate(surveys: Sequence[Survey]) -> tuple[int, str]:
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
    return (
        chosen,
        f"{kept[chosen]:.0%} of the time has it or more, {lost[chosen]:.0%} of the energy lies above its half",
    )


def propose_outputs(surveys: Sequence[Survey]) -> tuple[int, str]:
    """Two for every source that is heard at a time, as training adds up two recordings; from four to eight.

    Sources that come and go independently of each other leave a share of exp(-n) of the time to silence where n of them
    are heard in the mean, as calls on independent lines do (M/M/infinity queue); n is read from the silence.
    """
    times = [survey.seconds for survey in surveys]
    sources, grounds = zip(*(sources_of(survey.levels[loudest(survey.levels)]) for survey in surveys), strict=True)
    foreground, ground = float(np.average(sources, weights=times)), float(np.average(grounds, weights=times))
    count = min(max(int(foreground), 1), 3) + (ground >= 0.5)
    what = "with a background" if ground >= 0.5 else "without a background"
    return max(4, 2 * count), f"{foreground:.1f} sources at a time by the pauses, {what}; two outputs each, 4 to 8"


def loudest(levels: np.ndarray) -> int:
    """Number of the channel in which most is heard."""
    return int(np.argmax([len(active_blocks(channel)) for channel in levels]))


def sources_of(levels: np.ndarray) -> tuple[float, bool]:
    """How many sources are heard at a time in the mean, and whether there is a background, of levels `(block,)`."""
    heard = levels[levels > LOWEST].astype(float)
    floor, loud = np.percentile(heard, 10), np.percentile(heard, LOUD)
    pauses = float(np.mean(levels <= max(floor, loud - 40) + ABOVE_FLOOR))
    return -float(np.log(max(pauses, 0.01))), bool(floor > loud + BACKGROUND)


def as_settings(proposals: Proposals) -> dict[str, Any]:
    """By the keys of a recipe's settings."""
    return {
        "sample_rate": proposals.sample_rate,
        "num_outputs": proposals.num_outputs,
        "datamodule.duration": proposals.duration,
    }
