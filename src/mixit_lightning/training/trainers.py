"""The Trainers of a run: one that trains, with the run's own callbacks, and one that tests."""

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
from ..errors import UserError
from ..run import portable
from .checkpoints import LAST, AtomicCheckpointIO
from .compilation import Compilation
from .progress import EpochLines
from .stopping import Stopping


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
    options["callbacks"] += [*([Compilation()] if settings.compile else []), *build_all(settings, "callbacks")]
    for name in ("callbacks", "logger", "plugins"):
        options[name] += build_all(settings, f"trainer.{name}")
        described.pop(name, None)
    try:
        return build(OmegaConf.create({"trainer": described}), "trainer", **options)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, RuntimeError | MisconfigurationException):  # two parts do not go together
            raise UserError(f"trainer: {first_line(cause)}") from error
        raise


def test_trainer(settings: DictConfig) -> lightning.Trainer:
    """A Trainer that tests as the config trains, in as many processes, and in single precision."""
    names = ("accelerator", "devices", "num_nodes", "strategy", "enable_progress_bar", "use_distributed_sampler")
    described = {name: settings.trainer[name] for name in ("_target_", *names) if name in settings.trainer}
    return build(
        OmegaConf.create({"trainer": described}),
        "trainer",
        precision="32-true",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        plugins=processes.environment(),
    )


def build_all(settings: DictConfig, key: str) -> list[Any]:
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
