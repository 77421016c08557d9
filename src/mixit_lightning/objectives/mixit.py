"""MixIT: mixture invariant training, the best remix of the outputs into the mixtures that were added up."""

from typing import Literal, get_args

from torch import Tensor

from .admissible import as_admissible_set, mixit_set
from .least_squares import least_squares_mixing_matrix
from .remix import Levels, Matched, check_signals, remix_loss
from .search import Products, best_mixing_matrix
from .signal_loss import full_precision, threshold

Search = Literal["exact", "least_squares"]
"""How MixIT looks for the mixing matrix."""


def mixit(
    estimates: Tensor,
    mixtures: Tensor,
    max_snr: float = 30.0,
    admissible: Tensor | None = None,
    search: Search = "exact",
) -> Matched:
    """The best remix of the outputs into the mixtures that were added up.

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
        ValueError: shapes that do not fit, mixtures that ask for a gradient, too many assignments for an exact search,
            or a restricted set for the other.

    Example:
        >>> import torch
        >>> mixtures = torch.eye(2)[None]
        >>> matched = mixit(torch.eye(2)[None, [1, 0]], mixtures)
        >>> matched.mixing_matrix[0].tolist(), round(matched.loss.item(), 2)
        ([[0.0, 1.0], [1.0, 0.0]], -30.0)
    """
    check_signals(estimates, mixtures, "mixtures (batch, mixture, time)")
    num_outputs, num_mixtures = estimates.shape[1], mixtures.shape[1]
    if num_mixtures < 2:
        raise ValueError("MixIT needs at least two mixtures an example")
    check_search(search, restricted=admissible is not None)
    with full_precision(estimates, mixtures) as (estimates, mixtures):
        products = Products.of(estimates, mixtures)
        level = Levels.of(threshold(max_snr) * products.energies, products.energies)
        if search == "least_squares":
            matrix = least_squares_mixing_matrix(products)
        else:
            if admissible is None:
                allowed = mixit_set(num_outputs, num_mixtures, estimates.device)
            else:
                allowed = as_admissible_set(admissible.to(estimates.device), num_outputs, num_mixtures)
            matrix = best_mixing_matrix(products, allowed, level.cost)
        return remix_loss(matrix, estimates, mixtures, level)


def check_search(search: str, *, restricted: bool) -> None:
    """Refuse a search that does not exist, and the approximate one where not all assignments are allowed."""
    if search not in get_args(Search):
        raise ValueError(f"objective.search={search} does not exist; there are: {', '.join(get_args(Search))}")
    if search == "least_squares" and restricted:
        raise ValueError("objective.search=least_squares goes with all assignments only; set objective.search=exact")
