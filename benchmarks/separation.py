"""How fast is the separation of long recordings, against asteroid's `LambdaOverlapAdd` and the network alone, and how
well do its windows join?

Ten minutes of generated sound at 16 kHz, and a small TDCN++ that is not trained, on which no time depends. Asteroid's
way has the same window, its overlap of half a window, and its reordering of outputs. Errors are to the
network run over a minute at once; at the borders is in the overlaps.

    python benchmarks/separation.py [--quick] [--json]
"""

import itertools
import math
from collections.abc import Iterator

import torch
from asteroid.dsp.overlap_add import LambdaOverlapAdd
from harness import Row, Spread, in_turns, medians, run
from torch import Tensor, nn

from mixit_lightning.inference import Separator
from mixit_lightning.inference.chunks import chunk_starts
from mixit_lightning.memory import keep_freed_memory
from mixit_lightning.separators import TDCNpp

RATE, WINDOW, OVERLAP = 16000, 30.0, 3.0


class ForAsteroid(nn.Module):
    """The network as asteroid calls it: (1, time) to (1, output, time)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.sample_rate = RATE

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate."""
        return self.network(mixture.reshape(1, -1))


def sounds(seconds: float) -> Tensor:
    """Noise that comes and goes."""
    torch.manual_seed(0)
    time = torch.arange(int(seconds * RATE)) / RATE
    return 0.1 * torch.randn(len(time)) * (1.1 + torch.sin(2 * torch.pi * 0.7 * time))


def errors(outputs: Tensor, whole: Tensor, borders: list[tuple[int, int]]) -> tuple[float, float]:
    """Mean error at the borders and elsewhere, both to the energy of the outputs."""
    error = (outputs - whole).square().sum(0) / whole.square().sum(0).mean()
    at_borders = torch.zeros(len(error), dtype=torch.bool)
    for start, stop in borders:
        at_borders[start:stop] = True
    return error[at_borders].mean().item(), error[~at_borders].mean().item()


@torch.inference_mode()
def measure(quick: bool) -> Iterator[Row]:
    """The rows of the table."""
    keep_freed_memory()
    torch.manual_seed(1)
    network = TDCNpp(sample_rate=RATE, bottleneck=64, conv_channels=128, repeats=2).eval()
    waveform = sounds(40 if quick else 600)
    separator = Separator(network, RATE, 4, window=WINDOW, overlap=OVERLAP, device="cpu")
    window = int(WINDOW * RATE)
    asteroid = LambdaOverlapAdd(ForAsteroid(network), 4, window, window // 2, reorder_chunks=True)
    pieces = waveform.split(window)
    sides = {
        "separate": lambda: separator.separate(waveform, RATE),
        "asteroid": lambda: asteroid(waveform[None, None]),
        "network alone": lambda: [network(piece[None]) for piece in pieces],
    }
    times = in_turns(sides, 2 if quick else 7, warm_up=1)
    assert torch.allclose(separator.separate(waveform, RATE).sum(0), waveform, atol=1e-4)
    yield Row(
        f"separating {len(waveform) / RATE:.0f} s at 16 kHz in windows of 30 s",
        "asteroid LambdaOverlapAdd",
        Spread.ratio(times["asteroid"], times["separate"]),
        1,
        limit="the network alone, 30 s at a time",
        distance=Spread.ratio(times["separate"], times["network alone"]),
        seconds=medians(times),
    )
    yield Row(
        "separating, overlaps included",
        "the network alone",
        Spread.ratio(times["separate"], times["network alone"]),
        1.2,
        at_most=True,
    )
    part = sounds(40 if quick else 60)
    whole = network(part[None])[0]
    *starts, length = chunk_starts(len(part), window, int(OVERLAP * RATE))
    ours = [(start, previous + length) for previous, start in itertools.pairwise(starts)]
    theirs = [(start - window // 8, start + window // 8) for start in range(window // 2, len(part), window // 2)]
    at_ours, elsewhere = errors(separator.separate(part, RATE), whole, ours)
    at_theirs, _ = errors(asteroid(part[None, None])[0], whole, theirs)
    yield Row(
        f"error at the borders of windows: {10 * math.log10(at_ours):.1f} dB",
        f"elsewhere: {10 * math.log10(elsewhere):.1f} dB",
        Spread.of([at_ours / elsewhere]),
        1,
        at_most=True,
    )
    yield Row("the same", f"asteroid: {10 * math.log10(at_theirs):.1f} dB", Spread.of([at_theirs / at_ours]), 1)


if __name__ == "__main__":
    run(measure, __doc__)
