"""How fast is the MixIT loss, forward and backward, against asteroid's, and how close to what the processor can do?

Random signals of 4 s at 8 kHz, four examples, SNR without a threshold on both sides, without a mean as asteroid removes
it. The limit is what no exact search by products can avoid: the Gram and correlation products in double precision (in
single precision an output 90 dB down goes anywhere, and a test says so), one read of the signals, and one write of the
gradient. Beside it stands what our way takes at least: its operations on whole signals alone (they become double, error
and gradient are written), and its other calls of torch, which show on signals of 10 samples.

    python benchmarks/mixit_loss.py [--quick] [--json]
"""

import itertools
from collections.abc import Callable, Iterator

import torch
from asteroid.losses import MixITLossWrapper, multisrc_neg_snr
from harness import Row, Spread, in_turns, medians, run, short
from torch import Tensor

from mixit_lightning.memory import keep_freed_memory
from mixit_lightning.objectives import mixit

BATCH, TIME = 4, 32000
NO_THRESHOLD = 1e6
ASTEROID = MixITLossWrapper(multisrc_neg_snr, generalized=True)


def signals(outputs: int, mixtures: int = 2, batch: int = BATCH, time: int = TIME) -> tuple[Tensor, Tensor]:
    """Estimates that ask for their gradient, and mixtures, all with mean zero."""
    torch.manual_seed(0)
    estimates, targets = torch.randn(batch, outputs, time), torch.randn(batch, mixtures, time)
    estimates, targets = (0.1 * (part - part.mean(-1, keepdim=True)) for part in (estimates, targets))
    return estimates.requires_grad_(), targets


def forward_and_backward(
    loss: Callable[[Tensor, Tensor], Tensor], estimates: Tensor, targets: Tensor
) -> Callable[[], Tensor]:
    """A call returns the loss and leaves the gradient."""

    def call() -> Tensor:
        estimates.grad = None
        value = loss(estimates, targets)
        value.backward()
        return value.detach()

    return call


def ours(estimates: Tensor, mixtures: Tensor) -> Callable[[], Tensor]:
    """Our loss."""
    return forward_and_backward(lambda *both: mixit(*both, max_snr=NO_THRESHOLD).loss.mean(), estimates, mixtures)


def asteroid(estimates: Tensor, mixtures: Tensor) -> Callable[[], Tensor]:
    """Asteroid's."""
    return forward_and_backward(ASTEROID, estimates, mixtures)


def limit(estimates: Tensor, mixtures: Tensor) -> Callable[[], None]:
    """Products of signals that are in double precision already, a read and a write."""
    estimates = estimates.detach()
    wide, wide_mixtures, gradient = estimates.double(), mixtures.double(), torch.empty_like(estimates)

    def call() -> None:
        torch.bmm(wide, wide.mT)
        torch.bmm(wide_mixtures, wide.mT)
        estimates.sum()
        torch.mul(estimates, 2, out=gradient)

    return call


def whole_signals(estimates: Tensor, mixtures: Tensor) -> Callable[[], None]:
    """What the exact loss does to whole signals, forward and backward, and nothing of the rest."""
    estimates = estimates.detach()
    matrix = torch.zeros(len(estimates), mixtures.shape[1], estimates.shape[1])
    matrix[:, 0] = 1

    def call() -> None:
        wide, wide_mixtures = estimates.double(), mixtures.double()
        torch.bmm(wide, wide.mT)
        torch.bmm(wide_mixtures, wide.mT)
        torch.linalg.vecdot(wide_mixtures, wide_mixtures)
        error = torch.baddbmm(mixtures, matrix, estimates, beta=-1)
        torch.linalg.vecdot(error, error)
        torch.bmm(matrix.mT, error)

    return call


def assert_equal(outputs: int, batch: int = BATCH, time: int = TIME) -> None:
    """Loss and gradient are asteroid's."""
    estimates, mixtures = signals(outputs, batch=batch, time=time)
    loss = ours(estimates, mixtures)()
    gradient = estimates.grad
    torch.testing.assert_close(loss, asteroid(estimates, mixtures)(), rtol=0, atol=1e-4)
    torch.testing.assert_close(gradient, estimates.grad, rtol=1e-4, atol=1e-8)


