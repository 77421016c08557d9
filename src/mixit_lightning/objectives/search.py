"""The one exact search for the best mixing matrix, by products of signals instead of signals.

`|x - a E|^2 = |x|^2 - 2 a.(E x) + a.(E E^T) a`: one Gram matrix and one correlation matrix an example price every row,
whatever the length of the signals and the number of matrices. Where rows are pairs `(u, v)` of halves, so is the form:
`a G a = u G11 u + v G22 v + 2 u G12 v`, two small tables and one product.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .admissible import AdmissibleSet

TIE = 1e-9
"""Matrices whose costs differ by less (dB) tie, and the first wins: rounding must not choose between equal outputs."""


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


@torch.no_grad()
def best_mixing_matrix(
    estimates: Tensor, targets: Tensor, admissible: AdmissibleSet, cost: Callable[[RowEnergies], Tensor]
) -> Tensor:
    """The admissible matrix with the lowest sum of costs over its rows; of several, the first in the set's order.

    Args:
        estimates: `(batch, output, time)`.
        targets: `(batch, target, time)`.
        admissible: the set to choose from.
        cost: from energies to `(batch, target, row)`, dB.

    Returns:
        `(batch, target, output)` of zeros and ones, in the estimates' type, without gradient.
    """
    with wide(estimates, targets) as (signals, targets):
        gram, correlation = signals @ signals.mT, targets @ signals.mT
        energies = row_energies(gram, correlation, torch.linalg.vecdot(targets, targets), admissible)
        costs = cost(energies).unbind(1)
        totals = costs[0].index_select(-1, admissible.row_of[0])
        for target in range(1, len(costs)):
            totals += costs[target].index_select(-1, admissible.row_of[target])
        chosen = (totals - totals.amin(-1, keepdim=True)).le_(TIE).argmax(-1)
        return admissible.mixing_matrices(chosen).to(estimates.dtype)


@torch.no_grad()
def best_permutation(estimates: Tensor, targets: Tensor, cost: Callable[[RowEnergies], Tensor]) -> Tensor:
    """The matrix with one output for each target that has the lowest sum of costs, by the Hungarian method.

    Args:
        estimates: `(batch, output, time)`.
        targets: `(batch, target, time)`, as many as outputs.
        cost: from energies, whose rows are the outputs, to `(batch, target, output)`, dB.

    Returns:
        `(batch, target, output)` of zeros and ones, in the estimates' type, without gradient.
    """
    with wide(estimates, targets) as (signals, targets):
        own, others = (torch.linalg.vecdot(part, part) for part in (signals, targets))
        costs = cost(RowEnergies(others[:, :, None], targets @ signals.mT, own[:, None, :]))
    # Of outputs that diverged, the loss tells.
    outputs = [linear_sum_assignment(table)[1] for table in costs.nan_to_num().cpu().numpy()]
    chosen = torch.from_numpy(np.stack(outputs)).to(estimates.device)
    return torch.zeros_like(costs, dtype=estimates.dtype).scatter_(2, chosen[:, :, None], 1)


def row_energies(gram: Tensor, correlation: Tensor, energies: Tensor, admissible: AdmissibleSet) -> RowEnergies:
    """Energies of every row.

    Args:
        gram: `(batch, output, output)`.
        correlation: `(batch, target, output)`.
        energies: `(batch, target)`, of the targets.
        admissible: the rows.
    """
    left, right = admissible.left.to(gram.dtype), admissible.right.to(gram.dtype)
    if not right.shape[1]:
        remix, product = quadratic_form(left, gram), correlation @ left.T
    else:
        half = left.shape[1]
        first, second = quadratic_form(left, gram[:, :half, :half]), quadratic_form(right, gram[:, half:, half:])
        remix = torch.baddbmm(first[:, :, None], left @ gram[:, :half, half:], (2 * right.T).expand(len(gram), -1, -1))
        remix = remix.add_(second[:, None]).flatten(1)
        product = (correlation[:, :, :half] @ left.T)[..., None] + (correlation[:, :, half:] @ right.T)[:, :, None]
        product = product.flatten(2)
    return RowEnergies(energies[:, :, None], product, remix[:, None])


def quadratic_form(rows: Tensor, gram: Tensor) -> Tensor:
    """`a G a` `(batch, row)` of every row and every Gram matrix `(batch, output, output)`."""
    return ((rows @ gram) * rows).sum(-1)


@contextmanager
def wide(*signals: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Signals in double precision, where the device has it, and no autocast.

    The Gram form subtracts large numbers to find a small error, and single precision has too few digits for that.
    """
    dtype = torch.float32 if signals[0].device.type == "mps" else torch.float64
    with torch.autocast(signals[0].device.type, enabled=False):
        yield tuple(signal.to(dtype) for signal in signals)
