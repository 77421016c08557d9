"""Metrics as functions, in positive decibels; a value is NaN where a metric does not apply to an example."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..objectives import mixit
from ..objectives.admissible import MAX_ASSIGNMENTS, mixit_set
from ..objectives.mixit import Search
from ..objectives.search import Products, RowEnergies, best_mixing_matrix, best_permutation
from ..objectives.signal_loss import SILENT_RMS
from .coordinates import coordinates

ACTIVE_SHARE = 0.01
"""Of the power of the quietest reference (-20 dB); an output above it is active (released FUSS evaluation)."""

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
    """Per example, how well the outputs separate a single mixture.

    An output is active above -20 dB of the quietest reference with sound; a reference whose output is not active was
    not found, and the released FUSS evaluation leaves it out of its means.
    """

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
    """`(batch,)` dB, improvement where all outputs are summed up in the best way; NaN for one source, and for so many
    outputs and sources that not all ways can be tried."""
    num_active_outputs: Tensor
    """`(batch,)`, to compare with `num_references`: fewer is under-separation, more is over-separation."""
    num_found: Tensor
    """`(batch,)`, the references whose output is active."""
    si_snr_found: Tensor
    """`(batch,)` dB, SI-SNR, mean over the references that were found; NaN where none was."""
    si_snri_found: Tensor
    """`(batch,)` dB, the same of the improvement; NaN for one source as well."""
    energy_shares: Tensor
    """`(batch, output)`, of the energy of all outputs; NaN where all are silent."""
    mixing_matrix: Tensor
    """`(batch, reference, output)`: the output chosen for each reference; a row of zeros for a silent reference."""

    @property
    def under_separation(self) -> Tensor:
        """`(batch,)`, 1 for fewer active outputs than references, 0 otherwise; NaN without references."""
        return self.compare(torch.lt)

    @property
    def equal_separation(self) -> Tensor:
        """The same for as many."""
        return self.compare(torch.eq)

    @property
    def over_separation(self) -> Tensor:
        """The same for more."""
        return self.compare(torch.gt)

    def compare(self, relation: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Whether the relation holds between the numbers of active outputs and of references."""
        holds = relation(self.num_active_outputs, self.num_references)
        return holds.double().where(self.num_references > 0, torch.nan)


def separation_scores(estimates: Tensor, references: Tensor, mixtures: Tensor) -> Scores:
    """Score outputs against references, padded with silence where examples have different numbers of sources.

    Args:
        estimates: `(batch, output, time)`.
        references: `(batch, reference, time)`, at most as many with sound as there are outputs.
        mixtures: `(batch, time)`, the input.

    Raises:
        ValueError: more references with sound than outputs.
    """
    outputs, sources, inputs = coordinates(estimates, references, mixtures[:, None])
    energies, source_energies = outputs.square().sum(-1), sources.square().sum(-1)
    active = is_active(source_energies, references.shape[-1])
    counts = active.sum(-1)
    if len(counts) and counts.max() > outputs.shape[1]:
        raise ValueError(f"{counts.max()} references with sound cannot be matched to {outputs.shape[1]} outputs")
    unknown = torch.full(counts.shape, torch.nan, dtype=torch.float64, device=estimates.device)
    values = {name: unknown.clone() for name in Scores._fields if name == "one_source" or "si_snr" in name}
    num_active_outputs, num_found = torch.zeros_like(counts), torch.zeros_like(counts)
    matrices = estimates.new_zeros(len(estimates), references.shape[1], estimates.shape[1])
    for count in counts[counts > 0].unique().tolist():
        chosen = counts == count
        targets = sources[chosen][active[chosen]].view(-1, count, sources.shape[-1])
        signals = outputs[chosen]
        spare = signals.shape[1] - count  # of the outputs, which go to silent targets, and cost nothing there
        pairs = RowEnergies.of_outputs(signals, pad(targets, (0, 0, 0, spare)))
        matrix = best_permutation(negative_si_snr(pairs))[:, :count]
        before = si_snr(inputs[chosen], targets)
        after = si_snr(matrix @ signals, targets)
        loud = energies[chosen] > ACTIVE_SHARE * targets.square().sum(-1).amin(-1, keepdim=True)
        found = (matrix @ loud.double()[:, :, None])[:, :, 0]
        num_active_outputs[chosen], num_found[chosen] = loud.sum(-1), found.sum(-1).long()
        values["input_si_snr"][chosen] = before.mean(-1)
        values["si_snr"][chosen] = after.mean(-1)
        values["si_snr_found"][chosen] = (after * found).sum(-1) / found.sum(-1)
        if count == 1:
            values["one_source"][chosen] = after.mean(-1)
        else:
            values["si_snri"][chosen] = (after - before).mean(-1)
            values["si_snri_found"][chosen] = ((after - before) * found).sum(-1) / found.sum(-1)
            if count ** signals.shape[1] <= MAX_ASSIGNMENTS:
                allowed = mixit_set(signals.shape[1], count, signals.device)
                remix = best_mixing_matrix(Products.of(signals, targets), allowed, negative_si_snr)
                values["si_snri_oracle_remix"][chosen] = (si_snr(remix @ signals, targets) - before).mean(-1)
        matrices[active & chosen[:, None]] = matrix.flatten(0, 1).to(matrices.dtype)
    return Scores(
        num_references=counts,
        num_active_outputs=num_active_outputs,
        num_found=num_found,
        energy_shares=energies / energies.sum(-1, keepdim=True),
        mixing_matrix=matrices,
        **values,
    )


def is_active(energies: Tensor, length: int) -> Tensor:
    """Which signals of these energies and `length` samples are not silent."""
    return energies > SILENT_RMS**2 * length


def momi(estimates: Tensor, mixtures: Tensor, admissible: Tensor | None = None, search: Search = "exact") -> Tensor:
    """MoMi: SI-SNR improvement of the mixtures rebuilt from the outputs for their sum; needs no references.

    The mixing matrix is the one that MixIT's loss chooses. A mixture that it gives no output is not rebuilt, and counts
    as not improved, 0 dB: the SI-SNR of silence, minus infinity, would hide all others.

    Args:
        estimates: `(batch, output, time)`, from the mixture of mixtures.
        mixtures: `(batch, mixture, time)`.
        admissible: see `mixit`, as for `search`.

    Returns:
        `(batch,)` in dB, mean over the mixtures.
    """
    outputs, targets = coordinates(estimates, mixtures)
    matrix = mixit(outputs, targets, admissible=admissible, search=search).mixing_matrix
    gain = si_snr(matrix @ outputs, targets) - si_snr(targets.sum(1, keepdim=True), targets)
    return torch.where(matrix.any(-1), gain, 0).mean(-1)


def negative_si_snr(energies: RowEnergies) -> Tensor:
    """What a search compares: of each target and row, in dB; a silent target costs nothing."""
    explained = energies.product.square() / energies.target.clamp_min(LIMIT)
    decibels = ratio_decibels(explained, (energies.remix - explained).clamp_min(0))
    return torch.where(energies.target > 0, -decibels, 0)


def ratio_decibels(signal: Tensor, noise: Tensor) -> Tensor:
    """Energy ratio in dB, kept within the limits; of two silences the lower limit, as nothing was recovered."""
    total = signal + noise
    share = torch.where(total > 0, signal / total, 0)
    rest = torch.where(total > 0, noise / total, 1)
    return 10 * torch.log10(share.clamp_min(LIMIT) / rest.clamp_min(LIMIT))
