"""MixIT and PIT: the best admissible mixing matrix, and the loss of that matrix on the waveforms."""

import math
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional

from .admissible import AdmissibleSet, as_admissible_set, mixit_set
from .least_squares import least_squares_mixing_matrix
from .search import Products, RowEnergies, best_mixing_matrix, best_permutation, energies
from .signal_loss import EPSILON, SILENT_RMS, full_precision, threshold

Search = Literal["exact", "least_squares"]
"""How MixIT looks for the mixing matrix."""


class Matched(NamedTuple):
    """Loss and assignment of a batch."""

    loss: Tensor
    """`(batch,)` in dB: the mean over the mixtures or references."""
    mixing_matrix: Tensor
    """`(batch, mixture or reference, output)` of zeros and ones, without gradient."""


def mixit(
    estimates: Tensor,
    mixtures: Tensor,
    max_snr: float = 30.0,
    admissible: Tensor | None = None,
    search: Search = "exact",
) -> Matched:
    """Mixture invariant training: the best remix of the outputs into the mixtures that were added up.

    `min over A of mean_i L(x_i, [A e]_i)` with A binary and every column of one one (Wisdom et al. 2020, equation 2),
    L the negative thresholded SNR. The gradient of the minimum is the gradient of the minimiser. Of a mixture that was
    left silent nothing is to be learnt where outputs add up to the input: it gets no output, the other gets all.

    Args:
        estimates: `(batch, output, time)`, from the sum of the mixtures.
        mixtures: `(batch, mixture, time)`, two or more.
        max_snr: dB, see `negative_thresholded_snr`.
        admissible: `(assignment, output)` integers, the mixture that each output goes to, where not all assignments
            are allowed. Enhancement, whose first output is speech: `[[0, 0, 1], [0, 1, 0]]`.
        search: `exact`, or `least_squares`, see `least_squares_mixing_matrix`.

    Raises:
        ValueError: shapes that do not fit, mixtures that ask for a gradient, too many assignments for an exact search,
            or a restricted set for the other.

    Example:
        >>> mixtures = torch.eye(2)[None]
        >>> matched = mixit(torch.eye(2)[None, [1, 0]], mixtures)
        >>> matched.mixing_matrix[0].tolist(), round(matched.loss.item(), 2)
        ([[0.0, 1.0], [1.0, 0.0]], -30.0)
    """
    check_signals(estimates, mixtures, "mixtures (batch, mixture, time)")
    num_outputs, num_mixtures = estimates.shape[1], mixtures.shape[1]
    if num_mixtures < 2:
        raise ValueError("MixIT needs at least two mixtures an example")
    check_search(search, restricted=admissible is not None)
    with full_precision(estimates, mixtures) as (estimates, mixtures):
        products = Products.of(estimates, mixtures)
        level = Levels.of(threshold(max_snr) * products.energies, products.energies)
        if search == "least_squares":
            matrix = least_squares_mixing_matrix(products)
        else:
            if admissible is None:
                allowed = mixit_set(num_outputs, num_mixtures, estimates.device)
            else:
                allowed = typed_set(admissible, num_outputs, num_mixtures, estimates.device)
            matrix = best_mixing_matrix(products, allowed, level.cost)
        return remix_loss(matrix, estimates, mixtures, level)


def pit(
    estimates: Tensor,
    references: Tensor,
    max_snr: float = 30.0,
    admissible: Tensor | None = None,
    *,
    mixture: Tensor | None = None,
    silent_max_snr: float = 20.0,
) -> Matched:
    """Permutation invariant training; outputs beyond the references, and silent references, are trained to be silent.

    References are padded with silence to the number of outputs, and the loss is the mean over all of them:
    negative thresholded SNR where there is sound, `silent_reference_loss` where there is none.

    Args:
        estimates: `(batch, output, time)`.
        references: `(batch, reference, time)`, at most as many as outputs.
        max_snr: dB, of references with sound.
        admissible: `(assignment, output)` integers, the reference that each output goes to, where not all permutations
            are allowed. Two outputs of which the first is speech: `[[0, 1]]`. With more outputs than references, the
            numbers from the number of references on stand for silence.
        mixture: `(batch, time)`, the separator's input, by default the sum of the references.
        silent_max_snr: dB, of silent references.

    Returns:
        The loss, and the matrix `(batch, reference, output)` of the references given, without the padding.

    Raises:
        ValueError: more references than outputs, shapes that do not fit, or references that ask for a gradient.

    Example:
        >>> references = torch.eye(2)[None]
        >>> pit(torch.eye(2)[None, [1, 0]], references).mixing_matrix[0].tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    check_signals(estimates, references, "references (batch, reference, time)")
    num_outputs, num_references = estimates.shape[1], references.shape[1]
    if num_references > num_outputs:
        raise ValueError(f"{num_references} references cannot be matched to {num_outputs} outputs")
    mixture = references.sum(1) if mixture is None else mixture
    with full_precision(estimates, references, mixture) as (estimates, references, mixture):
        spare = num_outputs - num_references
        targets = functional.pad(references, (0, 0, 0, spare)) if spare else references
        pairs = RowEnergies.of_outputs(estimates, targets)
        energy = pairs.target[:, :, 0]
        silent = energy <= SILENT_RMS**2 * targets.shape[-1]
        scale = torch.where(silent, energies(mixture[:, None]), energy)
        tolerance = scale * torch.where(silent, threshold(silent_max_snr), threshold(max_snr))
        level = Levels.of(tolerance, scale)
        if admissible is None:
            matrix = best_permutation(level.cost(pairs))
        else:
            allowed = typed_set(admissible, num_outputs, num_outputs, estimates.device)
            matrix = best_mixing_matrix(Products.of(estimates, targets), allowed, level.cost)
        matched = remix_loss(matrix, estimates, targets, level)
        return Matched(matched.loss, matched.mixing_matrix[:, :num_references])


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
    """The loss of one mixing matrix an example, on the waveforms.

    The Gram form that a search uses loses digits for near-perfect estimates, so it chooses and never trains.
    """
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


def typed_set(admissible: Tensor, num_outputs: int, num_targets: int, device: torch.device) -> AdmissibleSet:
    """Assignments that someone wrote down, checked."""
    allowed = as_admissible_set(admissible.to(device), num_targets)
    if admissible.shape[1] != num_outputs:
        raise ValueError(f"admissible assigns {admissible.shape[1]} outputs; the separator has {num_outputs}")
    return allowed


def check_search(search: str, *, restricted: bool) -> None:
    """Refuse a search that does not exist, and the approximate one where not all assignments are allowed."""
    if search not in get_args(Search):
        raise ValueError(f"objective.search={search} does not exist; there are: {', '.join(get_args(Search))}")
    if search == "least_squares" and restricted:
        raise ValueError("objective.search=least_squares goes with all assignments only; set objective.search=exact")


def check_signals(estimates: Tensor, targets: Tensor, what: str) -> None:
    """Refuse tensors that are not three-dimensional, of other batches and lengths, or whose gradient would be lost."""
    if targets.requires_grad:
        raise ValueError(f"{what} ask for a gradient, and none flows into them; detach them")
    if estimates.ndim != 3 or targets.ndim != 3 or estimates.shape[::2] != targets.shape[::2]:
        raise ValueError(
            f"estimates (batch, output, time) {tuple(estimates.shape)} and {what} {tuple(targets.shape)} "
            "must agree in batch and time"
        )