def assert_equals_loop(outputs: int, mixtures: int) -> None:
    """The matrix is that of a loop over all assignments, on the waveforms and in double precision."""
    estimates, targets = signals(outputs, mixtures, batch=1, time=500)
    best = (torch.inf, None)
    for assignment in itertools.product(range(mixtures), repeat=outputs):
        matrix = (torch.tensor(assignment) == torch.arange(mixtures)[:, None]).double()
        error = (targets.double() - matrix @ estimates.detach().double()).square().sum(-1)
        loss = (10 * torch.log10(error / targets.double().square().sum(-1))).mean().item()
        best = min(best, (loss, assignment), key=lambda pair: pair[0])
    matched = mixit(estimates, targets, max_snr=NO_THRESHOLD)
    assert torch.equal(matched.mixing_matrix[0], (torch.tensor(best[1]) == torch.arange(mixtures)[:, None]).float())
    assert abs(matched.loss.item() - best[0]) < 1e-4


def measure(quick: bool) -> Iterator[Row]:
    """The rows of the table."""
    keep_freed_memory()  # as training does; asteroid gains as well
    rounds = 3 if quick else 15
    per_assignment = 0.0
    for outputs, goal in ((4, 50.0), (8, 800.0)):
        assert_equal(outputs)
        estimates, mixtures = signals(outputs)
        sides = {
            "mixit": ours(estimates, mixtures),
            "limit": limit(estimates, mixtures),
            "whole signals": whole_signals(estimates, mixtures),
            "calls": ours(*signals(outputs, time=10)),
            "asteroid": asteroid(estimates, mixtures),
        }
        times = in_turns(sides, rounds)
        with_calls = [one + other for one, other in zip(times["whole signals"], times["calls"], strict=True)]
        most, within = (Spread.ratio(times["asteroid"], of).median for of in (times["limit"], with_calls))
        distance = Spread.ratio(times["mixit"], times["limit"])
        per_assignment = medians(times)["asteroid"] / 2**outputs
        yield Row(
            f"MixIT loss, forward and backward, B={BATCH}, 4 s at 8 kHz, M={outputs}",
            "asteroid MixITLossWrapper",
            Spread.ratio(times["asteroid"], times["mixit"]),
            goal,
            limit=f"double-precision products, one read, one write: {short(most)} times; what the exact loss does to "
            f"whole signals, and its other calls of torch, as on 10 samples: {short(within)} times",
            distance=distance,
            seconds=medians(times),
        )
        floor = Spread.ratio(with_calls, times["limit"]).median
        yield Row(
            f"distance of the row above to its limit, M={outputs}",
            "that limit",
            distance,
            2,
            at_most=True,
            limit=f"whole signals and other calls: {short(floor)} times the limit",
        )

    assert_equals_loop(9, 2)
    assert_equals_loop(6, 3) if quick else assert_equals_loop(9, 3)
    sizes = {"M=8": (8, 2), "M=12": (12, 2), "M=16": (16, 2), "K=3, M=9": (9, 3)}
    given = {name: signals(*size) for name, size in sizes.items()}
    sides = {name: ours(*both) for name, both in given.items()}
    limits = {f"limit of {name}": limit(*both) for name, both in given.items()}
    times = in_turns({**sides, **limits}, rounds)
    for name, goal in (("M=12", 2.0), ("M=16", 6.0), ("K=3, M=9", 3.0)):
        outputs, targets = sizes[name]
        extrapolated = f"; asteroid, extrapolated: {short(per_assignment * 2**outputs)} s" if targets == 2 else ""
        yield Row(
            f"MixIT loss, {name}: {targets**outputs} assignments",
            f"own M=8{extrapolated}",
            Spread.ratio(times[name], times["M=8"]),
            goal,
            at_most=True,
            limit="its own products, read and write",
            distance=Spread.ratio(times[name], times[f"limit of {name}"]),
            seconds=medians(times),
        )


if __name__ == "__main__":
    run(measure, __doc__)
