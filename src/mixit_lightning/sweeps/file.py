"""Sweep files: plain W&B sweeps whose command is a `mixit train` line, read and checked for both engines."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from ..config import ROOT, load_config, nearest
from ..errors import UserError
from ..reading import read_yaml

SWEEPS = ROOT / "conf" / "sweep"

ARGUMENTS = "${args_no_hyphens}"
"""Where W&B's agent puts `key=value` for every parameter."""

METHODS = ("grid", "random", "bayes")

RANGES = ("uniform", "int_uniform", "q_uniform", "log_uniform_values", "inv_log_uniform_values", "q_log_uniform_values")
"""Distributions between `min` and `max`."""

OTHERS = ("normal", "q_normal", "log_normal", "q_log_normal", "beta", "q_beta")
"""Distributions that W&B has and `engine=local` has not."""

DISTRIBUTIONS = ("constant", "categorical", "categorical_w_probabilities", *RANGES, *OTHERS)

IN_A_GRID = ("constant", "categorical", "int_uniform", "q_uniform")


def read_sweep(name: str) -> dict[str, Any]:
    """Read and check a sweep file; what W&B knows beyond what is checked here stays as it is.

    Args:
        name: of a file in `conf/sweep/`, or a path.

    Raises:
        UserError: there is none, or it is not a sweep of a `mixit train` line; names file and key.
    """
    path = SWEEPS / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        raise UserError(
            f"sweep={name} does not exist{nearest(name, sorted(file.stem for file in SWEEPS.glob('*.yaml')))}"
        )
    config = read_yaml(path)
    try:
        check_sweep(config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return {"name": path.stem} | config


def check_sweep(config: Any) -> None:
    """Refuse what is not a sweep of a `mixit train` line.

    Raises:
        UserError: with the key.
    """
    if not isinstance(config, dict):
        raise UserError("must be a mapping with method, parameters, metric and command")
    method = config.get("method")
    if method not in METHODS:
        raise UserError(f"method: must be one of {', '.join(METHODS)}, not {method!r}")
    check_command(config.get("command"))
    parameters = config.get("parameters")
    if not (isinstance(parameters, dict) and parameters):
        raise UserError("parameters: must say which settings are swept")
    for key, specification in parameters.items():
        try:
            check_parameter(specification, method)
        except UserError as error:
            raise UserError(f"parameters.{key}: {error}") from error
        check_key(key, "parameters")
        if key in map(key_of, config["command"]):
            raise UserError(f"parameters.{key}: the command sets it too")
    metric = config.get("metric")
    if not (isinstance(metric, dict) and isinstance(metric.get("name"), str)):
        raise UserError("metric.name: must be a metric that training logs, such as val/loss")
    if metric.get("goal") not in ("minimize", "maximize"):
        raise UserError(f"metric.goal: must be minimize or maximize, not {metric.get('goal')!r}")
    if "run_cap" in config and not (is_whole(config["run_cap"]) and config["run_cap"] > 0):
        raise UserError(f"run_cap: must be a whole number above 0, not {config['run_cap']!r}")
    if "early_terminate" in config:
        check_early_terminate(config["early_terminate"])


def check_command(command: Any) -> None:
    """Refuse a command that is not `mixit train key=value ... ${args_no_hyphens}`.

    Raises:
        UserError: with the key.
    """
    form = f'command: must be ["${{env}}", mixit, train, key=value, ..., "{ARGUMENTS}"]'
    if not (isinstance(command, list) and all(isinstance(part, str) for part in command)):
        raise UserError(form)
    if command[:3] != ["${env}", "mixit", "train"] or command[-1] != ARGUMENTS:
        raise UserError(form)
    if wrong := [part for part in command[3:-1] if "=" not in part]:
        raise UserError(f"{form}, but has {wrong[0]}")
    for part in command[3:-1]:
        check_key(key_of(part), "command")


def check_key(key: str, where: str) -> None:
    """Refuse settings that only the machine that runs the sweep may set, as a sweep file is untrusted.

    Raises:
        UserError: it is about the launcher, which runs lines of shell.
    """
    if key.lstrip("+~").partition(".")[0].partition("@")[0] == "launcher":
        raise UserError(f"{where}: {key}: a sweep cannot say how its runs are launched; leave it out")


def check_parameter(specification: Any, method: str) -> None:
    """Refuse values that cannot be written on a command line, and distributions that are not W&B's.

    Raises:
        UserError: says what is wrong.
    """
    if not isinstance(specification, dict):
        raise UserError("must have value, values, or min and max")
    if "parameters" in specification:
        raise UserError("nested parameters; write the setting with dots, as on a command line")
    kind = distribution(specification)
    if kind not in DISTRIBUTIONS:
        raise UserError(f"there is no distribution {kind}{nearest(str(kind), list(DISTRIBUTIONS))}")
    if method == "grid" and kind not in IN_A_GRID:
        raise UserError(f"a grid has no {kind}; give values")
    if kind in RANGES:
        check_range(specification, kind)
    elif kind == "constant":
        check_values([specification.get("value")])
    elif kind not in OTHERS:
        values = specification.get("values")
        if not (isinstance(values, list) and values):
            raise UserError("values must be a list of one or more")
        check_values(values)


def distribution(specification: dict[str, Any]) -> str | None:
    """The distribution of a parameter, by W&B's rules where it is not said."""
    if "distribution" in specification:
        return str(specification["distribution"])
    if "value" in specification:
        return "constant"
    if "values" in specification:
        return "categorical_w_probabilities" if "probabilities" in specification else "categorical"
    if {"min", "max"} <= specification.keys():
        return "int_uniform" if is_whole(specification["min"]) and is_whole(specification["max"]) else "uniform"
    raise UserError("must have value, values, or min and max")


def check_range(specification: dict[str, Any], kind: str) -> None:
    """Refuse what is no range.

    Raises:
        UserError: says what is wrong.
    """
    for name in ("min", "max", "q"):
        value = specification.get(name, 1 if name == "q" else None)
        if not is_number(value):
            text = "; YAML reads 1e-4 as text, write 1.0e-4" if isinstance(value, str) else ""
            raise UserError(f"{kind} needs a number as {name}, not {value!r}{text}")
    low, high = specification["min"], specification["max"]
    if low >= high:
        raise UserError(f"min {low} is not below max {high}")
    if "log" in kind and low <= 0:
        raise UserError(f"min of {kind} must be above 0, not {low}")
    if kind == "int_uniform" and not (is_whole(low) and is_whole(high)):
        raise UserError("int_uniform needs whole numbers as min and max")
    if specification.get("q", 1) <= 0:
        raise UserError(f"q must be above 0, not {specification['q']}")


def check_values(values: Sequence[Any]) -> None:
    """Refuse values that `key=value` cannot hold as W&B's agent writes it, and repetitions.

    Raises:
        UserError: with the value.
    """
    for value in values:
        if value is None or isinstance(value, dict):
            raise UserError(f"{value!r} cannot be written as key=value; for nothing write 'null', in quotes")
    texts = [str(value) for value in values]
    if repeated := [text for text in texts if texts.count(text) > 1]:
        raise UserError(f"{repeated[0]} is there more than once")


def check_early_terminate(early: Any) -> None:
    """Refuse what is not hyperband.

    Raises:
        UserError: with the key.
    """
    if not (isinstance(early, dict) and early.get("type") == "hyperband"):
        raise UserError("early_terminate.type: must be hyperband")
    if not ("min_iter" in early or {"max_iter", "s"} <= early.keys()):
        raise UserError("early_terminate: needs min_iter, or max_iter and s")
    for name in ("min_iter", "max_iter", "s"):
        if name in early and not (is_whole(early[name]) and early[name] > 0):
            raise UserError(f"early_terminate.{name}: must be a whole number above 0, not {early[name]!r}")
    eta = early.get("eta", 3)
    if not (is_number(eta) and eta > 1):
        raise UserError(f"early_terminate.eta: must be a number above 1, not {eta!r}")
    if "max_iter" in early and early["max_iter"] < eta:
        raise UserError("early_terminate.max_iter: must be eta or more, else there is no iteration to stop at")
    if not isinstance(early.get("strict", True), bool):
        raise UserError(f"early_terminate.strict: must be true or false, not {early['strict']!r}")


def is_number(value: Any) -> bool:
    """Whether it is one; YAML's true is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Whether it is an integer; YAML's true is not."""
    return isinstance(value, int) and not isinstance(value, bool)


def key_of(word: str) -> str:
    """The setting that a word of a command line sets."""
    return word.partition("=")[0].lstrip("+~")


def with_words(config: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The sweep of a recipe: its words in the command, before those of a run.

    A word that sets what the command sets as well takes its place, and one that sets what is swept is left out: Hydra
    refuses to be told twice.

    Args:
        config: of `read_sweep`.
        words: `recipe=NAME key=value ...`, as they are typed. What is not given, such as a data root that an
            environment variable says, is left to every machine.
    """
    config = deepcopy(config)
    words = [word for word in words if key_of(word) not in config["parameters"]]
    given = {key_of(word) for word in words}
    *command, arguments = config["command"]
    start = [part for number, part in enumerate(command) if number < 3 or key_of(part) not in given]
    config["command"] = [*start, *words, arguments]
    return config


def fixed_words(config: dict[str, Any]) -> list[str]:
    """The words `key=value` of the command, which are the same for every run."""
    return list(config["command"][3:-1])


def default_words(config: dict[str, Any], words: Sequence[str]) -> list[str]:
    """The words of the run that a sweep is compared with: those of the command and the given ones, nothing swept."""
    return [*fixed_words(with_words(config, words)), *(word for word in words if key_of(word) in config["parameters"])]


def check_words(config: dict[str, Any], words: Sequence[str]) -> None:
    """Compose the default, and a run for every value of a parameter or the ends of its range, before anything is begun.

    Raises:
        UserError: the recipe has no such setting or option; names the parameter.
    """
    load_config(words)
    parameters = config["parameters"]
    fixed = [word for word in words if key_of(word) not in parameters]
    tried = {key: samples(specification) for key, specification in parameters.items()}
    # One at a time, beside the first value of all others: some settings exist beside others only.
    for key, values in tried.items():
        others = [f"{other}={options[0]}" for other, options in tried.items() if other != key]
        for value in values:
            try:
                load_config([*fixed, *others, f"{key}={value}"])
            except UserError as error:
                raise UserError(f"sweep {config['name']}: parameters.{key}: {error}") from error


def samples(specification: dict[str, Any]) -> list[Any]:
    """All values of a parameter, or the ends of its range; its centre where it has no ends."""
    if "values" in specification:
        return list(specification["values"])
    return [specification[name] for name in ("value", "min", "max") if name in specification] or [
        specification.get("mu", specification.get("a", 0))
    ]
