"""Ends training when it is asked to, with a checkpoint of the step that it has come to."""

from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from ..interrupts import REQUEST, Stopped
from ..processes import any_of


class Stopping(Callback):
    """Saves and ends as soon as a step is done; at the end of an epoch, which is saved anyway, as soon as that is.

    All processes stop at the same step, whichever of them was asked to.

    Args:
        checkpoint: the run's last one.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep Lightning from taking SIGTERM next: it would wait for the other processes in the middle of anything."""
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop between two steps."""
        between = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 and not trainer.is_last_batch
        if (
            between
            and trainer.global_step != trainer.max_steps
            and any_of(REQUEST.number is not None, pl_module.device)
        ):
            trainer._logger_connector.update_train_step_metrics()  # as Lightning does after this, for the curves
            trainer.save_checkpoint(self.checkpoint)
            raise Stopped(REQUEST.number)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop after the checkpoint of the epoch before."""
        if any_of(REQUEST.number is not None, pl_module.device):
            raise Stopped(REQUEST.number)
