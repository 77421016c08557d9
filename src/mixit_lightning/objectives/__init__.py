"""What a network is trained for: signal losses, sets of admissible mixing matrices, and the one search over them."""

from .mixit import mixit
from .objective import Examples, Objective
from .pit import pit
from .remix import Matched
from .signal_loss import negative_thresholded_snr, silent_reference_loss

__all__ = [
    "Examples",
    "Matched",
    "Objective",
    "mixit",
    "negative_thresholded_snr",
    "pit",
    "silent_reference_loss",
]
