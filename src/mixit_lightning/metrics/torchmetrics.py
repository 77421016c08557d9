"""The metrics as torchmetrics: means over everything seen, in every process."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ..objectives.mixit import Search
from .functional import Scores, momi, separation_scores


class Mean(Metric):
    """Mean of values, in dB where nothing else is said; NaN before there is any.

    Subclasses say which values, and state the rule by which outputs are selected.
    """

    higher_is_better: bool | None = True
    full_state_update = False
    selection_rule: str
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
        """The mean."""
        return self.total / self.count


class ScoreMean(Mean):
    """Mean of one column of scores, whatever made them.

    Args:
        column: of the scores.
        selection_rule: in words.
    """

    def __init__(self, column: str, selection_rule: str) -> None:
        super().__init__()
        self.column = column
        self.selection_rule = selection_rule

    def add_scores(self, scores: Any) -> None:
        """Every input weighs the same."""
        self.update(getattr(scores, self.column))

    def update(self, values: Tensor) -> None:
        """Add values that are not NaN."""
        self.add(values)


class SeparationMetric(Mean):
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


class FoundMSi(SeparationMetric):
    """MSi of the released FUSS evaluation: references whose output is silent are left out.

    Args:
        num_sources: only inputs of so many sources; None is two or more.
    """

    selection_rule = "best active outputs, one a reference (PIT on SI-SNR); mean over references of such inputs"

    def __init__(self, num_sources: int | None = None) -> None:
        super().__init__()
        self.num_sources = num_sources

    def add_scores(self, scores: Scores) -> None:
        """Every reference that was found weighs the same."""
        wanted = scores.num_references == self.num_sources if self.num_sources else scores.num_references > 1
        self.add(scores.si_snri_found.where(wanted, torch.nan), scores.num_found)


class FoundOneSource(SeparationMetric):
    """1S of the released FUSS evaluation: inputs of one source for which no output is active are left out."""

    selection_rule = "best single output, if active; mean over inputs with one source"

    def add_scores(self, scores: Scores) -> None:
        """Every input weighs the same."""
        self.add(scores.si_snr_found.where(scores.num_references == 1, torch.nan))


class SeparationRate(SeparationMetric):
    """Share of the inputs, 0 to 1, with fewer, as many or more active outputs than references."""

    higher_is_better = None
    selection_rule = "share of inputs, by their number of outputs above -20 dB of the quietest reference"

    def holds(self, surplus: Tensor) -> Tensor:
        """Whether the relation holds, from the number of active outputs less that of references."""
        raise NotImplementedError

    def add_scores(self, scores: Scores) -> None:
        """Every input with references weighs the same."""
        holds = self.holds(scores.num_active_outputs - scores.num_references).double()
        self.add(holds.where(scores.num_references > 0, torch.nan))


class UnderSeparation(SeparationRate):
    """Share of the inputs with fewer active outputs than references."""

    def holds(self, surplus: Tensor) -> Tensor:
        """Fewer."""
        return surplus < 0


class EqualSeparation(SeparationRate):
    """Share of the inputs with as many active outputs as references."""

    def holds(self, surplus: Tensor) -> Tensor:
        """As many."""
        return surplus == 0


class OverSeparation(SeparationRate):
    """Share of the inputs with more active outputs than references."""

    def holds(self, surplus: Tensor) -> Tensor:
        """More."""
        return surplus > 0


class MoMi(Mean):
    """SI-SNR improvement of the mixtures rebuilt from a mixture of mixtures; needs no references.

    Args:
        admissible: assignments of outputs to mixtures, where not all are allowed.
        search: of the mixing matrix, see `mixit`.
    """

    selection_rule = "best mixing matrix (MixIT loss); mean over mixtures of mixtures"

    def __init__(self, admissible: Tensor | None = None, search: Search = "exact") -> None:
        super().__init__()
        self.admissible = admissible
        self.search: Search = search

    def update(self, estimates: Tensor, mixtures: Tensor) -> None:
        """Add a batch, see `momi` for shapes."""
        self.add(momi(estimates, mixtures, self.admissible, self.search))
