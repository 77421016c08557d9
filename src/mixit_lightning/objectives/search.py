"""The exact searches for the best mixing matrix, by products of signals instead of signals.

`|x - a E|^2 = |x|^2 - 2 a.(E x) + a.(E E^T) a`: one Gram matrix and one correlation matrix an example price every row,
whatever the length of the signals and the number of matrices. Where rows are pairs `(u, v)` of halves, so is the form:
`a G a = u G11 u + v G22 v + 2 u G12 v`, two small tables and one product.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .admissible import AdmissibleSet

TIE = 1e-9
"""Matrices whose costs differ by less (dB) tie, and the first wins: rounding must not choose between equal outputs."""


class Products(NamedTuple):
    """Inner products of signals, in double precision where the device has it: all that a search knows of them.

    The search subtracts large numbers to find a small error, and single precision has too few digits for that.
    """

    gram: Tensor
    """`(batch, output, output)`, of the estimates."""
    correlation: Tensor
    """`(batch, target, output)`."""
    energies: Tensor
    """`(batch, target)`, of the targets."""

    @classmethod
    @torch.no_grad()
    def of(cls, estimates: Tensor, targets: Tensor) -> "Products":
        """Of estimates `(batch, output, time)` and targets `(batch, target, time)`."""
        estimates, targets = widened(estimates), widened(targets)
        with torch.autocast(estimates.device.type, enabled=False):
            columns = estimates.mT
            return cls(torch.bmm(estimates, columns), torch.bmm(targets, columns), energies(targets))


class RowEnergies(NamedTuple):
    """What a cost may depend on: energies of targets and remixes, broadcastable to `(batch, target, row)`."""

    target: Tensor
    """`|x|^2`."""
    product: Tensor
    """`x . (a E)`."""
    remix: Tensor
    """`|a E|^2`."""

    @property
    def error(self) -> Tensor:
        """`|x - a E|^2`, never below zero by rounding; a new tensor each time."""
        return torch.add(self.remix, self.product, alpha=-2).add_(self.target).clamp_min_(0)

    @classmethod
    @torch.no_grad()
    def of_outputs(cls, estimates: Tensor, targets: Tensor) -> "RowEnergies":
        """Every row one output: estimates `(batch, output, time)`, targets `(batch, target, time)`."""
        estimates, targets = widened(estimates), widened(targets)
        with torch.autocast(estimates.device.type, enabled=False):
            return cls(energies(targets)[:, :, None], torch.bmm(targets, estimates.mT), energies(estimates)[:, None, :])

    @classmethod
    def of_rows(cls, products: Products, admissible: AdmissibleSet) -> "RowEnergies":
        """All rows of a set."""
        gram, correlation, energies = products
        left, right = admissible.left.to(gram.dtype), admissible.right.to(gram.dtype)
        if not right.shape[1]:
            remix, product = quadratic_form(left, gram), correlation @ left.T
        else:
            half = left.shape[1]
            cross = left @ gram[:, :half, half:]
            remix = quadratic_form(left, gram[:, :half, :half])[:, :, None]
            remix = torch.baddbmm(remix, cross, (2 * right.T).expand(len(gram), -1, -1))
            remix = remix.add_(quadratic_form(right, gram[:, half:, half:])[:, None]).flatten(1)
            product = (correlation[:, :, :half] @ left.T)[..., None] + (correlation[:, :, half:] @ right.T)[:, :, None]
            product = product.flatten(2)
        return cls(energies[:, :, None], product, remix[:, None])


@torch.no_grad()
def best_mixing_matrix(products: Products, admissible: AdmissibleSet, cost: Callable[[RowEnergies], Tensor]) -> Tensor:
    """The admissible matrix with the lowest sum of costs over its rows; of several, the first in the set's order.

    Costs are `(batch, target, row)` in dB, the matrix `(batch, target, output)` of zeros and ones in double precision.
    """
    costs = cost(RowEnergies.of_rows(products, admissible)).unbind(1)
    totals = costs[0].index_select(-1, admissible.row_of[0])
    for target in range(1, len(costs)):
        totals += costs[target].index_select(-1, admissible.row_of[target])
    chosen = (totals - totals.amin(-1, keepdim=True)).le_(TIE).argmax(-1)
    return admissible.mixing_matrices(chosen)


@torch.no_grad()
def best_permutation(costs: Tensor) -> Tensor:
    """The matrix with one output for each target that has the lowest sum of costs, by the Hungarian method.

    Costs and the matrix of zeros and ones are `(batch, target, output)`, with as many targets as outputs.
    """
    # Of outputs that diverged, the loss tells.
    outputs = [linear_sum_assignment(table)[1] for table in costs.nan_to_num().cpu().numpy()]
    chosen = torch.from_numpy(np.array(outputs, dtype=np.int64).reshape(costs.shape[:2])).to(costs.device)
    return torch.zeros_like(costs).scatter_(2, chosen[:, :, None], 1)


def quadratic_form(rows: Tensor, gram: Tensor) -> Tensor:
    """`a G a` `(batch, row)` of every row and every Gram matrix `(batch, output, output)`."""
    return ((rows @ gram) * rows).sum(-1)


def energies(signals: Tensor) -> Tensor:
    """`(batch, signal)` of signals `(batch, signal, time)`."""
    return torch.linalg.vecdot(signals, signals)


def widened(signals: Tensor) -> Tensor:
    """Signals in double precision, where the device has it."""
    return signals.to(torch.float32 if signals.device.type == "mps" else torch.float64)
