"""MixIT and PIT: the best admissible mixing matrix, and the loss of that matrix on the waveforms."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .admissible import AdmissibleSet, as_admissible_set, mixit_set, pit_set
from .search import RowEnergies, best_mixing_matrix
from .signal_loss import EPSILON, SILENT_RMS, error_decibels, full_precision, threshold


class Matched(NamedTuple):
    """Loss and assignment of a batch."""

    loss: Tensor
    """`(batch,)` in dB: the mean over the mixtures or references."""
    mixing_matrix: Tensor
    """`(batch, mixture or reference, output)` of zeros and ones, without gradient."""


def mixit(estimates: Tensor, mixtures: Tensor, max_snr: float = 30.0, admissible: Tensor | None = None) -> Matched:
    """Mixture invariant training: the best remix of the outputs into the mixtures that were added up.

    `min over A of mean_i L(x_i, [A e]_i)` with A binary and every column of one one (Wisdom et al. 2020, equation 2),
    L the negative thresholded SNR. The gradient of the minimum is the gradient of the minimiser.

    Args:
        estimates: `(batch, output, time)`, from the sum of the mixtures.
        mixtures: `(batch, mixture, time)`, two or more.
        max_snr: dB, see `negative_thresholded_snr`.
        admissible: `(assignment, output)` integers, the mixture that each output goes to, where not all assignments
            are allowed. Enhancement, whose first output is speech: `[[0, 0, 1], [0, 1, 0]]`.

    Raises:
        ValueError: shapes that do not fit, or too many assignments for an exact search.

    Example:
        >>> mixtures = torch.eye(2)[None]
        >>> matched = mixit(torch.eye(2)[None, [1, 0]], mixtures)
        >>> matched.mixing_matrix[0].tolist(), round(matched.loss.item(), 2)
        ([[0.0, 1.0], [1.0, 0.0]], -30.0)
    """
    check_shapes(estimates, mixtures, "mixtures (batch, mixture, time)")
    num_outputs, num_mixtures = estimates.shape[1], mixtures.shape[1]
    if num_mixtures < 2:
        raise ValueError("MixIT needs at least two mixtures an example")
    if admissible is None:
        allowed = mixit_set(num_outputs, num_mixtures, estimates.device)
    else:
        allowed = as_admissible_set(admissible.to(estimates.device), num_mixtures)
        if admissible.shape[1] != num_outputs:
            raise ValueError(f"admissible assigns {admissible.shape[1]} outputs; the separator has {num_outputs}")
    with full_precision(estimates, mixtures) as (estimates, mixtures):
        energy = mixtures.square().sum(-1)
        return match(estimates, mixtures, allowed, threshold(max_snr) * energy, energy)


def pit(
    estimates: Tensor,
    references: Tensor,
    max_snr: float = 30.0,
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
        mixture: `(batch, time)`, the separator's input, by default the sum of the references.
        silent_max_snr: dB, of silent references.

    Returns:
        The loss, and the matrix `(batch, reference, output)` of the references given, without the padding.

    Raises:
        ValueError: more references than outputs, shapes that do not fit, or too many permutations.

    Example:
        >>> references = torch.eye(2)[None]
        >>> pit(torch.eye(2)[None, [1, 0]], references).mixing_matrix[0].tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    check_shapes(estimates, references, "references (batch, reference, time)")
    num_outputs, num_references = estimates.shape[1], references.shape[1]
    if num_references > num_outputs:
        raise ValueError(f"{num_references} references cannot be matched to {num_outputs} outputs")
    mixture = references.sum(1) if mixture is None else mixture
    with full_precision(estimates, references, mixture) as (estimates, references, mixture):
        targets = functional.pad(references, (0, 0, 0, num_outputs - num_references))
        energy = targets.square().sum(-1)
        silent = energy <= SILENT_RMS**2 * targets.shape[-1]
        mixture_energy = mixture.square().sum(-1, keepdim=True)
        scale = torch.where(silent, mixture_energy, energy)
        tolerance = scale * torch.where(silent, threshold(silent_max_snr), threshold(max_snr))
        allowed = pit_set(num_outputs, num_references, estimates.device)
        matched = match(estimates, targets, allowed, tolerance, scale)
        return Matched(matched.loss, matched.mixing_matrix[:, :num_references])


def match(estimates: Tensor, targets: Tensor, allowed: AdmissibleSet, tolerance: Tensor, scale: Tensor) -> Matched:
    """Search without gradient, then the loss of the one matrix found, on the waveforms.

    The Gram form that the search uses loses digits for near-perfect estimates, so it chooses and never trains.
    """

    def cost(energies: RowEnergies) -> Tensor:
        return 10 * torch.log10(energies.error + tolerance[:, :, None] + EPSILON)

    mixing_matrix = best_mixing_matrix(estimates, targets, allowed, cost)
    losses = error_decibels(mixing_matrix @ estimates, targets, tolerance, scale)
    return Matched(losses.mean(-1), mixing_matrix)


def check_shapes(estimates: Tensor, targets: Tensor, what: str) -> None:
    """Refuse tensors that are not three-dimensional, or of other batches and lengths."""
    if estimates.ndim != 3 or targets.ndim != 3 or estimates.shape[::2] != targets.shape[::2]:
        raise ValueError(
            f"estimates (batch, output, time) {tuple(estimates.shape)} and {what} {tuple(targets.shape)} "
            "must agree in batch and time"
        )
