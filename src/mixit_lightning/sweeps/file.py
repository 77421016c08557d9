"""A W&B sweep file in Optuna's terms: what is fixed, what is drawn and how, and when a trial is stopped early."""

import itertools
import operator
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from pydantic import BaseModel

from ..config import ROOT, nearest
from ..errors import UserError
from ..reading import read_yaml
from ..records import check_entries

SWEEPS = ROOT / "sweeps"

KEYS = "https://docs.wandb.ai/models/sweeps/sweep-config-keys"
"""W&B's list of the keys of a sweep file."""

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution

STARTUP_TRIALS = 5
"""Random trials before TPE models the metric; Optuna's own 10 would be most of the trials of a small sweep."""


class Metric(BaseModel):
    """What a sweep file says of its metric."""

    name: str
    goal: Literal["minimize", "maximize"]


class SweepFile(BaseModel):
    """What this machine needs of a sweep file: not the `command`, which is for W&B's agents."""

    method: Literal["grid", "random", "bayes"]
    metric: Metric
    parameters: dict[str, dict[str, Any]]
    early_terminate: dict[str, Any] | None = None
    run_cap: int | None = None


@dataclass(frozen=True)
class Sweep:
    """What a sweep file says."""

    method: str
    metric: str
    """As training logs it, such as `val/loss`; `test/<metric>` is one of the results."""
    direction: StudyDirection
    fixed: dict[str, Any]
    """Settings that are the same in every trial."""
    space: dict[str, Distribution]
    """Settings that are drawn."""
    grid: list[dict[str, Any]]
    """All points of a grid, in the order of the file; empty with another method."""
    early_terminate: dict[str, Any] | None
    run_cap: int | None

    @property
    def example(self) -> dict[str, Any]:
        """A value for every setting, to try whether the recipe has them."""
        drawn = {
            key: of.choices[0] if isinstance(of, CategoricalDistribution) else of.low for key, of in self.space.items()
        }
        return self.fixed | drawn

    def sampler(self, seed: int, number: int) -> BaseSampler:
        """What draws a trial, other than those of a grid: one for each number, so that a restart changes nothing."""
        own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        if self.method == "bayes":
            return TPESampler(n_startup_trials=STARTUP_TRIALS, seed=own)
        return RandomSampler(seed=own)


def find_sweep(name: str) -> Path:
    """The sweep file of that name in `sweeps/`, or at that path.

    Raises:
        UserError: there is none; names the nearest.
    """
    for path in (SWEEPS / f"{name}.yaml", Path(name)):
        if path.is_file():
            return path
    raise UserError(f"sweep={name} does not exist{nearest(name, sorted(path.stem for path in SWEEPS.glob('*.yaml')))}")


def read_sweep(path: Path, given: Collection[str] = ()) -> Sweep:
    """Read a sweep file.

    Args:
        path: of the file.
        given: settings that have a value already, and are not swept.

    Raises:
        UserError: it is no sweep, or Optuna has no such search; names file and key.
    """
    config = check_entries(read_yaml(path), SweepFile, path, f"see {KEYS}")
    parameters = {key: parameter for key, parameter in config.parameters.items() if key not in given}
    fixed = {key: parameter["value"] for key, parameter in parameters.items() if "value" in parameter}
    space, choices, key = {}, [], ""
    try:
        for key in [key for key in parameters if key not in fixed]:
            space[key] = distribution_of(parameters[key])
            if config.method == "grid":
                choices.append(choices_of(space[key]))
        key = "early_terminate"
        pruner_of(config.early_terminate)
    except (KeyError, ValueError, TypeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise UserError(f"{path}: {key}: {reason}") from error
    points = itertools.product(*choices) if config.method == "grid" else ()
    grid = [dict(zip(space, point, strict=True)) for point in points]
    metric, direction = config.metric.name, StudyDirection[config.metric.goal.upper()]
    return Sweep(config.method, metric, direction, fixed, space, grid, config.early_terminate, config.run_cap)


def distribution_of(parameter: dict[str, Any]) -> Distribution:
    """Optuna's distribution of a parameter with `values`, or `min` and `max`.

    Raises:
        KeyError: `min` or `max` is missing.
        TypeError, ValueError: Optuna has no such distribution, or it is empty.
    """
    if "probabilities" in parameter:
        raise ValueError("only W&B draws values with probabilities")
    if "values" in parameter:
        return CategoricalDistribution(parameter["values"])
    low, high, step, kind = parameter["min"], parameter["max"], parameter.get("q", 1), parameter.get("distribution")
    whole = isinstance(low, int) and isinstance(high, int) and isinstance(step, int)
    if whole and kind in (None, "int_uniform", "q_uniform"):
        return IntDistribution(low, high, step=step)
    low, high = float(low), float(high)  # YAML reads 1e-4 as text
    if kind == "q_uniform":
        return FloatDistribution(low, high, step=step)
    if kind in (None, "uniform", "log_uniform_values"):
        return FloatDistribution(low, high, log=kind == "log_uniform_values")
    raise ValueError(f"only W&B draws from {kind}; give values, uniform, int_uniform, q_uniform or log_uniform_values")


def choices_of(distribution: Distribution) -> Collection[Any]:
    """All values, for a grid.

    Raises:
        ValueError: there is no end of them.
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    raise ValueError("a grid needs values, or whole numbers as min and max")


def pruner_of(early_terminate: dict[str, Any] | None) -> BasePruner:
    """Optuna's pruner for W&B's hyperband, which is one bracket of it, asynchronous successive halving.

    At the iterations min_iter * eta ** n a trial must be among the best 1/eta that have come as far.

    Raises:
        KeyError: a number is missing.
        TypeError, ValueError: a number, or the type, is none that Optuna takes.
    """
    if early_terminate is None:
        return NopPruner()
    if early_terminate["type"] != "hyperband":
        raise ValueError("type: must be hyperband")
    eta = operator.index(early_terminate.get("eta", 3))
    if "min_iter" in early_terminate:
        return SuccessiveHalvingPruner(early_terminate["min_iter"], eta)
    return SuccessiveHalvingPruner(early_terminate["max_iter"] // eta ** early_terminate["s"], eta)
