"""MixIT and PIT: the best admissible mixing matrix, and the loss of that matrix on the waveforms."""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional

from .admissible import AdmissibleSet, as_admissible_set, mixit_set, pit_set
from .least_squares import least_squares_mixing_matrix
from .search import RowEnergies, best_mixing_matrix
from .signal_loss import EPSILON, SILENT_RMS, error_decibels, full_precision, threshold

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
        ValueError: shapes that do not fit, too many assignments for an exact search, or a restricted set for the other.

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
    check_search(search, restricted=admissible is not None)
    with full_precision(estimates, mixtures) as (estimates, mixtures):
        energy = mixtures.square().sum(-1)
        level = Levels(threshold(max_snr) * energy, energy)
        if search == "least_squares":
            return loss_of(least_squares_mixing_matrix(estimates, mixtures), estimates, mixtures, level)
        if admissible is None:
            allowed = mixit_set(num_outputs, num_mixtures, estimates.device)
        else:
            allowed = typed_set(admissible, num_outputs, num_mixtures, estimates.device)
        return match(estimates, mixtures, allowed, level)


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
        if admissible is None:
            allowed = pit_set(num_outputs, num_references, estimates.device)
        else:
            allowed = typed_set(admissible, num_outputs, num_outputs, estimates.device)
        energy = targets.square().sum(-1)
        silent = energy <= SILENT_RMS**2 * targets.shape[-1]
        scale = torch.where(silent, mixture.square().sum(-1, keepdim=True), energy)
        tolerance = scale * torch.where(silent, threshold(silent_max_snr), threshold(max_snr))
        matched = match(estimates, targets, allowed, Levels(tolerance, scale))
        return Matched(matched.loss, matched.mixing_matrix[:, :num_references])


class Levels(NamedTuple):
    """Energies that the error of each target is measured against, `(batch, target)`."""

    tolerance: Tensor
    """Below which an error no longer matters."""
    scale: Tensor
    """That is 0 dB."""


def match(estimates: Tensor, targets: Tensor, allowed: AdmissibleSet, level: Levels) -> Matched:
    """Search without gradient, then the loss of the one matrix found, on the waveforms.

    The Gram form that the search uses loses digits for near-perfect estimates, so it chooses and never trains.
    """

    def cost(energies: RowEnergies) -> Tensor:
        return 10 * torch.log10(energies.error + level.tolerance[:, :, None] + EPSILON)

    return loss_of(best_mixing_matrix(estimates, targets, allowed, cost), estimates, targets, level)


def loss_of(mixing_matrix: Tensor, estimates: Tensor, targets: Tensor, level: Levels) -> Matched:
    """The loss of one mixing matrix an example, on the waveforms."""
    return Matched(error_decibels(mixing_matrix @ estimates, targets, *level).mean(-1), mixing_matrix)


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


def check_shapes(estimates: Tensor, targets: Tensor, what: str) -> None:
    """Refuse tensors that are not three-dimensional, or of other batches and lengths."""
    if estimates.ndim != 3 or targets.ndim != 3 or estimates.shape[::2] != targets.shape[::2]:
        raise ValueError(
            f"estimates (batch, output, time) {tuple(estimates.shape)} and {what} {tuple(targets.shape)} "
            "must agree in batch and time"
        )
