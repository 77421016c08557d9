"""The approximate search for a mixing matrix: for so many outputs that the exact one cannot go through them all."""

import torch
from torch import Tensor


@torch.no_grad()
def least_squares_mixing_matrix(estimates: Tensor, mixtures: Tensor) -> Tensor:
    """Solve for a real-valued matrix, and give every output to the mixture in which it weighs most.

    `min over real A of |X - A E|^2`, then the largest weight of every column. Its cost grows with the cube of the
    number of outputs, where the exact search takes `K^M` matrices, but it often chooses another matrix than that.
    Source: Wisdom et al., "Sparse, Efficient, and Semantic Mixture Invariant Training", WASPAA 2021.

    Every output goes to one mixture, a silent one to the first with sound: asking which weights equal the maximum would
    give it to all. A mixture that was left silent gets none. Of the many solutions for outputs that depend on each
    other, the one of the least norm is taken, which is defined on every device.

    Args:
        estimates: `(batch, output, time)`.
        mixtures: `(batch, mixture, time)`.

    Returns:
        `(batch, mixture, output)` of zeros and ones, in the estimates' type, without gradient.
    """
    wide = torch.float32 if estimates.device.type == "mps" else torch.float64
    with torch.autocast(estimates.device.type, enabled=False):
        signals = estimates.to(wide).nan_to_num()  # of outputs that diverged, the loss tells
        # A faint output is not a silent one: all are solved for at the same level, which moves no maximum.
        norms = signals.square().sum(-1, keepdim=True).sqrt()
        signals = signals / norms.where(norms > 0, 1)
        gram = signals @ signals.mT
        weights = mixtures.to(wide) @ signals.mT @ torch.linalg.pinv(gram, hermitian=True)
        weights = weights.masked_fill(~mixtures.any(-1, keepdim=True), -torch.inf)
        return torch.zeros_like(weights).scatter_(1, weights.argmax(1, keepdim=True), 1).to(estimates.dtype)
