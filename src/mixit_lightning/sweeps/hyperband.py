"""Early termination as W&B does it: a run that is not among the best at some iteration is stopped.

Optuna's pruners have other rules: they keep fewer runs, know no `max_iter` with `s` and no `strict`, and take whole
numbers as eta only. One file is to mean one thing, whichever engine runs it.

Source: https://docs.wandb.ai/models/sweeps/sweep-config-keys, and hyperband_stopping.py of W&B's package `sweeps` 0.3.
"""

from collections.abc import Sequence
from typing import Any


def bands(early: dict[str, Any], length: int) -> list[int]:
    """Iterations, counted from 1 and up to `length`, at which runs are compared.

    Args:
        early: `early_terminate` of a sweep file.
        length: iterations that a run has made.
    """

    eta, found = early.get("eta", 3), []
    if "max_iter" in early:
        band = early["max_iter"]
        for _ in range(early["s"]):
            band /= eta
            found.append(int(band))
        return sorted(band for band in found if 1 <= band <= length)
    band = early["min_iter"]
    while band < length + 1:
        found.append(int(band))
        band *= eta
    return found


def falls_behind(values: Sequence[float], others: Sequence[Sequence[float]], early: dict[str, Any], goal: str) -> bool:
    """Whether a run is to be stopped.

    At the last band that it has reached, it must be among the best 1/eta of all runs that have got as far.

    Args:
        values: of the metric so far, an iteration each.
        others: those of all other runs, finished, stopped or under way.
        early: `early_terminate` of a sweep file.
        goal: `minimize` or `maximize`.
    """
    reached = bands(early, len(values))
    if not reached:
        return False
    band, sign = reached[-1], -1 if goal == "maximize" else 1
    ranked = sorted(sign * run[band - 1] for run in [values, *others] if len(run) >= band)
    threshold = ranked[int(1 / early.get("eta", 3) * len(ranked))]
    strict = early.get("strict", True)
    value = sign * values[band - 1] if strict else min(sign * value for value in values)
    return bool(value > threshold)
