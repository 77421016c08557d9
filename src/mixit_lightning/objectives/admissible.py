"""Sets of admissible mixing matrices: which sums of outputs may stand for which targets.

A target is a mixture (MixIT) or a reference (PIT). Every output goes to exactly one target, so that a matrix is
written as an assignment: the number of the target that each output goes to. PIT, MixIT and typed outputs differ by
this set only.
"""

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

MAX_ASSIGNMENTS = 2**20
"""A larger set takes gigabytes and minutes."""


@dataclass(frozen=True)
class AdmissibleSet:
    """Admissible assignments, and the distinct rows their mixing matrices are built from.

    The loss of a matrix is a mean over its rows, and few distinct rows make up many matrices (256 rows for the 256
    matrices of 8 outputs and 2 mixtures, 4 rows for the 24 permutations of 4 outputs), so a search prices rows.
    """

    assignments: Tensor
    """`(assignment, output)`, integer: the target that the output goes to."""
    rows: Tensor
    """`(row, output)`, float64 of zeros and ones: the distinct rows of all matrices."""
    row_of: Tensor
    """`(assignment, target)`, integer: which of `rows` is that row of that assignment's matrix."""

    def mixing_matrices(self, chosen: Tensor) -> Tensor:
        """Matrices `(batch, target, output)`, float64, of the assignments numbered in `chosen` `(batch,)`."""
        return self.rows[self.row_of[chosen]]


def as_admissible_set(assignments: Tensor, num_targets: int) -> AdmissibleSet:
    """Read an `(assignment, output)` integer tensor as a set of admissible mixing matrices.

    Raises:
        ValueError: it is not such a tensor, is empty, or names a target that does not exist.
    """
    if assignments.ndim != 2 or assignments.is_floating_point() or assignments.shape[0] == 0:
        raise ValueError(
            "admissible must be an integer tensor (assignment, output) with at least one assignment, "
            f"not {tuple(assignments.shape)} of {assignments.dtype}"
        )
    if assignments.min() < 0 or assignments.max() >= num_targets:
        raise ValueError(f"admissible names targets 0 to {num_targets - 1}; it holds {assignments.unique().tolist()}")
    targets = torch.arange(num_targets, device=assignments.device)
    matrices = assignments[:, None, :] == targets[:, None]  # (assignment, target, output)
    rows, row_of = matrices.flatten(0, 1).unique(dim=0, return_inverse=True)
    return AdmissibleSet(assignments, rows.double(), row_of.view(matrices.shape[:2]))


@lru_cache(maxsize=32)
def mixit_set(num_outputs: int, num_mixtures: int, device: torch.device) -> AdmissibleSet:
    """All `num_mixtures ** num_outputs` matrices whose columns sum to one, rows of zeros included.

    Source: Wisdom et al. 2020, equation 2.
    """
    count = num_mixtures**num_outputs
    check_size(count, f"{num_mixtures} mixtures and {num_outputs} outputs")
    places = num_mixtures ** torch.arange(num_outputs - 1, -1, -1, device=device)
    assignments = torch.arange(count, device=device)[:, None] // places % num_mixtures
    return as_admissible_set(assignments, num_mixtures)


@lru_cache(maxsize=32)
def pit_set(num_outputs: int, num_references: int, device: torch.device) -> AdmissibleSet:
    """Every reference gets one output of its own; each output left over gets a silent target of its own.

    Targets `num_references, ..., num_outputs - 1` are the silent ones. As they are all alike, they are handed out in
    one order only: `num_outputs! / (num_outputs - num_references)!` assignments.
    """
    check_size(math.perm(num_outputs, num_references), f"{num_references} references and {num_outputs} outputs")
    chosen = torch.tensor(list(itertools.permutations(range(num_outputs), num_references)), device=device)
    chosen = chosen.view(-1, num_references).long()
    free = torch.ones(len(chosen), num_outputs, dtype=torch.long, device=device).scatter_(1, chosen, 0)
    silent = num_references + free.cumsum(1) - 1
    references = torch.arange(num_references, device=device).expand_as(chosen)
    assignments = silent.scatter(1, chosen, references)
    # Every target gets one output, so that the rows are the unit vectors.
    rows = torch.eye(num_outputs, dtype=torch.float64, device=device)
    return AdmissibleSet(assignments, rows, assignments.argsort(1))


def check_size(count: int, what: str) -> None:
    """Refuse a set that no exact search can go through."""
    if count > MAX_ASSIGNMENTS:
        raise ValueError(f"{what} make {count} assignments; the exact search takes at most {MAX_ASSIGNMENTS}")
