"""The metrics as torchmetrics: means over everything seen, in every process."""

from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from .functional import Scores, momi, separation_scores


class MeanDecibels(Metric):
    """Mean of values in dB; NaN before there is any.

    Subclasses say which values, and state the rule by which outputs are selected.
    """

    higher_is_better = True
    full_state_update = False
    selection_rule: ClassVar[str]
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def add(self, values: Tensor, weights: Tensor | None = None) -> None:
        """Add values that are not NaN, each with its weight."""
        valid = ~values.isnan()
        weights = torch.ones_like(values) if weights is None else weights.to(values.dtype)
        self.total += (values * weights)[valid].sum()
        self.count += weights[valid].sum()

    def compute(self) -> Tensor:
        """The mean in dB."""
        return self.total / self.count


class SeparationMetric(MeanDecibels):
    """A metric of single mixtures: `update(estimates, references, mixtures)`, see `separation_scores` for shapes."""

    def update(self, estimates: Tensor, references: Tensor, mixtures: Tensor) -> None:
        """Add a batch."""
        self.add_scores(separation_scores(estimates, references, mixtures))

    def add_scores(self, scores: Scores) -> None:
        """Add a batch that is already scored."""
        raise NotImplementedError


class SISNRi(SeparationMetric):
    """SI-SNR improvement, mean over the inputs with two or more sources."""

    selection_rule = "best outputs, one a reference (PIT on SI-SNR); mean over inputs with two or more sources"

    def add_scores(self, scores: Scores) -> None:
        """Every input weighs the same."""
        self.add(scores.si_snri)


class MSi(SeparationMetric):
    """SI-SNR improvement, mean over the references with sound of inputs with two or more sources."""

    selection_rule = "best outputs, one a reference (PIT on SI-SNR); mean over references of multi-source inputs"

    def add_scores(self, scores: Scores) -> None:
        """Every reference weighs the same."""
        self.add(scores.si_snri, scores.num_references)


class OneSource(SeparationMetric):
    """1S: SI-SNR, not an improvement, mean over the inputs with one source."""

    selection_rule = "best single output; mean over inputs with one source"

    def add_scores(self, scores: Scores) -> None:
        """Every input weighs the same."""
        self.add(scores.one_source)


class OracleRemix(SeparationMetric):
    """SI-SNR improvement where all outputs are summed up in the best way: what a perfect grouping would reach."""

    selection_rule = "best remix of all outputs onto the references; mean over inputs with two or more sources"

    def add_scores(self, scores: Scores) -> None:
        """Every input weighs the same."""
        self.add(scores.si_snri_oracle_remix)


class MoMi(MeanDecibels):
    """SI-SNR improvement of the mixtures rebuilt from a mixture of mixtures; needs no references."""

    selection_rule = "best mixing matrix (MixIT loss); mean over mixtures of mixtures"

    def update(self, estimates: Tensor, mixtures: Tensor) -> None:
        """Add a batch, see `momi` for shapes."""
        self.add(momi(estimates, mixtures))
