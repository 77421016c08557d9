"""The processes of one training: Lightning starts them on one machine, torchrun or srun on several."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor, distributed

from .config import first_line
from .errors import UserError
from .interrupts import say

GRACE = 10.0
"""Seconds in which a process finds out by itself that another has died, and can say more about it."""


def join(settings: DictConfig) -> None:
    """Start the other processes that `trainer=ddp` asks for, or meet those that torchrun or srun started.

    Each runs the same command. From here on all of them but the first are silent, errors apart.

    Raises:
        UserError: there are several processes, but not `trainer=ddp`; or they could not meet.
    """
    started = started_processes()
    if "strategy" not in settings.trainer:
        if started and started.machines * started.local > 1:
            raise UserError(
                f"{started.by} started {started.machines * started.local} processes, each of which would train alone; "
                "give trainer=ddp"
            )
        return
    if started:
        started.put_into(settings)
    from lightning.fabric import Fabric
    from lightning.fabric.strategies import DDPStrategy
    from lightning.fabric.strategies.launchers import subprocess_script

    subprocess_script._launch_process_observer = watch  # type: ignore[assignment] # Lightning's kills without a word
    timeout = timedelta(seconds=settings.trainer.strategy.timeout.seconds)
    layout: dict[str, Any] = {name: settings.trainer[name] for name in ("accelerator", "devices", "num_nodes")}
    try:
        Fabric(strategy=DDPStrategy(timeout=timeout), plugins=environment(), **layout).launch()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"trainer=ddp: the processes could not meet ({first_line(error)})") from error
    if rank():
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for as long as the process lives


def watch(others: "Sequence[subprocess.Popen[bytes]]") -> None:
    """End this process where one that it started has died, as it may wait for that one for long."""

    def look() -> None:
        while not any(statuses := [other.poll() for other in others]):
            if None not in statuses:
                return
            time.sleep(1)
        time.sleep(GRACE)
        say(
            "mixit: another process of this training has ended; see its message; run the same "
            "command again to resume from the last checkpoint"
        )
        for other in others:
            other.kill()
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def leave() -> bool:
    """Leave the process group, where nothing is left to be computed together.

    Without it, threads that the processes talk to each other by may be there still when Python ends, which aborts.

    Returns:
        Whether this process is the first one.
    """
    first = rank() == 0
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
    return first


class Started(NamedTuple):
    """Processes that another program has started."""

    by: str
    machines: int
    local: int
    """Processes per machine."""

    def put_into(self, settings: DictConfig) -> None:
        """Put the numbers into a config.

        Raises:
            UserError: it asks for other numbers.
        """
        for key, usual, number in (("devices", "auto", self.local), ("num_nodes", 1, self.machines)):
            if settings.trainer[key] not in (usual, number):
                raise UserError(
                    f"trainer.{key}={settings.trainer[key]}: {self.by} started {self.local} processes on each of "
                    f"{self.machines} machines; leave it out, or have it start as many"
                )
            settings.trainer[key] = number


def started_processes() -> Started | None:
    """Processes that torchrun or srun has started; None without either.

    Raises:
        UserError: srun was not told how many go on each machine.
    """
    if distributed.is_torchelastic_launched():
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return Started("torchrun", int(os.environ["WORLD_SIZE"]) // local, local)
    if environment():
        machines = int(os.environ["SLURM_NNODES"])
        return Started("srun", machines, int(os.environ["SLURM_NTASKS"]) // machines)
    return None


def environment() -> list[Any]:
    """The plugin for processes that srun started: requeueing is the job's, see `launcher=slurm`.

    Raises:
        UserError: srun was not told how many go on each machine.
    """
    from lightning.fabric.plugins.environments import SLURMEnvironment

    if distributed.is_torchelastic_launched() or not SLURMEnvironment.detect():
        return []
    try:
        return [SLURMEnvironment(auto_requeue=False)]
    except RuntimeError as error:
        raise UserError(f"srun: {first_line(error)}") from error


def together() -> bool:
    """Whether there are several processes."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def rank() -> int:
    """Number of this process."""
    return distributed.get_rank() if together() else 0


def count() -> int:
    """Number of processes."""
    return distributed.get_world_size() if together() else 1


def wait() -> None:
    """Wait for the other processes."""
    if together():
        distributed.barrier()


def summed(values: Tensor) -> Tensor:
    """The sum of `values` over the processes."""
    if together():
        values = values.clone()
        distributed.all_reduce(values)
    return values


def any_of(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set in any process."""
    return bool(summed(torch.tensor(float(flag), device=device))) if together() else flag


def gathered(value: Any) -> list[Any]:
    """The value of every process, in the order of their numbers; plain types, arrays and tables."""
    if not together():
        return [value]
    values = [None] * count()
    distributed.all_gather_object(values, value)
    return values
