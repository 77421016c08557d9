"""Training: one command starts a run, and the same command continues it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning
from hydra.errors import InstantiationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from .. import processes
from ..config import PLACES, Config, build, first_line
from ..data import MixtureDataModule
from ..data.batches import TrainingSampler
from ..data.inventory import Inventory, examine_names
from ..errors import UserError
from ..files import replacing
from ..interrupts import REQUEST, Stopped
from ..memory import keep_freed_memory
from ..run import TRAINING_RECORD, digest_of_run, open_run, portable, provenance
from .checkpoints import LAST, PREVIOUS, AtomicCheckpointIO, load_checkpoint, newest_checkpoint
from .compilation import Compilation
from .csv_logger import CurvesLogger
from .faults import explaining
from .module import SeparationModule
from .progress import EpochLines
from .stopping import Stopping
from .wandb_logger import Dashboard, dashboard_of, has_dashboard


def train(config: Config) -> Path:
    """Train, or resume a run that was stopped, and return the run's folder.

    What is drawn depends on seed and step alone, and a checkpoint stands at the end of every epoch, so that a run that
    was killed ends with the weights of one that was not. One that was asked to stop saves the step that it came to.

    Raises:
        UserError: bad input; nothing has been written if it shows before the first step.
        Stopped: a scheduler asked for it.
    """
    with dashboard_of(config) as dashboard:
        return fit(config, dashboard)


def fit(config: Config, dashboard: Dashboard | None) -> Path:
    """Train, and let the dashboard, if there is one, follow the run's curves."""
    keep_freed_memory()
    settings = config.settings
    origin = provenance()  # of the code that runs now, whatever is committed until it ends
    lightning.seed_everything(settings.seed, workers=True, verbose=False)
    datamodule: MixtureDataModule = build(settings, "datamodule")
    datamodule.setup()
    for inventory in datamodule.inventories():
        consult(inventory)
    module = build_module(settings)
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
        loggers += parts_of(settings, "logger")
    trainer = build_trainer(config, loggers, origin)
    datamodule.check_processes(trainer.world_size)
    if processes.rank() == 0:
        open_run(config.folder, config.plain())
    if last is not None and (config.folder / TRAINING_RECORD).exists():
        print(f"{config.folder}: this run is finished; move the folder away to train it again")
        return config.folder
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
        if trainer._checkpoint_connector._loaded_checkpoint:  # for as long as its contents are taken over
            raise UserError(f"{last}: no run can resume from it ({first_line(error)}); move it away") from error
        raise UserError(
            f"{last}: training did not resume from it ({first_line(error)}); use the settings and the number of "
            "processes that it was saved with; if that fails too, it may be damaged: move it away"
        ) from error
    if processes.rank() == 0:
        write_record(config, datamodule.training_sampler(), trainer, module, curves, origin)
    if processes.any_of(REQUEST.number is not None, trainer.strategy.root_device):  # too late for a step to be saved
        raise Stopped(REQUEST.number)
    return config.folder


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


def build_module(settings: DictConfig) -> SeparationModule:
    """Separator, objective, scoring and optimizer of a config.

    Raises:
        UserError: one refuses its settings, or the objective the number of outputs.
    """
    objective = build(settings, "objective")
    try:
        objective.check_outputs(settings.num_outputs)
    except ValueError as error:
        raise UserError(str(error)) from error
    return SeparationModule(
        separator=build(settings, "separator"),
        objective=objective,
        scoring=build(settings, "scoring"),
        optimizer=build(settings, "optimizer"),
        schedule=build(settings, "schedule"),
    )


class LastCheckpoint(ModelCheckpoint):
    """The checkpoint of every epoch, under a key of its own, so that a user's ModelCheckpoint can be beside it."""

    @property
    def state_key(self) -> str:
        """What its state is called in checkpoints."""
        return type(self).__qualname__


def build_trainer(config: Config, loggers: list[Logger], origin: dict[str, Any]) -> lightning.Trainer:
    """The Trainer of a config, with the run's checkpoints, which say what trained them, and loggers."""
    settings = config.settings
    folder = config.folder / "checkpoints"
    every_epoch: dict[str, Any] = {
        "dirpath": folder,
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    best = ModelCheckpoint(
        filename="best",
        monitor=settings.selection,
        mode="min" if settings.selection.endswith("loss") else "max",
        **every_epoch,
    )
    last = LastCheckpoint(filename=Path(LAST).stem, **every_epoch)  # best's own one is written where it is best only
    described = settings.trainer.copy()
    checkpoints = AtomicCheckpointIO({"settings": portable(config.plain(), PLACES), "provenance": origin})
    options: dict[str, Any] = {
        "callbacks": [best, last, EpochLines(), Stopping(folder / LAST)],
        "logger": loggers,
        "plugins": [checkpoints, *processes.environment()],
    }
    options["callbacks"] += [*([Compilation()] if settings.compile else []), *parts_of(settings, "callbacks")]
    for name in ("callbacks", "logger", "plugins"):
        options[name] += parts_of(settings, f"trainer.{name}")
        described.pop(name, None)
    try:
        return build(OmegaConf.create({"trainer": described}), "trainer", **options)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, RuntimeError | MisconfigurationException):  # two parts do not go together
            raise UserError(f"trainer: {first_line(cause)}") from error
        raise


def parts_of(settings: DictConfig, key: str) -> list[Any]:
    """What settings give the Trainer of a kind, beside our own: one part, or a list or group of them.

    Raises:
        UserError: one refuses its settings, or is none.
    """
    described = OmegaConf.select(settings, key)
    if described is None or isinstance(described, bool):
        return []
    if OmegaConf.is_list(described):
        parts = list(described)
    elif OmegaConf.is_dict(described) and "_target_" not in described:
        parts = list(described.values())
    else:
        parts = [described]
    if not all(OmegaConf.is_dict(part) and "_target_" in part for part in parts):
        raise UserError(f"{key}={described}: must be one or more parts with a _target_ each")
    return [build(OmegaConf.create({key: part}), key) for part in parts]
