"""The processes of one training: Lightning starts them on one machine, torchrun or srun on several."""

import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig
from torch import Tensor, distributed

from .config import first_line
from .errors import UserError


def join(settings: DictConfig, command: Sequence[str]) -> None:
    """Prepare for one of several processes, each of which runs the same command; all but the first are silent.

    With `trainer=ddp` Lightning starts the others on one machine; on several machines torchrun or srun start all.

    Args:
        settings: of the run; the number of processes is put into them.
        command: with which Lightning starts the others, without the program.

    Raises:
        UserError: there are several processes, but not `trainer=ddp`.
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
    sys.argv[1:] = command
    if rank():
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for as long as the process lives


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
    """The plugin for processes that srun started: requeueing is the job's.

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
    """Number of this process; before they have met, as whoever started them says."""
    return distributed.get_rank() if together() else getattr(rank_zero_only, "rank", 0)


def count() -> int:
    """Number of processes."""
    return distributed.get_world_size() if together() else 1


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
