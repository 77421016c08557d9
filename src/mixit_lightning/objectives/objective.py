"""What a batch is trained for: some examples are labelled (PIT), the others are mixtures of mixtures (MixIT)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .admissible import as_admissible_set, check_size
from .mixit import Search, check_search, mixit
from .pit import pit
from .sparsity import output_sparsity


class Examples(NamedTuple):
    """Inputs of one forward pass and what to compare its outputs with; the labelled examples come first."""

    inputs: Tensor
    """`(example, time)`: labelled mixtures, then mixtures of mixtures."""
    references: Tensor
    """`(labelled example, source, time)`; its first size is the number of labelled examples."""
    mixtures: Tensor
    """`(unlabelled example, mixture, time)`: what the other inputs are sums of."""


class Objective(nn.Module):
    """Semi-supervised objective; with a labelled share of 0 it is MixIT, with a share of 1 it is PIT.

    Every example weighs the same: one batch, one forward pass, one mean.

    Args:
        labelled_share: share of the examples of a batch that are labelled, 0 to 1. The data module makes batches so.
        num_mixtures: how many mixtures are added up for an unlabelled example.
        max_snr: dB, of mixtures and references with sound.
        silent_max_snr: dB, of silent references.
        admissible: assignments of outputs to mixtures, where not all are allowed, see `mixit`.
        admissible_references: assignments of outputs to references, where not all are allowed, see `pit`.
        search: of the mixing matrix of unlabelled examples, see `mixit`.
        sparsity: weight of `output_sparsity` in the loss of unlabelled examples, dB; against over-separation.

    Raises:
        ValueError: a share outside 0 to 1, fewer than two mixtures, or a negative weight.
    """

    admissible: Tensor | None
    admissible_references: Tensor | None

    def __init__(
        self,
        labelled_share: float,
        num_mixtures: int = 2,
        max_snr: float = 30.0,
        silent_max_snr: float = 20.0,
        admissible: Sequence[Sequence[int]] | None = None,
        admissible_references: Sequence[Sequence[int]] | None = None,
        search: Search = "exact",
        sparsity: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= labelled_share <= 1:
            raise ValueError(f"objective.labelled_share is a share from 0 to 1, not {labelled_share}")
        if num_mixtures < 2:
            raise ValueError(f"objective.num_mixtures must be 2 or more, not {num_mixtures}")
        if sparsity < 0:
            raise ValueError(f"objective.sparsity must not be negative, but is {sparsity}")
        check_search(search, restricted=admissible is not None)
        self.search: Search = search
        self.sparsity = sparsity
        self.labelled_share = labelled_share
        self.num_mixtures = num_mixtures
        self.max_snr = max_snr
        self.silent_max_snr = silent_max_snr
        for name, assignments in (("admissible", admissible), ("admissible_references", admissible_references)):
            table = None if assignments is None else torch.tensor([list(row) for row in assignments])
            self.register_buffer(name, table, persistent=False)

    def check_outputs(self, num_outputs: int) -> None:
        """Refuse a number of outputs that this objective cannot assign, before anything is computed.

        Raises:
            ValueError: assignments of another number of outputs, or too many of them for the exact search.
        """
        for name, targets in (("admissible", self.num_mixtures), ("admissible_references", num_outputs)):
            table = getattr(self, name)
            if table is None:
                continue
            as_admissible_set(table, num_outputs, targets, f"objective.{name}")
            if missing := set(range(targets)) - set(table.unique().tolist()):
                raise ValueError(f"objective.{name} gives number {min(missing)} of 0 to {targets - 1} no output")
        if self.search == "exact" and self.admissible is None:
            try:
                check_size(self.num_mixtures**num_outputs, f"{self.num_mixtures} mixtures and {num_outputs} outputs")
            except ValueError as error:
                raise ValueError(f"{error}; set objective.search=least_squares") from error

    def examples(self, mixtures: Tensor, references: Tensor) -> Examples:
        """Make the inputs of a batch: mixtures of mixtures are added up here, on the device.

        Args:
            mixtures: `(item, time)`, labelled items first, then `num_mixtures` items for every unlabelled example.
            references: `(labelled item, source, time)`.

        Raises:
            ValueError: the unlabelled items do not make up whole examples.
        """
        labelled, unlabelled = mixtures[: len(references)], mixtures[len(references) :]
        if len(unlabelled) % self.num_mixtures:
            raise ValueError(f"{len(unlabelled)} unlabelled mixtures cannot be grouped by {self.num_mixtures}")
        groups = unlabelled.reshape(-1, self.num_mixtures, mixtures.shape[-1])
        return Examples(torch.cat([labelled, groups.sum(1)]), references, groups)

    def forward(self, estimates: Tensor, examples: Examples) -> Tensor:
        """Losses `(example,)` in dB of the estimates `(example, output, time)`."""
        labelled = len(examples.references)
        supervised = self.supervised(estimates[:labelled], examples.references, examples.inputs[:labelled])
        return torch.cat([supervised, self.unsupervised(estimates[labelled:], examples.mixtures)])

    def supervised(self, estimates: Tensor, references: Tensor, mixture: Tensor) -> Tensor:
        """PIT losses `(example,)` in dB; none for no examples."""
        if not len(references):
            return estimates.new_zeros(0, dtype=torch.float32)
        limits = {"max_snr": self.max_snr, "silent_max_snr": self.silent_max_snr}
        return pit(estimates, references, admissible=self.admissible_references, mixture=mixture, **limits).loss

    def unsupervised(self, estimates: Tensor, mixtures: Tensor) -> Tensor:
        """MixIT losses `(example,)` in dB, with the sparsity term if it has a weight; none for no examples."""
        if not len(mixtures):
            return estimates.new_zeros(0, dtype=torch.float32)
        loss = mixit(estimates, mixtures, self.max_snr, self.admissible, self.search).loss
        return loss + self.sparsity * output_sparsity(estimates) if self.sparsity else loss
