"""How fast is the PIT loss, forward and backward, against asteroid's and torchmetrics'?

As many references as outputs, 4 s at 8 kHz, four examples, SNR without a threshold, signals without a mean. All three
find the permutation by the Hungarian method.

    python benchmarks/pit_loss.py [--quick] [--json]
"""

from collections.abc import Callable, Iterator

import torch
from asteroid.losses import PITLossWrapper, pairwise_neg_snr
from harness import Row, Spread, in_turns, medians, run
from mixit_loss import BATCH, NO_THRESHOLD, forward_and_backward, limit, signals
from torch import Tensor
from torchmetrics.functional import signal_noise_ratio
from torchmetrics.functional.audio import permutation_invariant_training

from mixit_lightning.memory import keep_freed_memory
from mixit_lightning.objectives import pit

ASTEROID = PITLossWrapper(pairwise_neg_snr, pit_from="pw_mtx")

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "pit": lambda estimates, references: pit(estimates, references, max_snr=NO_THRESHOLD).loss.mean(),
    "asteroid PITLossWrapper": ASTEROID,
    "torchmetrics permutation_invariant_training": lambda estimates, references: (
        -permutation_invariant_training(estimates, references, signal_noise_ratio, eval_func="max")[0].mean()
    ),
}


def measure(quick: bool) -> Iterator[Row]:
    """The rows of the table."""
    keep_freed_memory()
    for sources in (4, 8):
        estimates, references = signals(sources, sources)
        sides: dict[str, Callable[[], object]] = {}
        results = {}
        for name, loss in LOSSES.items():
            sides[name] = forward_and_backward(loss, estimates, references)
            results[name] = sides[name](), estimates.grad
        for value, gradient in results.values():
            torch.testing.assert_close(value, results["pit"][0], rtol=0, atol=1e-4)
            torch.testing.assert_close(gradient, results["pit"][1], rtol=1e-4, atol=1e-8)
        sides["limit"] = limit(estimates, references)
        times = in_turns(sides, 3 if quick else 15)
        for peer in list(LOSSES)[1:]:
            yield Row(
                f"PIT loss, forward and backward, B={BATCH}, 4 s at 8 kHz, {sources} sources",
                peer,
                Spread.ratio(times[peer], times["pit"]),
                3,
                limit="double-precision products, one read, one write",
                distance=Spread.ratio(times["pit"], times["limit"]),
                seconds=medians(times),
            )


if __name__ == "__main__":
    run(measure, __doc__)
