"""Projection of estimates onto the set of estimates that add up to the mixture."""

import torch
from torch import Tensor

from mixit_lightning.separators.precision import at_least_float32, without_autocast

KINDS = ("uniform", "magsq", "pred_source")


def mixture_consistency(estimates: Tensor, mixture: Tensor, weights: Tensor) -> Tensor:
    """Share what the estimates miss of the mixture out among them: ``ŝ_m + w_m (x - Σ ŝ)``.

    With weights that add up to one, the result adds up to the mixture.

    Args:
        estimates: (batch, output, time).
        mixture: (batch, time).
        weights: (batch, output), see `consistency_weights`.

    Returns:
        (batch, output, time), in float32 at least, under autocast too.

    Raises:
        ValueError: if the shapes do not fit each other.

    Source: Wisdom et al., "Differentiable consistency constraints for improved deep speech enhancement", ICASSP 2019.
    """
    batch, outputs, time = _shape(estimates)
    if mixture.shape != (batch, time):
        raise ValueError(f"mixture must be ({batch}, {time}) to go with the estimates, but is {tuple(mixture.shape)}")
    if weights.shape != (batch, outputs):
        raise ValueError(
            f"weights must be ({batch}, {outputs}) to go with the estimates, but are {tuple(weights.shape)}"
        )
    with without_autocast(estimates):
        estimates = at_least_float32(estimates)
        missing = at_least_float32(mixture).unsqueeze(1) - estimates.sum(1, keepdim=True)
        return estimates + at_least_float32(weights).unsqueeze(-1) * missing


def consistency_weights(kind: str, estimates: Tensor, predicted: Tensor | None = None) -> Tensor:
    """Weights for `mixture_consistency`; they add up to one over the outputs.

    Args:
        kind: 'uniform' for equal weights, 'magsq' for weights by the power of each estimate, 'pred_source' for
            weights that a network predicts.
        estimates: (batch, output, time).
        predicted: (batch, output), the predicted weights; used by 'pred_source' only.

    Returns:
        (batch, output), in float32 at least.

    Raises:
        ValueError: if the kind is unknown, or if it is 'pred_source' and no weights are given.

    Source: released code of Wisdom et al., arXiv 2006.12701; its 1e-8 shares silence out equally.
    """
    batch, outputs, _ = _shape(estimates)
    if check_kind(kind) == "pred_source":
        if predicted is None:
            raise ValueError("mixture consistency 'pred_source' needs predicted weights, and none are given")
        return at_least_float32(predicted)
    with without_autocast(estimates):
        estimates = at_least_float32(estimates)
        if kind == "uniform":
            return estimates.new_full((batch, outputs), 1 / outputs)
        power = estimates.square().mean(-1) + 1e-8
        return power / power.sum(1, keepdim=True)


def check_kind(kind: str, kinds: tuple[str, ...] = KINDS) -> str:
    """Give back the kind of mixture consistency if it is one of ``kinds``; raise a ValueError otherwise."""
    if kind not in kinds:
        raise ValueError(f"mixture_consistency must be one of {', '.join(map(repr, kinds))}, but is {kind!r}")
    return kind


def _shape(estimates: Tensor) -> torch.Size:
    if estimates.dim() != 3:
        raise ValueError(f"estimates must be (batch, output, time), but have the shape {tuple(estimates.shape)}")
    return estimates.shape
