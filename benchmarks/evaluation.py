"""How fast are 3,000 test mixtures scored: SI-SNR improvement of four outputs on two references, 4 s at 8 kHz?

The estimates are given; a network's time is not part of the question. Ours scores batches of 300 mixtures, with all
columns of the results, which beside the improvement are the best remix of all outputs and what is counted. The peers
give the improvement alone. Theirs is measured on some of the mixtures and taken times a mixture. Signals are generated
noise without offset, as asteroid removes offsets and the others do not; one batch is gone through ten times, which
is far more than a cache holds. Of torchmetrics' batches, larger ones than 20 are slower.

    python benchmarks/evaluation.py [--quick] [--json]
"""

import warnings
from collections.abc import Callable, Iterator
from itertools import combinations, permutations

import torch
from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr
from asteroid.metrics import get_metrics
from harness import Row, Spread, in_turns, medians, run, short
from torch import Tensor
from torchmetrics.functional.audio import permutation_invariant_training, scale_invariant_signal_distortion_ratio

from mixit_lightning.memory import keep_freed_memory
from mixit_lightning.metrics import separation_scores
from mixit_lightning.metrics.coordinates import inner_products

RATE, SECONDS, OUTPUTS, SOURCES = 8000, 4, 4, 2

MIXTURES, BATCH = 3000, 300

SMALLER = (8, 1)
"""Batches of the recipes' validation, and of their tests on whole mixtures."""

TOLERANCE = 1e-3
"""dB; the peers compute in single precision."""

Signals = tuple[Tensor, Tensor, Tensor]
"""Estimates `(batch, output, time)`, references `(batch, source, time)` and mixtures `(batch, time)`."""


def make_signals(count: int) -> Signals:
    """Outputs that hold both sources, at random levels, and noise."""
    generator = torch.Generator().manual_seed(0)
    references = torch.randn(count, SOURCES, SECONDS * RATE, generator=generator)
    levels = torch.rand(count, OUTPUTS, SOURCES, generator=generator)
    estimates = levels @ references + 0.1 * torch.randn(count, OUTPUTS, SECONDS * RATE, generator=generator)
    estimates, references = (signals - signals.mean(-1, keepdim=True) for signals in (estimates, references))
    return estimates, references, references.sum(1)


def ours(signals: Signals) -> Tensor:
    """The improvement, of all scores."""
    return separation_scores(*signals).si_snri


def improvement(mixture: Tensor, references: Tensor, estimates: Tensor) -> float:
    """By asteroid's `get_metrics`, of one mixture and as many estimates as references."""
    arrays = (signal.numpy() for signal in (mixture, references, estimates))
    found = get_metrics(*arrays, sample_rate=RATE, metrics_list=["si_sdr"])
    return found["si_sdr"] - found["input_si_sdr"]


def asteroid_choices(signals: Signals) -> Tensor:
    """`get_metrics` of every choice of two outputs in their order, and the best of these, one mixture at a time."""
    choices = [list(choice) for choice in permutations(range(OUTPUTS), SOURCES)]
    return torch.tensor(
        [
            max(improvement(mixture, references, estimates[choice]) for choice in choices)
            for estimates, references, mixture in zip(*signals, strict=True)
        ]
    )


def asteroid_pit(signals: Signals) -> Tensor:
    """`PITLossWrapper` orders the outputs, with silence for references there are not, and `get_metrics` scores them."""
    loss = PITLossWrapper(pairwise_neg_sisdr, pit_from="pw_mtx")
    found = []
    for estimates, references, mixture in zip(*signals, strict=True):
        padded = torch.nn.functional.pad(references, (0, 0, 0, OUTPUTS - SOURCES))
        ordered = loss(estimates[None], padded[None], return_est=True)[1][0]
        found.append(improvement(mixture, references, ordered[:SOURCES]))
    return torch.tensor(found)


