"""Sets of admissible mixing matrices: which sums of outputs may stand for which targets.

A target is a mixture (MixIT), or a reference. Every output goes to exactly one target, so that a matrix can be written
as an assignment: the number of the target that each output goes to. MixIT and typed outputs differ by this set only; of
all permutations (PIT), `search.best_permutation` finds the best without a set.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

MAX_ASSIGNMENTS = 2**20
"""The largest takes a tenth of a second and a gigabyte a step; what comes next doubles both."""

UNDIVIDED = 8
"""Outputs whose subsets are one table; those of more are every combination of two tables, each of half the outputs."""


@dataclass(frozen=True)
class AdmissibleSet:
    """Admissible assignments, as the rows their mixing matrices are built from.

    The loss of a matrix is a mean over its rows, and few distinct rows make up many matrices (512 rows for the 19,683
    matrices of 9 outputs and 3 mixtures), so a search prices rows. The 65,536 rows of 16 outputs are written as two
    tables of 256: every row of `left` with every row of `right` beside it.
    """

    left: Tensor
    """`(left row, output)`, float64 of zeros and ones, for the first outputs; for all of them if `right` has none."""
    right: Tensor
    """`(right row, output)`, the same for the other outputs."""
    row_of: Tensor
    """`(target, assignment)`, integer: the row of that target's line in that assignment's matrix, which is a left row
    times the number of right rows plus a right row."""

    def mixing_matrices(self, chosen: Tensor) -> Tensor:
        """Matrices `(batch, target, output)`, float64, of the assignments numbered in `chosen` `(batch,)`."""
        rows = self.row_of[:, chosen].T
        if not self.right.shape[1]:
            return self.left[rows]
        return torch.cat([self.left[rows // len(self.right)], self.right[rows % len(self.right)]], -1)


def as_admissible_set(
    assignments: Tensor, num_outputs: int, num_targets: int, name: str = "admissible"
) -> AdmissibleSet:
    """Read an `(assignment, output)` integer tensor, the target of each output, as a set of admissible mixing matrices.

    Raises:
        ValueError: it is not such a tensor, is empty, assigns another number of outputs, or names a target that does
            not exist.
    """
    if assignments.ndim != 2 or assignments.is_floating_point() or assignments.shape[0] == 0:
        raise ValueError(
            f"{name} must be an integer tensor (assignment, output) with at least one assignment, "
            f"not {tuple(assignments.shape)} of {assignments.dtype}"
        )
    if assignments.shape[1] != num_outputs:
        raise ValueError(f"{name} assigns {assignments.shape[1]} outputs, but num_outputs={num_outputs}")
    if assignments.min() < 0 or assignments.max() >= num_targets:
        raise ValueError(f"{name} names targets 0 to {num_targets - 1}; it holds {assignments.unique().tolist()}")
    targets = torch.arange(num_targets, device=assignments.device)
    matrices = assignments == targets[:, None, None]  # (target, assignment, output)
    rows, row_of = matrices.flatten(0, 1).unique(dim=0, return_inverse=True)
    return AdmissibleSet(rows.double(), subsets(0, assignments.device), row_of.view(matrices.shape[:2]))


@lru_cache(maxsize=32)
def mixit_set(num_outputs: int, num_mixtures: int, device: torch.device) -> AdmissibleSet:
    """All `num_mixtures ** num_outputs` matrices whose columns sum to one, rows of zeros included.

    In the order of the numbers whose digits are the mixtures that the outputs go to. Source: Wisdom et al. 2020,
    equation 2.
    """
    count = num_mixtures**num_outputs
    check_size(count, f"{num_mixtures} mixtures and {num_outputs} outputs")
    numbers = torch.arange(count, device=device)
    mixtures = torch.arange(num_mixtures, device=device)[:, None]
    row_of = torch.zeros(num_mixtures, count, dtype=torch.long, device=device)
    for output in range(num_outputs):
        digit = numbers // num_mixtures ** (num_outputs - 1 - output) % num_mixtures
        row_of = 2 * row_of + (digit == mixtures)  # a row is numbered by its zeros and ones, read as a binary number
    right = num_outputs // 2 if num_outputs > UNDIVIDED else 0
    return AdmissibleSet(subsets(num_outputs - right, device), subsets(right, device), row_of)


def subsets(count: int, device: torch.device) -> Tensor:
    """All rows of zeros and ones, `(2 ** count, count)`, in the order of the binary numbers."""
    places = torch.arange(count - 1, -1, -1, device=device)
    return (torch.arange(2**count, device=device)[:, None] >> places & 1).double()


def check_size(count: int, what: str) -> None:
    """Refuse a set that no exact search can go through."""
    if count > MAX_ASSIGNMENTS:
        raise ValueError(f"{what} make {count} assignments; the exact search takes at most {MAX_ASSIGNMENTS}")
