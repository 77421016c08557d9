"""torch.compile for training, with its cost printed; where it fails, training runs without it."""

import time

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from ..config import first_line
from ..data import TrainingBatch
from .module import SeparationModule


class Compilation(Callback):
    """Compiles the separator, in place, before the first training step.

    The parameters keep their names, so checkpoints are the same with and without. What is compiled is forward and
    backward pass at the one shape of the training step; validation, whose lengths differ, runs as ever.
    """

    def __init__(self) -> None:
        self.begun = False

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: TrainingBatch, batch_idx: int
    ) -> None:
        """Compile with the first batch, as only it tells the shape; touches no gradients and no random numbers."""
        if self.begun:
            return
        self.begun = True
        assert isinstance(pl_module, SeparationModule)
        separator, device = pl_module.separator, pl_module.device
        inputs = pl_module.objective.examples(batch.mixtures, batch.references).inputs
        torch.compiler.set_stance("default")
        separator.compile()
        buffers = {name: buffer.clone() for name, buffer in separator.named_buffers()}
        start = time.monotonic()
        random = torch.random.fork_rng([device] if device.type == "cuda" else [])
        try:
            with random, trainer.precision_plugin.train_step_context():
                parameters = [parameter for parameter in separator.parameters() if parameter.requires_grad]
                torch.autograd.grad(separator(inputs).sum(), parameters, allow_unused=True)
        except Exception as error:  # whatever a compiler may raise
            torch.compiler.set_stance("force_eager")
            print(f"compile: failed, training without it, {type(error).__name__}: {first_line(error)}")
        else:
            torch.compiler.set_stance("eager_on_recompile")
            print(f"compile: took {time.monotonic() - start:.0f} s")
        with torch.no_grad():  # running means of norms, where a network has any
            for name, buffer in separator.named_buffers():
                buffer.copy_(buffers[name])

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """The same for a training that was stopped."""
        torch.compiler.set_stance("force_eager")

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Compile nothing more: the test that follows has mixtures of many lengths."""
        torch.compiler.set_stance("force_eager")
