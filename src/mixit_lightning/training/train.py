"""Training: one command starts a run, and the same command continues it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig

from .. import processes
from ..config import PLACES, Config, first_line
from ..data.batches import TrainingSampler
from ..data.inventory import Inventory, examine_names
from ..errors import UserError
from ..files import replacing
from ..interrupts import REQUEST, Stopped
from ..memory import keep_freed_memory
from ..run import TRAINING_RECORD, digest_of_run, open_run, provenance
from .checkpoints import LAST, PREVIOUS, load_checkpoint, newest_checkpoint
from .csv_logger import CurvesLogger
from .faults import explaining
from .module import SeparationModule
from .parts import Parts, parts_of
from .trainers import build_all, build_trainer
from .wandb_logger import has_dashboard


def train(config: Config) -> Path:
    """Train, or resume a run that was stopped, and return the run's folder.

    Raises:
        UserError: bad input; nothing has been written if it shows before the first step.
        Stopped: a scheduler asked for it.
    """
    with parts_of(config) as parts:
        fit(parts)
    return config.folder


def fit(parts: Parts) -> None:
    """Train the parts of a run, as `train` does.

    What is drawn depends on seed and step alone, and a checkpoint stands at the end of every epoch, so that a run that
    was killed ends with the weights of one that was not. One that was asked to stop saves the step that it came to.
    """
    keep_freed_memory()
    config, datamodule, module, dashboard = parts
    settings = config.settings
    origin = provenance()  # of the code that runs now, whatever is committed until it ends
    for inventory in datamodule.inventories():
        consult(inventory)
    check_accumulation(settings, datamodule.steps_per_epoch)
    checkpoints = config.folder / "checkpoints"
    last = newest_checkpoint(checkpoints)
    if settings.warm_start and last is None:
        source = Path(settings.warm_start).expanduser()
        print(f"starting from {source}: {module.start_from(load_checkpoint(source)['state_dict'], source)}")
    curves = CurvesLogger(config.folder / "metrics.csv", lambda: module.global_step)
    loggers: list[Logger] = [curves]
    if dashboard is not None:
        dashboard.curves = curves
        loggers.append(dashboard)
    elif not has_dashboard(config):  # whose first process speaks for all
        loggers += build_all(settings, "logger")
    trainer = build_trainer(config, loggers, origin)
    datamodule.check_processes(trainer.world_size)
    if processes.rank() == 0:
        open_run(config.folder, config.plain())
    if last is not None and (config.folder / TRAINING_RECORD).exists():
        print(f"{config.folder}: this run is finished; move the folder away to train it again")
        return
    if last is not None and last.name == PREVIOUS and processes.rank() == 0:
        set_aside(checkpoints / LAST)  # or the next checkpoint would take the name of the only good one to it
    steps = load_checkpoint(last).get("global_step", 0) if last is not None else 0
    curves.rewind(steps)
    try:
        with explaining(config.folder), REQUEST.deferred():
            trainer.fit(module, datamodule=datamodule, ckpt_path=last, weights_only=True)
    except MisconfigurationException as error:
        raise UserError(first_line(error)) from error
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if last is None or trainer.global_step > steps:
            raise
        raise UserError(
            f"{last}: training did not resume from it ({first_line(error)}); use the settings and the number of "
            "processes that it was saved with; if that fails too, it may be damaged: move it away"
        ) from error
    if processes.rank() == 0:
        write_record(config, datamodule.training_sampler(), trainer, module, curves, origin)
    if processes.any_of(REQUEST.number is not None, trainer.strategy.root_device):  # too late for a step to be saved
        raise Stopped(REQUEST.number)


def check_accumulation(settings: DictConfig, epoch: int) -> None:
    """Refuse epochs that end between two steps, which Lightning would make there, of fewer batches.

    Raises:
        UserError: with both numbers.
    """
    accumulated = settings.trainer.get("accumulate_grad_batches", 1)
    if not (isinstance(accumulated, int) and accumulated > 0 and epoch % accumulated == 0):
        raise UserError(
            f"trainer.accumulate_grad_batches={accumulated}: must be a whole number that divides "
            f"datamodule.steps_per_epoch={epoch}"
        )


def set_aside(checkpoint: Path) -> None:
    """Rename a checkpoint that cannot be loaded, if there is one."""
    if checkpoint.exists():
        checkpoint.replace(checkpoint.with_suffix(".damaged"))


def write_record(
    config: Config,
    sampler: TrainingSampler,
    trainer: lightning.Trainer,
    module: SeparationModule,
    curves: CurvesLogger,
    origin: dict[str, Any],
) -> None:
    """Write what training says of itself when it ends."""
    settings = config.settings
    record = {"steps": trainer.global_step, "seconds": round(curves.seconds, 1), **origin}
    record["parameters"] = sum(parameter.numel() for parameter in module.separator.parameters())
    record["batch"] = batch_record(settings, sampler, trainer.global_step)
    if settings.warm_start:
        record["warm_start"] = digest_of_run(Path(settings.warm_start), PLACES)
    record["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    with replacing(config.folder / TRAINING_RECORD) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n")


def batch_record(settings: DictConfig, sampler: TrainingSampler, steps: int) -> dict[str, Any]:
    """What a training step was made of, by which results on different machines can be compared."""
    accumulated = settings.trainer.get("accumulate_grad_batches", 1)
    examples = sampler.batch_size * accumulated
    return {
        "examples": examples,
        "processes": processes.count(),
        "labelled_share": round(sampler.labelled_counts(steps * accumulated).sum() / max(1, steps * examples), 6),
        "learning_rate": settings.optimizer.get("lr"),
        "learning_rate_scaling": "none: examples are those of all processes together",
    }


def consult(inventory: Inventory) -> None:
    """The doctor's cheap part; `mixit doctor` looks at the samples too.

    Raises:
        UserError: something is wrong with the set.
    """
    findings = list(examine_names(inventory))
    if findings:
        first = findings[0]
        raise UserError(
            f"{first.file}: {first.message}; {first.cure} ({len(findings)} findings; `mixit doctor` with the same "
            "settings lists them)"
        )
