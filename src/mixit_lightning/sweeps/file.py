"""A W&B sweep file in Optuna's terms: what is fixed, what is drawn, how, and when a trial is stopped early.

Source of the keys: https://docs.wandb.ai/models/sweeps/sweep-config-keys
"""

import itertools
import operator
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection

from ..config import ROOT, nearest
from ..errors import UserError
from ..reading import read_yaml
from ..run import look_up

SWEEPS = ROOT / "sweeps"

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution

STARTUP_TRIALS = 5
"""Random trials before TPE models the metric; Optuna's own 10 would be most of the trials of a small sweep."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep file says."""

    config: dict[str, Any]
    """The file, less the parameters that were given otherwise."""
    fixed: dict[str, Any]
    """Settings that are the same in every trial."""
    space: dict[str, Distribution]
    """Settings that are drawn."""
    pruner: BasePruner

    @property
    def metric(self) -> str:
        """As training logs it, such as `val/loss`, or `test/<metric>` of the results."""
        return str(self.config["metric"]["name"])

    @property
    def direction(self) -> StudyDirection:
        """Whether it is to be low or high."""
        return StudyDirection[self.config["metric"]["goal"].upper()]

    def example(self) -> dict[str, Any]:
        """A value for every setting, to try whether the recipe has them."""
        drawn = {
            key: of.choices[0] if isinstance(of, CategoricalDistribution) else of.low for key, of in self.space.items()
        }
        return self.fixed | drawn

    def sampler(self, seed: int) -> BaseSampler:
        """What draws the trials; the points of a grid are not drawn, see `grid`."""
        if self.config["method"] == "bayes":
            return TPESampler(n_startup_trials=STARTUP_TRIALS, seed=seed)
        return RandomSampler(seed=seed)

    def grid(self) -> list[dict[str, Any]]:
        """All points of a grid, in the order of the file; none with another method."""
        if self.config["method"] != "grid":
            return []
        values = [choices_of(distribution) for distribution in self.space.values()]
        return [dict(zip(self.space, point, strict=True)) for point in itertools.product(*values)]


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
    """Read a sweep file. Its `command` is for W&B's agents, and nothing is looked at that only W&B needs.

    Args:
        path: of the file.
        given: settings that have a value already, and are not swept.

    Raises:
        UserError: it is no sweep, or Optuna has no such search; names file and key.
    """
    config = read_yaml(path)
    parameters = look_up(config, "parameters")
    well_formed = {
        "method": look_up(config, "method") in ("grid", "random", "bayes"),
        "metric.name": isinstance(look_up(config, "metric.name"), str),
        "metric.goal": look_up(config, "metric.goal") in ("minimize", "maximize"),
        "parameters": isinstance(parameters, dict) and all(isinstance(one, dict) for one in parameters.values()),
        "run_cap": isinstance(look_up(config, "run_cap") or 0, int),
    }
    for key, fine in well_formed.items():
        if not fine:
            raise UserError(f"{path}: {key}: must be as in https://docs.wandb.ai/models/sweeps/sweep-config-keys")
    parameters = {key: parameters[key] for key in parameters if key not in given}
    fixed = {key: parameter["value"] for key, parameter in parameters.items() if "value" in parameter}
    space: dict[str, Distribution] = {}
    key = ""
    try:
        for key in [key for key in parameters if key not in fixed]:
            space[key] = distribution_of(parameters[key])
            if config["method"] == "grid":
                choices_of(space[key])
        key = "early_terminate"
        pruner = pruner_of(config.get(key))
    except KeyError as error:
        raise UserError(f"{path}: {key}: {error} is missing") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {key}: {error}") from error
    return Sweep(config | {"parameters": parameters}, fixed, space, pruner)


def distribution_of(parameter: dict[str, Any]) -> Distribution:
    """Optuna's distribution of a parameter with `values`, or `min` and `max`.

    Raises:
        KeyError: `min` or `max` is missing.
        ValueError: Optuna has no such distribution, or it is empty.
    """
    if "probabilities" in parameter:
        raise ValueError("only W&B draws values with probabilities")
    if "values" in parameter:
        return CategoricalDistribution(parameter["values"])
    low, high, step = parameter["min"], parameter["max"], parameter.get("q", 1)
    whole = isinstance(low, int) and isinstance(high, int) and isinstance(step, int)
    kind = parameter.get("distribution", "int_uniform" if whole else "uniform")
    if kind in ("int_uniform", "q_uniform") and whole:
        return IntDistribution(low, high, step=step)
    if kind == "q_log_uniform_values" and whole and step == 1:
        return IntDistribution(low, high, log=True)
    # YAML takes 1e-4 for text.
    if kind == "q_uniform":
        return FloatDistribution(float(low), float(high), step=float(step))
    if kind in ("uniform", "log_uniform_values"):
        return FloatDistribution(float(low), float(high), log=kind == "log_uniform_values")
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


def pruner_of(early: dict[str, Any] | None) -> BasePruner:
    """Optuna's pruner for `early_terminate`.

    What W&B calls hyperband is one bracket of it, asynchronous successive halving: at the iterations
    min_iter * eta ** n a trial must be among the best 1/eta.

    Raises:
        KeyError: a number is missing.
        TypeError, ValueError: a number, or the type, is none that Optuna takes.
    """
    if early is None:
        return NopPruner()
    if early["type"] != "hyperband":
        raise ValueError("type: must be hyperband")
    eta = operator.index(early.get("eta", 3))
    first = early["min_iter"] if "min_iter" in early else early["max_iter"] // eta ** early["s"]
    return SuccessiveHalvingPruner(min_resource=first, reduction_factor=eta)
