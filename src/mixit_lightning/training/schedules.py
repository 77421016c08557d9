"""Factors on the learning rate, by the number of steps taken."""

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def cosine(steps: int, warmup: int = 0, final: float = 0.0) -> Schedule:
    """Rise in a line over `warmup` steps, then fall along a half cosine to `final` at `steps`."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2

    return factor


def halving(every: float) -> Schedule:
    """Halve every so many steps, continuously: the released FUSS recipe halves every 2,000,000."""
    return lambda step: 0.5 ** (step / every)
