"""Sweeps that a Weights & Biases server hands out to agents on this machine and any others."""

import os
import signal
import subprocess
import sys
import threading
from types import FrameType
from typing import Any

from ..account import check_account, refusals
from ..errors import UserError


def sweep_remotely(config: dict[str, Any], *, project: str, entity: str | None, agents: int, count: int | None) -> str:
    """Register a sweep, run agents for it on this machine until it is done, and return its path.

    The server decides what each run is given; its agents start the config's `command`, one process per run. Ctrl-C (or
    SIGTERM) stops the agents and their runs, which resume from their last checkpoints when the server hands them out
    again; a second one does not wait for them.

    Args:
        config: of the sweep, as W&B documents it, with its `command`.
        project: at W&B; made if there is none.
        entity: team or user; None is the default.
        agents: to start here; 0 leaves all runs to other machines.
        count: runs that the agents of this machine take together; None is as many as the sweep has.

    Returns:
        `ENTITY/PROJECT/ID`.

    Raises:
        UserError: W&B does not know us or refuses the sweep, or an agent gives up.
    """
    check_account("engine=local sweeps on this machine alone")
    path = register(config, project, entity)
    print(f"more machines join with: wandb agent {path}", flush=True)
    shares = [None] * agents if count is None else [count // agents + (n < count % agents) for n in range(agents)]
    try:
        run_agents([agent_command(path, share) for share in shares if share != 0])
    except KeyboardInterrupt:
        print(f"resume the sweep with: wandb agent {path}", flush=True)
        raise
    return path


def register(config: dict[str, Any], project: str, entity: str | None) -> str:
    """Make a sweep on the server, print where to look at it, and return its path.

    Raises:
        UserError: the server refuses it.
    """
    import wandb

    before = {name: os.environ.get(name) for name in ("WANDB_ENTITY", "WANDB_PROJECT")}
    try:
        with refusals(f"sweep in {project}", "check the sweep file, the names of project and entity, and your rights"):
            name = wandb.sweep(config, project=project, entity=entity)
            entity = entity or wandb.Api().default_entity
    finally:  # W&B makes them the defaults of this process
        for variable, value in before.items():
            os.environ.pop(variable, None)
            if value is not None:
                os.environ[variable] = value
    return f"{entity}/{project}/{name}"


def agent_command(path: str, count: int | None) -> list[str]:
    """The command of an agent that hands signals on to its run."""
    number = [] if count is None else ["--count", str(count)]
    return [sys.executable, "-m", "wandb", "agent", "--forward-signals", *number, path]


def run_agents(commands: list[list[str]]) -> None:
    """Run agents side by side until all have ended.

    Raises:
        KeyboardInterrupt: ctrl-C or SIGTERM came, and they have been stopped.
        UserError: one has failed.
    """
    # In sessions of their own, as otherwise ctrl-C in a terminal would reach agents and runs twice.
    started = [subprocess.Popen(command, start_new_session=True) for command in commands]
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        for agent in started:
            agent.send_signal(signal.SIGTERM)  # nothing happens to one that has ended

    main = threading.current_thread() is threading.main_thread()
    before = [(number, signal.signal(number, stop)) for number in (signal.SIGINT, signal.SIGTERM) if main]
    try:
        codes = [agent.wait() for agent in started]
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    if stopped:
        raise KeyboardInterrupt
    if failed := [code for code in codes if code]:
        raise UserError(f"sweep: {len(failed)} of {len(codes)} agents gave up; their messages stand above")
