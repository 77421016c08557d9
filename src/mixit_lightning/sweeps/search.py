"""What is tried next: the settings of a sweep file as Optuna draws them, and its study on disk."""

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import UserError
from .file import distribution

if TYPE_CHECKING:  # slow to import
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

DIGITS = 6
"""Of the numbers that are drawn: more would only make long words."""

RANDOM_RUNS = 5
"""Runs drawn at random before the Bayesian search has enough to go by."""


def space(config: dict[str, Any]) -> "dict[str, BaseDistribution]":
    """What Optuna draws for every run: parameters that have more than one value.

    Choices are drawn as the text of their words. Quantised ranges are drawn as W&B does it: from the whole range, then
    rounded.

    Raises:
        UserError: a distribution that is for W&B alone.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for key, specification in config["parameters"].items():
        kind, low, high = distribution(specification), specification.get("min"), specification.get("max")
        if kind == "constant":
            continue
        if kind == "categorical":
            found[key] = CategoricalDistribution([str(value) for value in specification["values"]])
        elif kind == "int_uniform":
            found[key] = IntDistribution(low, high)
        elif kind in ("uniform", "q_uniform", "log_uniform_values", "inv_log_uniform_values", "q_log_uniform_values"):
            found[key] = FloatDistribution(low, high, log="log" in kind)
        else:
            raise UserError(
                f"sweep {config['name']}: parameters.{key}: {kind} is for engine=wandb alone; give values, uniform, "
                "int_uniform, q_uniform, log_uniform_values or q_log_uniform_values"
            )
        if config["method"] == "grid" and kind != "categorical":
            step = 1 if kind == "int_uniform" else specification.get("q", 1)
            # W&B leaves out the end of a quantised range, and has that of integers.
            count = high - low + 1 if kind == "int_uniform" else math.ceil((high - low) / step)
            found[key] = CategoricalDistribution([str(tidy(low + step * number)) for number in range(count)])
    return found


def choices_of(values: "BaseDistribution") -> Sequence[Any]:
    """Of a setting in a grid."""
    return values.choices  # type: ignore[attr-defined, no-any-return]


def draw(trial: "Trial", key: str, values: "BaseDistribution") -> Any:
    """The value of a trial, drawn at the first call."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(values, CategoricalDistribution):
        return trial.suggest_categorical(key, values.choices)
    if isinstance(values, IntDistribution):
        return trial.suggest_int(key, values.low, values.high)
    return trial.suggest_float(key, values.low, values.high, log=values.log)  # type: ignore[attr-defined]


def word_of(key: str, specification: dict[str, Any], value: Any) -> str:
    """`key=value` as W&B's agent writes it, with fewer digits."""
    if isinstance(value, float):
        kind = distribution(specification) or ""
        if kind.startswith("q_"):
            step = specification.get("q", 1)
            value = round(value / step) * step
        value = tidy(value)
    return f"{key}={value}"


def tidy(value: float) -> float:
    """A number without digits that nobody wants to read."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def sampler(method: str, seed: int, number: int) -> "BaseSampler":
    """Optuna's sampler for the trial of that number."""
    import numpy as np
    from optuna.samplers import RandomSampler, TPESampler

    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    if method == "bayes":
        # Of runs under way it is assumed that they are bad, so that several agents try different things.
        return TPESampler(n_startup_trials=RANDOM_RUNS, constant_liar=True, seed=own)
    return RandomSampler(seed=own)


def open_study(path: Path, goal: Literal["minimize", "maximize"]) -> "Study":
    """Optuna's study in a journal, new or as it was left."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    # What an engine that was killed may have left: its lock, which ours makes needless, and half a line.
    path = path.resolve()
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    if path.exists():
        text = path.read_bytes()
        os.truncate(path, text.rfind(b"\n") + 1)
    storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.create_study(storage=storage, study_name="sweep", direction=goal, load_if_exists=True)
