"""Ends training when it is asked to, with a checkpoint of the step that it has come to."""

import signal
import threading
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
        self.saved = False

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Remember who listens to SIGTERM."""
        self.handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Have Lightning not listen: it would wait for the other processes in the middle of anything."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handler)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save between two steps."""
        between = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 and not trainer.is_last_batch
        if (
            between
            and trainer.global_step != trainer.max_steps
            and any_of(REQUEST.number is not None, pl_module.device)
        ):
            trainer.save_checkpoint(self.checkpoint)
            self.saved = True

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop after the step was saved, and Lightning has logged it."""
        if self.saved:
            raise Stopped(REQUEST.number)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop after the checkpoint of the epoch before."""
        if any_of(REQUEST.number is not None, pl_module.device):
            raise Stopped(REQUEST.number)
