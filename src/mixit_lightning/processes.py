"""The processes that work together: Lightning starts them on one machine, torchrun or srun on several."""

import os
import sys
from datetime import timedelta
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, distributed

from .errors import UserError


def join(settings: DictConfig) -> None:
    """Start the other processes that `trainer=ddp` asks for, or meet those that torchrun or srun started.

    Each runs the same command. From here on all of them but the first are silent, errors apart.

    Raises:
        UserError: there are several processes, but not `trainer=ddp`; or they could not meet.
    """
    count = int(os.environ.get("WORLD_SIZE", 1)) if distributed.is_torchelastic_launched() else 1
    if "strategy" not in settings.trainer:
        if count > 1:
            raise UserError(f"torchrun started {count} processes, each of which would train alone; give trainer=ddp")
        return
    count_processes(settings)
    from lightning.fabric import Fabric
    from lightning.fabric.strategies import DDPStrategy

    timeout = timedelta(seconds=settings.trainer.strategy.timeout.seconds)
    layout: dict[str, Any] = {name: settings.trainer[name] for name in ("accelerator", "devices", "num_nodes")}
    try:
        Fabric(strategy=DDPStrategy(timeout=timeout), plugins=environment(), **layout).launch()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"trainer=ddp: the processes could not meet ({str(error).splitlines()[0]})") from error
    if rank():
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for as long as the process lives


def count_processes(settings: DictConfig) -> None:
    """Put the numbers of machines, and of processes on each, into the config, where torchrun or srun set them."""
    if distributed.is_torchelastic_launched():
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        machines = int(os.environ["WORLD_SIZE"]) // local
    elif environment():
        machines = int(os.environ["SLURM_NNODES"])
        local = int(os.environ["SLURM_NTASKS"]) // machines
    else:
        return
    OmegaConf.update(settings, "trainer.devices", local)
    OmegaConf.update(settings, "trainer.num_nodes", machines)


def environment() -> list[Any]:
    """The plugin for processes that srun started: requeueing is the job's, see `launcher=slurm`."""
    from lightning.fabric.plugins.environments import SLURMEnvironment

    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


def together() -> bool:
    """Whether there are several processes."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def rank() -> int:
    """Number of this process."""
    return distributed.get_rank() if together() else 0


def count() -> int:
    """How many there are."""
    return distributed.get_world_size() if together() else 1


def wait() -> None:
    """Wait for the others."""
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
