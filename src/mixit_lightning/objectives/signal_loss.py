"""Losses between one estimate and one reference: negative decibels, lower is better."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce

import torch
from torch import Tensor

EPSILON = 1e-8
"""Energy added inside every logarithm, as in the authors' released code."""

SILENT_RMS = 1e-8
"""A reference whose root mean square lies below this counts as silent (released code)."""


def negative_thresholded_snr(estimates: Tensor, references: Tensor, max_snr: float = 30.0) -> Tensor:
    """Negative signal-to-noise ratio that stops rewarding estimates better than `max_snr`.

    `L(y, e) = 10 log10(|y - e|^2 + t |y|^2) - 10 log10 |y|^2` with `t = 10^(-max_snr / 10)`; sums over time.
    Source: Wisdom et al., "Unsupervised Sound Separation Using Mixture Invariant Training", 2020, section 3.

    Args:
        estimates: `(..., time)`.
        references: `(..., time)`, the same shape.
        max_snr: dB; the loss is never below `-max_snr`.

    Returns:
        `(...)` in dB. Half precision is computed and returned in float32.

    Raises:
        ValueError: the shapes differ.
    """
    if estimates.shape != references.shape:  # else they would broadcast into a wrong loss
        raise ValueError(
            f"estimates {tuple(estimates.shape)} and references {tuple(references.shape)} must have the same shape"
        )
    with full_precision(estimates, references) as (estimates, references):
        energy = references.square().sum(-1)
        error = (references - estimates).square().sum(-1)
        return error_decibels(error, threshold(max_snr) * energy, energy)


def silent_reference_loss(estimates: Tensor, mixture: Tensor, max_snr: float = 20.0) -> Tensor:
    """Loss of an estimate whose reference is silence: its energy against the mixture's.

    `L0(e) = 10 log10(|e|^2 + t |x|^2) - 10 log10 |x|^2`. Without it a silent reference gives no gradient at all.
    Source: Wisdom et al., "What's All the FUSS About Free Universal Sound Separation Data?", 2021, and the released
    code, which drops the constant second term.

    Args:
        estimates: `(..., time)`.
        mixture: `(..., time)`, the separator's input; broadcasts against the estimates.
        max_snr: dB; the loss is never below `-max_snr`.

    Returns:
        `(...)` in dB.
    """
    with full_precision(estimates, mixture) as (estimates, mixture):
        energy = mixture.square().sum(-1)
        return error_decibels(estimates.square().sum(-1), threshold(max_snr) * energy, energy)


def error_decibels(error: Tensor, tolerance: Tensor, scale: Tensor) -> Tensor:
    """Energy of an error plus the one below which it no longer matters, in dB against a scale; each `(...)`."""
    return 10 * torch.log10((error + (tolerance + EPSILON)) / (scale + EPSILON))


def threshold(max_snr: float) -> float:
    """The share of an energy that lies `max_snr` dB below it."""
    return 10 ** (-max_snr / 10)


@contextmanager
def full_precision(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Autocast off, and tensors in one type, float32 or better, for losses and searches that must not lose digits."""
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)
    with torch.autocast(tensors[0].device.type, enabled=False):
        yield tuple(tensor.to(dtype) for tensor in tensors)
