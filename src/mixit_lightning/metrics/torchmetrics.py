"""The metrics as torchmetrics: means over everything seen, in every process."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ..objectives.mixit import Search
from .functional import momi


class Mean(Metric):
    """Mean of values, without those that are NaN; NaN before there is any.

    Args:
        selection_rule: by which outputs are selected, in words.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, selection_rule: str) -> None:
        super().__init__()
        self.selection_rule = selection_rule
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def add(self, values: Tensor, weights: Tensor | None = None) -> None:
        """Add values, each with its weight."""
        valid = ~values.isnan()
        weights = torch.ones_like(values) if weights is None else weights.to(values.dtype)
        self.total += (values * weights)[valid].sum()
        self.count += weights[valid].sum()

    def compute(self) -> Tensor:
        """The mean."""
        return self.total / self.count


class ScoreMean(Mean):
    """Mean of one column of scores: `update(separation_scores(estimates, references, mixtures))`.

    Args:
        column: of `Scores` or `SpeechScores`.
        selection_rule: by which outputs are selected, in words.
        weights: the column of weights; None weighs every input the same.
        num_sources: only inputs of so many sources; None is all.
    """

    def __init__(
        self, column: str, selection_rule: str, weights: str | None = None, num_sources: int | None = None
    ) -> None:
        super().__init__(selection_rule)
        self.column = column
        self.weights = weights
        self.num_sources = num_sources

    def update(self, scores: Any) -> None:
        """Add the scores of a batch."""
        values = getattr(scores, self.column)
        if self.num_sources is not None:
            values = values.where(scores.num_references == self.num_sources, torch.nan)
        self.add(values, None if self.weights is None else getattr(scores, self.weights))


class MoMi(Mean):
    """SI-SNR improvement of the mixtures rebuilt from a mixture of mixtures; needs no references.

    Args:
        admissible: assignments of outputs to mixtures, where not all are allowed.
        search: of the mixing matrix, see `mixit`.
    """

    def __init__(self, admissible: Tensor | None = None, search: Search = "exact") -> None:
        super().__init__("best mixing matrix (MixIT loss); mean over mixtures of mixtures")
        self.admissible = admissible
        self.search: Search = search

    def update(self, estimates: Tensor, mixtures: Tensor) -> None:
        """Add a batch, see `momi` for shapes."""
        self.add(momi(estimates, mixtures, self.admissible, self.search))
