"""The one exact search for the best mixing matrix, by products of signals instead of signals.

`|x - a E|^2 = |x|^2 - 2 a.(E x) + a.(E E^T) a`: one Gram matrix and one correlation matrix an example price every row,
whatever the length of the signals and the number of matrices.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
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
        """`|x - a E|^2`, never below zero by rounding."""
        return (self.target - 2 * self.product + self.remix).clamp_min(0)


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
    # The Gram form subtracts large numbers to find a small error, and single precision has too few digits for that.
    wide = torch.float32 if estimates.device.type == "mps" else torch.float64
    with torch.autocast(estimates.device.type, enabled=False):
        signals, targets_wide = estimates.to(wide), targets.to(wide)
        gram = signals @ signals.mT
        correlation = targets_wide @ signals.mT
        rows = admissible.rows.to(wide)
        energies = RowEnergies(
            target=targets_wide.square().sum(-1)[:, :, None],
            product=correlation @ rows.T,
            remix=((rows @ gram) * rows).sum(-1)[:, None, :],
        )
        costs = cost(energies)
        target_numbers = torch.arange(targets.shape[1], device=targets.device)
        totals = costs[:, target_numbers, admissible.row_of].sum(-1)
        chosen = (totals <= totals.amin(-1, keepdim=True) + TIE).byte().argmax(-1)
        return admissible.mixing_matrices(chosen).to(estimates.dtype)
