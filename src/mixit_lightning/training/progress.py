"""A line after every epoch where there is no terminal to draw a progress bar in."""

import sys
import time

import lightning
from lightning.pytorch.callbacks import Callback


class EpochLines(Callback):
    """Prints step, losses and the time that is left; silent in a terminal, which has the progress bar."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        self.start, self.first_step = time.monotonic(), trainer.global_step

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Print a line."""
        step, steps = trainer.global_step, trainer.max_steps
        # A resumed run first closes the epoch that it was resumed from, without a step.
        if sys.stdout.isatty() or not trainer.is_global_zero or step == self.first_step:
            return
        left = (time.monotonic() - self.start) / (step - self.first_step) * (steps - step)
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        shown = ", ".join(f"{name} {values[name]:.2f}" for name in ("val/loss", "val/si_snri") if name in values)
        print(f"step {step}/{steps}: {shown} dB; {left / 60:.1f} min left", flush=True)
