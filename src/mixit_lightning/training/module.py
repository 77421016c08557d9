"""One LightningModule for every separator and every objective."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric

from ..data import EvaluationBatch, TrainingBatch
from ..errors import UserError
from ..metrics import MoMi, Scoring, SeparationScoring, momi
from ..objectives import Objective
from ..processes import gathered, summed
from .score_table import ScoreTable


class SeparationModule(lightning.LightningModule):
    """Trains a separator for an objective, and validates it with and without references.

    Validation logs both losses, MixIT on fixed mixtures of mixtures and PIT on mixtures with references, whatever the
    objective, as far as there are any. `val/loss` weighs them as the objective weighs its examples: for MixIT it needs
    no references.

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
        self.validation_losses = nn.ModuleDict(
            {name: MeanMetric(nan_strategy=torch.inf) for name in ("pit_loss", "mixit_loss")}
        )
        self.names: list[str] = []
        self.score_table: ScoreTable
        self.test_results: tuple[pd.DataFrame, dict[str, float | None]]
        """Of the last test: one row per mixture, and the metrics."""

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

    def start_from(self, state: Mapping[str, Tensor], source: Path) -> str:
        """Take over the separator's weights that fit, for a warm start, and say how many did.

        Other settings than those of the checkpoint are what this is for; another number of outputs leaves the layers
        that depend on it as they were initialised.

        Raises:
            UserError: most of them do not fit.
        """
        own = self.separator.state_dict()
        given = {name.removeprefix("separator."): value for name, value in state.items()}
        fitting = {name: given[name] for name in own if name in given and given[name].shape == own[name].shape}
        taken, total = (sum(value.numel() for value in part.values()) for part in (fitting, own))
        if 2 * taken < total:
            raise UserError(
                f"{source}: only {taken} of {total} weights fit this separator; give separator settings like those "
                "that it was trained with"
            )
        self.separator.load_state_dict(fitting, strict=False)
        others = sorted(own.keys() - fitting.keys())
        return f"{taken} of {total} weights" + (f", not those of {', '.join(others)}" if others else "")

    def training_step(self, batch: TrainingBatch, batch_number: int) -> Tensor:
        """One forward pass over labelled and unlabelled examples, one mean; what is logged is that of all processes.

        Gradients are averaged over the processes, all of which have the same number of examples.
        """
        examples = self.objective.examples(batch.mixtures, batch.references)
        losses = self.objective(self.separator(examples.inputs), examples)
        self.names = batch.names
        parts = losses[: len(examples.references)], losses[len(examples.references) :]
        numbers = losses.new_tensor([len(part) for part in parts])
        sums, counts = summed(torch.stack([torch.stack([part.detach().sum() for part in parts]), numbers]))
        if not sums.isfinite().all():
            raise self.not_finite("loss", self.names_of(~losses.isfinite(), len(batch.references)))
        self.log("train/loss", sums.sum() / counts.sum(), prog_bar=True)
        if counts.all():
            for name, value in zip(("pit_loss", "mixit_loss"), sums / counts, strict=True):
                self.log(f"train/{name}", value)
        return losses.mean()

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
        """The error for numbers that would spoil the weights, in any process; `names` are of this one."""
        everywhere = ", ".join(name for part in gathered(names) for name in part)
        return UserError(
            f"the {what} is not finite at step {self.global_step} with {everywhere}; "
            "check these recordings, or lower optimizer.lr or trainer.gradient_clip_val"
        )

    def validation_step(self, batch: EvaluationBatch, batch_number: int) -> None:
        """Both losses and all metrics, on fixed mixtures and fixed mixtures of mixtures."""
        if batch.partners.shape[1]:
            mixtures = torch.cat([batch.mixtures[:, None], batch.partners], dim=1)
            from_sums = self.separator(mixtures.sum(1))
            self.validation_losses["mixit_loss"].update(self.objective.unsupervised(from_sums, mixtures))  # type: ignore[operator]
            self.momi.update(from_sums, mixtures)
        if batch.references.shape[1]:
            estimates = self.separator(batch.mixtures)
            losses = self.objective.supervised(estimates, batch.references, batch.mixtures)
            self.validation_losses["pit_loss"].update(losses)  # type: ignore[operator]
            scores = self.scoring.scores(estimates, batch.references, batch.mixtures, final=False)
            for metric in self.labelled_metrics.values():
                metric.update(scores)  # type: ignore[operator]

    def on_validation_epoch_end(self) -> None:
        """Log the losses and metrics that apply to this validation set."""
        # Every process takes part in every sum, whichever batches it had; what nobody has seen is not a number.
        losses = {name: metric.compute() for name, metric in self.validation_losses.items()}  # type: ignore[operator]
        losses = {name: value for name, value in losses.items() if not value.isnan()}
        self.log_dict({f"val/{name}": value for name, value in losses.items()})
        weights = {"pit_loss": self.objective.labelled_share, "mixit_loss": 1 - self.objective.labelled_share}
        if len(losses) == 1:  # what there is has to do
            weights = dict.fromkeys(losses, 1.0)
        self.log("val/loss", sum(weights[name] * value for name, value in losses.items()), prog_bar=True)
        for name, metric in [*self.labelled_metrics.items(), ("momi", self.momi)]:
            value = metric.compute().float()  # type: ignore[operator]
            if not value.isnan():
                self.log(f"val/{name}", value, prog_bar=name == "si_snri")
        for metric in [*self.validation_losses.values(), *self.labelled_metrics.values(), self.momi]:
            metric.reset()  # type: ignore[operator]

    def on_test_start(self) -> None:
        """Begin a table."""
        self.score_table = ScoreTable(self.scoring, self.device)

    def test_step(self, batch: EvaluationBatch, batch_number: int) -> None:
        """Score outputs for mixtures by their references, and for mixtures of mixtures by the mixtures."""
        momis = batch.mixtures.new_full((len(batch.mixtures),), torch.nan)
        if batch.partners.shape[1]:
            mixtures = torch.cat([batch.mixtures[:, None], batch.partners], dim=1)
            momis = momi(self.separator(mixtures.sum(1)), mixtures, self.objective.admissible, self.objective.search)
        scores = self.scoring.scores(self.separator(batch.mixtures), batch.references, batch.mixtures, final=True)
        self.score_table.add(batch.names, scores, momis)

    def on_test_epoch_end(self) -> None:
        """Log the metrics that apply; `test_results` has one row per mixture as well."""
        self.test_results = self.score_table.results()
        metrics = self.test_results[1]
        self.log_dict({f"test/{name}": value for name, value in metrics.items() if value is not None})

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer, and the schedule in steps.

        Raises:
            UserError: the optimizer refuses its settings.
        """
        try:
            optimizer = self.make_optimizer(self.parameters())
        except (TypeError, ValueError) as error:
            raise UserError(f"optimizer: {error}") from error
        scheduler = LambdaLR(optimizer, self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