def torchmetrics_pit(signals: Signals) -> Tensor:
    """`permutation_invariant_training` of every two outputs, and the best of these, for a whole batch.

    It takes as many outputs as references, and silence in the place of a reference would weigh in its choice.
    """
    estimates, references, mixtures = signals
    metric = scale_invariant_signal_distortion_ratio
    best = torch.stack(
        [
            permutation_invariant_training(estimates[:, list(pair)], references, metric, zero_mean=False)[0]
            for pair in combinations(range(OUTPUTS), SOURCES)
        ]
    ).amax(0)
    return best - metric(mixtures[:, None].expand_as(references), references, zero_mean=False).mean(-1)


def in_batches(function: Callable[[Signals], Tensor], size: int) -> Callable[[Signals], Tensor]:
    """The same for any number of mixtures, some at a time."""
    return lambda signals: torch.cat([function(some) for some in zip(*(p.split(size) for p in signals), strict=True)])


def measure(quick: bool) -> Iterator[Row]:
    """A row for each peer and each way to use it."""
    warnings.filterwarnings("ignore")  # of the peers' own dependencies
    keep_freed_memory()
    different = 100 if quick else BATCH
    signals = make_signals(different)
    some = 20 if quick else 100
    passes = 1 if quick else MIXTURES // different
    peers = {
        "asteroid's get_metrics of the 12 ordered pairs": asteroid_choices,
        "asteroid's PITLossWrapper and get_metrics": asteroid_pit,
        "torchmetrics' permutation_invariant_training, one mixture at a time": in_batches(torchmetrics_pit, 1),
        "torchmetrics' permutation_invariant_training, batches of 20": in_batches(torchmetrics_pit, 20),
    }
    part = tuple(signal[:some] for signal in signals)
    values = ours(signals)
    for name, peer in peers.items():
        difference = (peer(part) - values[:some]).abs().max().item()
        assert difference < TOLERANCE, f"{name}: {difference} dB apart"

    def over(function: Callable[[Signals], object]) -> Callable[[], None]:
        return lambda: [function(signals) for _ in range(passes)] and None

    sides: dict[str, Callable[[], object]] = {name: lambda peer=peer: peer(part) for name, peer in peers.items()}
    sides["ours"] = over(ours)
    sides |= {f"ours, batches of {size}": over(in_batches(ours, size)) for size in SMALLER}
    sides["reading"] = over(lambda signals: [signal.sum() for signal in signals])
    sides["products"] = over(lambda signals: inner_products((*signals[:2], signals[2][:, None])))
    scored = {name: some if name in peers else passes * different for name in sides}
    times = in_turns(sides, rounds=3 if quick else 7, warm_up=1)
    each = {name: [seconds / scored[name] for seconds in values] for name, values in times.items()}
    typical = {name: 1000 * seconds for name, seconds in medians(each).items()}
    limit = (
        f"reading the signals once, {short(typical['reading'])} ms a mixture; "
        f"their products in double precision take {short(typical['products'])} ms"
    )
    for name in peers:
        yield Row(
            question=f"Scoring {scored['ours']} mixtures, {OUTPUTS} outputs, {SOURCES} references",
            peer=name,
            ratio=Spread.ratio(each[name], each["ours"]),
            goal=20,
            limit=limit,
            distance=Spread.ratio(each["ours"], each["reading"]),
            seconds={side: medians(each)[side] for side in ("ours", name, "reading", "products")},
            note=f"seconds are those of a mixture; the peer scored {some}",
        )
    first = next(iter(peers))
    for size in SMALLER:
        name = f"ours, batches of {size}"
        yield Row(
            question=f"Scoring the same in batches of {size}",
            peer=first,
            ratio=Spread.ratio(each[first], each[name]),
            limit=limit,
            distance=Spread.ratio(each[name], each["reading"]),
            seconds={side: medians(each)[side] for side in (name, first)},
        )


if __name__ == "__main__":
    run(measure, __doc__)
