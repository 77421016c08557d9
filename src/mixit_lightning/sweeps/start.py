"""From the words of `mixit sweep` to the engine that runs the sweep."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..config import PATHS, load_config, variable_of
from ..errors import UserError
from .file import check_words, default_words, key_of, read_sweep, with_words


def start_sweep(
    words: Sequence[str],
    sweep: str = "learning-rate",
    engine: str = "wandb",
    agents: str = "1",
    count: str | None = None,
) -> None:
    """Run a sweep of a recipe.

    Args:
        words: `recipe=NAME key=value ...` of the runs.
        sweep: a file of `conf/sweep/`, or a path.
        engine: `wandb`, whose server proposes and shows the runs, or `local`.
        agents: trainings at a time on this machine; with `engine=wandb`, 0 leaves all to other machines.
        count: runs at most; None leaves it to the file.

    Raises:
        UserError: a word that makes no sense, or what the engine refuses.
    """
    numbers = {"agents": whole("agents", agents, least=0 if engine == "wandb" else 1)}
    if count is not None:
        numbers["count"] = whole("count", count)
    config = read_sweep(sweep)
    if engine == "local":
        from .local import sweep_locally

        sweep_locally(config, words, **numbers)
    elif engine == "wandb":
        from .remote import sweep_remotely

        line = default_words(config, words)
        if "logger=wandb" not in line:
            raise UserError("engine=wandb needs logger=wandb, in the command of the sweep file or as an override")
        check_words(config, line)
        settings = load_config(line).settings
        for word in words:
            if key_of(word) in ("data", *PATHS):
                advice = f"; where that differs, set {variable_of(settings.recipe)} instead" if "data=" in word else ""
                print(f"{word} is part of the sweep's command and must hold on every machine that joins{advice}")
        # W&B's agent looks for `mixit`, which stands beside this Python, environment activated or not.
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        logger = settings.logger
        given = any(key_of(word) == "logger.project" for word in words)
        sweep_remotely(
            with_words(config, words),
            project=logger.project if given else config.get("project", logger.project),
            entity=logger.get("entity") or config.get("entity"),
            agents=numbers["agents"],
            count=numbers.get("count"),
        )
    else:
        raise UserError(f"engine={engine}: must be wandb or local")


def whole(name: str, value: str, least: int = 1) -> int:
    """A word's whole number.

    Raises:
        UserError: it is something else, or below the least.
    """
    if not (value.isdecimal() and int(value) >= least):
        raise UserError(f"{name}={value}: must be a whole number, {least} or more")
    return int(value)
