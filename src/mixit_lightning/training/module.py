"""One LightningModule for every separator and every objective."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..data import EvaluationBatch, TrainingBatch
from ..errors import UserError
from ..metrics import MoMi, Scoring, SeparationScoring
from ..objectives import Objective


class SeparationModule(lightning.LightningModule):
    """Trains a separator for an objective, and validates it with and without references.

    Validation logs both losses, MixIT on fixed mixtures of mixtures and PIT on the mixtures they are made of, whatever
    the objective. `val/loss` weighs them as the objective weighs its examples: for MixIT it needs no references.

    Args:
        separator: `(batch, time)` to `(batch, output, time)`.
        objective: see `Objective`.
        optimizer: from parameters to an optimizer.
        schedule: from the number of steps taken to a factor on the learning rate.
        scoring: of the validation mixtures with references.
    """

    def __init__(
        self,
        separator: nn.Module,
        objective: Objective,
        optimizer: Callable[[Any], Optimizer],
        schedule: Callable[[int], float],
        scoring: Scoring | None = None,
    ) -> None:
        super().__init__()
        self.separator = separator
        self.objective = objective
        self.make_optimizer = optimizer
        self.schedule = schedule
        self.scoring = scoring or SeparationScoring()
        self.labelled_metrics = nn.ModuleDict(self.scoring.metrics())
        self.momi = MoMi(objective.admissible, objective.search)
        self.names: list[str] = []

    def forward(self, mixtures: Tensor) -> Tensor:
        """Outputs `(batch, output, time)` of mixtures `(batch, time)`."""
        return self.separator(mixtures)

    def load_weights(self, state: Mapping[str, Tensor], source: Path) -> None:
        """Load weights of a checkpoint.

        Raises:
            UserError: they belong to another network.
        """
        try:
            self.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(
                f"{source}: holds another network than separator and num_outputs describe; "
                "give the settings that it was trained with"
            ) from error

    def training_step(self, batch: TrainingBatch, batch_number: int) -> Tensor:
        """One forward pass over labelled and unlabelled examples, one mean."""
        examples = self.objective.examples(batch.mixtures, batch.references)
        losses = self.objective(self.separator(examples.inputs), examples)
        self.names = batch.names
        if not losses.isfinite().all():
            raise self.not_finite("loss", self.names_of(~losses.isfinite(), len(batch.references)))
        loss = losses.mean()
        labelled = len(examples.references)
        self.log("train/loss", loss, prog_bar=True)
        if 0 < labelled < len(losses):
            self.log("train/pit_loss", losses[:labelled].mean())
            self.log("train/mixit_loss", losses[labelled:].mean())
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by norm, and stop at a gradient that is not finite before it reaches the weights."""
        limit = gradient_clip_val if gradient_clip_val else torch.inf
        norm = nn.utils.clip_grad_norm_(self.parameters(), limit)
        if not norm.isfinite():
            raise self.not_finite("gradient", self.names)
        self.log("train/gradient_norm", norm)
        self.log("train/learning_rate", optimizer.param_groups[0]["lr"])

    def names_of(self, bad: Tensor, labelled: int) -> list[str]:
        """Names of the items that went into the marked examples."""
        group = self.objective.num_mixtures
        names = []
        for number in bad.nonzero().flatten().tolist():
            first = number if number < labelled else labelled + (number - labelled) * group
            names += self.names[first : first + (1 if number < labelled else group)]
        return names

    def not_finite(self, what: str, names: list[str]) -> UserError:
        """The error for numbers that would spoil the weights."""
        return UserError(
            f"the {what} is not finite at step {self.global_step} with {', '.join(names)}; "
            "check these recordings, or lower optimizer.lr or trainer.gradient_clip_val"
        )

    def validation_step(self, batch: EvaluationBatch, batch_number: int) -> None:
        """Both losses and all metrics, on fixed mixtures and fixed mixtures of mixtures."""
        size = len(batch.mixtures)
        mixtures = torch.cat([batch.mixtures[:, None], batch.partners], dim=1)
        from_sums = self.separator(mixtures.sum(1))
        loss = mixit_loss = self.objective.unsupervised(from_sums, mixtures).mean()
        self.log("val/mixit_loss", mixit_loss, batch_size=size, sync_dist=True)
        self.momi.update(from_sums, mixtures)
        if batch.references.shape[1]:
            estimates = self.separator(batch.mixtures)
            pit_loss = self.objective.supervised(estimates, batch.references, batch.mixtures).mean()
            self.log("val/pit_loss", pit_loss, batch_size=size, sync_dist=True)
            share = self.objective.labelled_share
            loss = share * pit_loss + (1 - share) * mixit_loss
            scores = self.scoring.scores(estimates, batch.references, batch.mixtures, final=False)
            for metric in self.labelled_metrics.values():
                metric.add_scores(scores)  # type: ignore[operator]
        self.log("val/loss", loss, batch_size=size, sync_dist=True, prog_bar=True)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics that apply to this validation set."""
        for name, metric in [*self.labelled_metrics.items(), ("momi", self.momi)]:
            if metric.count:
                self.log(f"val/{name}", metric.compute().float(), prog_bar=name == "si_snri")  # type: ignore[operator]
            metric.reset()  # type: ignore[operator]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer, and the schedule in steps."""
        optimizer = self.make_optimizer(self.parameters())
        scheduler = LambdaLR(optimizer, self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
