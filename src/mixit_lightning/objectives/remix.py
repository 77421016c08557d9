"""The loss of one mixing matrix on the waveforms, which MixIT and PIT have in common."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .search import RowEnergies, energies
from .signal_loss import EPSILON


class Matched(NamedTuple):
    """Loss and assignment of a batch."""

    loss: Tensor
    """`(batch,)` in dB: the mean over the mixtures or references."""
    mixing_matrix: Tensor
    """`(batch, mixture or reference, output)` of zeros and ones, without gradient."""


class Levels(NamedTuple):
    """Energies that the error of each target is measured against, `(batch, target)`, as exact as the search's."""

    tolerance: Tensor
    """Below which an error no longer matters."""
    scale: Tensor
    """That is 0 dB."""

    @classmethod
    def of(cls, tolerance: Tensor, scale: Tensor) -> "Levels":
        """Neither is ever zero."""
        return cls(tolerance + EPSILON, scale + EPSILON)

    def cost(self, energies: RowEnergies) -> Tensor:
        """What a search compares, in dB: the loss but for its scale, which no choice changes."""
        return energies.error.add_(self.tolerance[:, :, None]).log10_().mul_(10)


def remix_loss(mixing_matrix: Tensor, estimates: Tensor, targets: Tensor, level: Levels) -> Matched:
    """The loss of one mixing matrix an example; a search's Gram form loses digits of near-perfect estimates."""
    mixing_matrix = mixing_matrix.to(estimates.dtype)
    return Matched(RemixLoss.apply(estimates, targets, mixing_matrix, *level), mixing_matrix)


class RemixLoss(torch.autograd.Function):
    """`mean_i 10 log10((|x_i - [A e]_i|^2 + tolerance_i) / scale_i)` `(batch,)`, with its derivative written out.

    Of anything as long as the signals it keeps the error alone, and writes the gradient of the estimates alone; with
    torch's derivatives the loss of four outputs would take about half as long again. No gradient flows into anything
    but the estimates, and second derivatives are refused.
    """

    @staticmethod
    def forward(
        ctx: Any, estimates: Tensor, targets: Tensor, mixing_matrix: Tensor, tolerance: Tensor, scale: Tensor
    ) -> Tensor:
        """Estimates `(batch, output, time)`, targets `(batch, target, time)`, matrices `(batch, target, output)`."""
        error = torch.baddbmm(targets, mixing_matrix, estimates, beta=-1)
        energy = energies(error).add_(tolerance)
        ctx.save_for_backward(error, mixing_matrix, energy)
        return (energy / scale).log10_().mean(-1).mul_(10).to(error.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of the estimates."""
        if torch.is_grad_enabled():  # torch's own decorator would be silent, as a loss has nothing behind it
            raise RuntimeError("the losses have no second derivatives; call backward without create_graph")
        error, mixing_matrix, energy = ctx.saved_tensors
        slopes = (20 / math.log(10) / error.shape[1]) * gradients[0][:, None] / energy
        with torch.autocast(error.device.type, enabled=False):
            return torch.bmm((slopes[:, :, None] * mixing_matrix).mT, error), None, None, None, None


def check_signals(estimates: Tensor, targets: Tensor, what: str) -> None:
    """Refuse tensors that are not three-dimensional, of other batches and lengths, or whose gradient would be lost."""
    if targets.requires_grad:
        raise ValueError(f"{what} ask for a gradient, and none flows into them; detach them")
    if estimates.ndim != 3 or targets.ndim != 3 or estimates.shape[::2] != targets.shape[::2]:
        raise ValueError(
            f"estimates (batch, output, time) {tuple(estimates.shape)} and {what} {tuple(targets.shape)} "
            "must agree in batch and time"
        )
