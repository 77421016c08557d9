"""Signals as coordinates: few numbers with the same inner products, for metrics that depend on nothing else."""

import torch
from torch import Tensor

EXAMPLES = 8
"""Whose signals are in double precision at a time: a batch of any size takes no more memory, and a cache holds them."""


@torch.no_grad()
def coordinates(*groups: Tensor) -> tuple[Tensor, ...]:
    """Write signals in an orthonormal basis of the space that those of an example span.

    Energies, SI-SNR and remixes of signals are those of their coordinates, but for rounding at -150 dB of each signal.
    The waveforms are gone through once; silence at their ends changes nothing. A signal with NaN or infinity in it, as
    of a network that diverged, counts as silent.

    Args:
        groups: each `(batch, signal, time)`.

    Returns:
        For each group `(batch, signal, coordinate)`, float64, as many coordinates as all groups have signals.
    """
    products = inner_products(groups).nan_to_num(0, 0, 0)
    norms = products.diagonal(dim1=-2, dim2=-1).sqrt()[:, :, None]
    # All at one level, as rounding is relative to the loudest: a faint signal has its digits, too.
    scales = norms.where(norms > 0, 1)
    values, vectors = torch.linalg.eigh(products / scales / scales.mT, UPLO="U")
    found = norms * vectors * values.clamp_min(0).sqrt()[:, None]
    return found.split([group.shape[1] for group in groups], dim=1)


def inner_products(groups: tuple[Tensor, ...]) -> Tensor:
    """Inner products of the signals of each example, `(batch, signal, signal)` in float64; see `coordinates`.

    Of those of two groups, the ones below the diagonal are left zero: they are the same again.
    """
    counts = [group.shape[1] for group in groups]
    batch, _, length = groups[0].shape
    products = groups[0].new_zeros(batch, sum(counts), sum(counts), dtype=torch.float64)
    signals = groups[0].new_empty(min(batch, EXAMPLES), sum(counts), length, dtype=torch.float64)
    for found, *parts in zip(*(part.split(EXAMPLES) for part in (products, *groups)), strict=True):
        wide = signals[: len(found)]
        for part, rows in zip(parts, wide.split(counts, 1), strict=True):
            rows.copy_(part)
        start = 0
        for count in counts:
            found[:, start : start + count, start:] = wide[:, start : start + count] @ wide[:, start:].mT
            start += count
    return products
