"""What a run is made of, built once from its config."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import lightning
from omegaconf import DictConfig

from ..config import Config, build
from ..data import MixtureDataModule
from ..errors import UserError
from .module import SeparationModule
from .wandb_logger import Dashboard, dashboard_of


class Parts(NamedTuple):
    """What training and evaluation of a run share."""

    config: Config
    datamodule: MixtureDataModule
    module: SeparationModule
    dashboard: Dashboard | None
    """With `logger=wandb`."""


@contextmanager
def parts_of(config: Config) -> Iterator[Parts]:
    """Build the parts of a run; its dashboard stays open for the block.

    Raises:
        UserError: a part refuses its settings, or there is something wrong with the recordings.
    """
    with dashboard_of(config) as dashboard:
        lightning.seed_everything(config.settings.seed, workers=True, verbose=False)
        datamodule: MixtureDataModule = build(config.settings, "datamodule")
        datamodule.setup()
        yield Parts(config, datamodule, build_module(config.settings), dashboard)


def build_module(settings: DictConfig) -> SeparationModule:
    """Separator, objective, scoring and optimizer of a config.

    Raises:
        UserError: one refuses its settings, or the objective the number of outputs.
    """
    objective = build(settings, "objective")
    try:
        objective.check_outputs(settings.num_outputs)
    except (TypeError, ValueError) as error:
        raise UserError(f"num_outputs={settings.num_outputs}: {error}") from error
    return SeparationModule(
        separator=build(settings, "separator"),
        objective=objective,
        scoring=build(settings, "scoring"),
        optimizer=build(settings, "optimizer"),
        schedule=build(settings, "schedule"),
    )
