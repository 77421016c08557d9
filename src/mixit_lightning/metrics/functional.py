"""Metrics as functions, in positive decibels; a value is NaN where a metric does not apply to an example."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..objectives import mixit
from ..objectives.admissible import AdmissibleSet, mixit_set, pit_set
from ..objectives.search import RowEnergies, best_mixing_matrix
from ..objectives.signal_loss import SILENT_RMS

LIMIT = 1e-12
"""SI-SNR is kept within plus and minus 120 dB, so that a perfect or silent estimate does not spoil a mean."""


def si_snr(estimates: Tensor, references: Tensor) -> Tensor:
    """Scale-invariant signal-to-noise ratio without removing the mean, as in the MixIT papers.

    Args:
        estimates: `(..., time)`.
        references: `(..., time)`; the two broadcast.

    Returns:
        `(...)` in dB.
    """
    estimates, references = estimates.double(), references.double()
    scale = (estimates * references).sum(-1, keepdim=True) / references.square().sum(-1, keepdim=True).clamp_min(LIMIT)
    target = scale * references
    return ratio_decibels(target.square().sum(-1), (estimates - target).square().sum(-1))


class Scores(NamedTuple):
    """Per example, how well the outputs separate a single mixture."""

    num_references: Tensor
    """`(batch,)`, the references with sound."""
    input_si_snr: Tensor
    """`(batch,)` dB, SI-SNR of the unprocessed mixture, mean over the references."""
    si_snr: Tensor
    """`(batch,)` dB, of the best outputs, one for each reference (PIT); mean over the references."""
    si_snri: Tensor
    """`(batch,)` dB, the difference of the two; NaN for inputs of one source, whose input is already perfect."""
    one_source: Tensor
    """`(batch,)` dB, SI-SNR of the best output for inputs of one source (1S); NaN for the others."""
    si_snri_oracle_remix: Tensor
    """`(batch,)` dB, improvement where all outputs are summed up in the best way; NaN for one source."""
    mixing_matrix: Tensor
    """`(batch, reference, output)`: the output chosen for each reference; a row of zeros for a silent reference."""


def separation_scores(estimates: Tensor, references: Tensor, mixtures: Tensor) -> Scores:
    """Score outputs against references, padded with silence where examples have different numbers of sources.

    Args:
        estimates: `(batch, output, time)`.
        references: `(batch, reference, time)`, at most as many with sound as there are outputs.
        mixtures: `(batch, time)`, the input.
    """
    active = references.square().sum(-1) > SILENT_RMS**2 * references.shape[-1]
    counts = active.sum(-1)
    values = {
        name: torch.full(counts.shape, torch.nan, dtype=torch.float64, device=estimates.device)
        for name in Scores._fields[1:-1]
    }
    matrices = estimates.new_zeros(len(estimates), references.shape[1], estimates.shape[1])
    for count in counts.unique().tolist():
        chosen = counts == count
        if count == 0:
            continue
        targets = references[chosen][active[chosen]].view(-1, count, references.shape[-1])
        signals = estimates[chosen]
        matrix = best_by_si_snr(signals, targets, pit_set(signals.shape[1], count, signals.device))[:, :count]
        before = si_snr(mixtures[chosen][:, None], targets).mean(-1)
        after = si_snr(matrix @ signals, targets).mean(-1)
        values["input_si_snr"][chosen] = before
        values["si_snr"][chosen] = after
        if count == 1:
            values["one_source"][chosen] = after
        else:
            remix = best_by_si_snr(signals, targets, mixit_set(signals.shape[1], count, signals.device))
            values["si_snri"][chosen] = after - before
            values["si_snri_oracle_remix"][chosen] = si_snr(remix @ signals, targets).mean(-1) - before
        matrices[active & chosen[:, None]] = matrix.flatten(0, 1)
    return Scores(num_references=counts, mixing_matrix=matrices, **values)


def momi(estimates: Tensor, mixtures: Tensor) -> Tensor:
    """MoMi: SI-SNR improvement of the mixtures rebuilt from the outputs for their sum; needs no references.

    The mixing matrix is the one that MixIT's loss chooses.

    Args:
        estimates: `(batch, output, time)`, from the mixture of mixtures.
        mixtures: `(batch, mixture, time)`.

    Returns:
        `(batch,)` in dB, mean over the mixtures.
    """
    rebuilt = mixit(estimates, mixtures).mixing_matrix @ estimates
    return (si_snr(rebuilt, mixtures) - si_snr(mixtures.sum(1, keepdim=True), mixtures)).mean(-1)


def best_by_si_snr(estimates: Tensor, targets: Tensor, allowed: AdmissibleSet) -> Tensor:
    """The admissible matrix with the highest sum of SI-SNRs; targets beyond the given ones (PIT) cost nothing."""
    spare = int(allowed.row_of.shape[1]) - targets.shape[1]
    padded = torch.nn.functional.pad(targets, (0, 0, 0, spare))

    def cost(energies: RowEnergies) -> Tensor:
        explained = energies.product.square() / energies.target.clamp_min(LIMIT)
        decibels = ratio_decibels(explained, (energies.remix - explained).clamp_min(0))
        return torch.where(energies.target > 0, -decibels, 0)

    return best_mixing_matrix(estimates, padded, allowed, cost)


def ratio_decibels(signal: Tensor, noise: Tensor) -> Tensor:
    """Energy ratio in dB, kept within the limits; of two silences the lower limit, as nothing was recovered."""
    total = signal + noise
    share = torch.where(total > 0, signal / total, 0)
    rest = torch.where(total > 0, noise / total, 1)
    return 10 * torch.log10(share.clamp_min(LIMIT) / rest.clamp_min(LIMIT))
