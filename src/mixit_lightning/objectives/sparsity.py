"""A term against over-separation: few loud outputs cost less than many."""

from torch import Tensor

from .signal_loss import full_precision


def output_sparsity(estimates: Tensor) -> Tensor:
    """Ratio of the l1 to the l2 norm of the outputs' levels: `1 / M` for one loud output, `1 / sqrt(M)` for M equal.

    `sum_m r_m / (M sqrt(sum_m r_m^2))` with `r_m = sqrt(max(mean_t e_m(t)^2, 1e-8))`. Source: Wisdom et al., "Sparse,
    Efficient, and Semantic Mixture Invariant Training", WASPAA 2021.

    Args:
        estimates: `(batch, output, time)`.

    Returns:
        `(batch,)`, no unit.
    """
    with full_precision(estimates) as (estimates,):
        levels = estimates.square().mean(-1).clamp_min(1e-8).sqrt()
        return levels.sum(-1) / (levels.square().sum(-1).sqrt() * levels.shape[-1])
