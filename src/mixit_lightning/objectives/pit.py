"""PIT: permutation invariant training, the best assignment of outputs to references."""

import torch
from torch import Tensor
from torch.nn import functional

from .admissible import as_admissible_set
from .remix import Levels, Matched, check_signals, remix_loss
from .search import Products, RowEnergies, best_mixing_matrix, best_permutation, energies
from .signal_loss import SILENT_RMS, full_precision, threshold


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
            allowed = as_admissible_set(admissible.to(estimates.device), num_outputs, num_outputs)
            matrix = best_mixing_matrix(Products.of(estimates, targets), allowed, level.cost)
        matched = remix_loss(matrix, estimates, targets, level)
        return Matched(matched.loss, matched.mixing_matrix[:, :num_references])
