"""The approximate search for a mixing matrix: for so many outputs that the exact one cannot go through them all."""

import torch
from torch import Tensor

from .search import Products


@torch.no_grad()
def least_squares_mixing_matrix(products: Products) -> Tensor:
    """Solve for a real-valued matrix, and give every output to the mixture in which it weighs most.

    `min over real A of |X - A E|^2`, then the largest weight of every column. Its cost grows with the cube of the
    number of outputs, where the exact search takes `K^M` matrices, but it often chooses another matrix than that.
    Source: Wisdom et al., "Sparse, Efficient, and Semantic Mixture Invariant Training", WASPAA 2021.

    Every output goes to one mixture, a silent one to the first with sound: asking which weights equal the maximum would
    give it to all. A mixture that was left silent gets none. Of the many solutions for outputs that depend on each
    other, the one of the least norm is taken, which is defined on every device.

    Returns:
        `(batch, mixture, output)` of zeros and ones, in double precision.
    """
    gram, correlation, energies = products
    gram = gram.nan_to_num()  # of outputs that diverged, the loss tells
    norms = gram.diagonal(dim1=1, dim2=2)[:, None].sqrt()
    # A faint output is not a silent one: all are solved for at the same level, which moves no maximum.
    scales = norms.where(norms > 0, 1)
    inverse = torch.linalg.pinv(gram / scales / scales.mT, hermitian=True)
    weights = correlation.nan_to_num() / scales @ inverse
    weights = weights.masked_fill(energies[:, :, None] == 0, -torch.inf)
    return torch.zeros_like(weights).scatter_(1, weights.argmax(1, keepdim=True), 1)
