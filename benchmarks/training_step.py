"""How fast is a whole training step against asteroid's `System` with its `MixITLossWrapper`?

Each side lives in a process of its own, as the allocator's settings belong to a process: asteroid's as its users run
it, ours after what `mixit train` does first. They take turns, one computing at a time. A step is forward, loss,
backward, clipping (ours) and Adam on the same batch of noise with mean zero, from the same weights; before any is
timed, both say their loss. Asteroid has no such TDCN++: it trains the direct translation of `tdcnpp.py`, and in another
row our network, so that one sees what comes from where. On a GPU ours is compiled and runs in bfloat16, asteroid's in
float32.

    python benchmarks/training_step.py [--quick] [--json]
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

import torch
from harness import Row, Spread, in_turns, medians, run
from torch import Tensor, nn

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
BATCH, OUTPUTS, SAMPLE_RATE = (16 if GPU else 2), 4, 8000
NO_THRESHOLD = 1e6  # asteroid's SNR has none


@dataclass(frozen=True)
class Case:
    """A row of the table: what asteroid's side trains and what ours does."""

    question: str
    theirs: str
    ours: str
    goal: float | None


CASES = (
    Case("Conv-TasNet", "convtasnet", "convtasnet", 3 if GPU else 1.3),
    Case("TDCN++, asteroid with the direct translation", "translation", "tdcnpp", 3 if GPU else 1.3),
    Case("TDCN++, asteroid with our network", "tdcnpp", "tdcnpp", None),
)


def network_named(name: str) -> nn.Module:
    """The same weights in every process."""
    torch.manual_seed(0)
    if name == "convtasnet":
        from asteroid.models import ConvTasNet

        return ConvTasNet(n_src=OUTPUTS, sample_rate=SAMPLE_RATE)
    from tdcnpp import DirectTDCNpp

    from mixit_lightning.separators import TDCNpp

    ours = TDCNpp(num_outputs=OUTPUTS, sample_rate=SAMPLE_RATE)
    return ours if name == "tdcnpp" else DirectTDCNpp().copy_from(ours)


def mixtures_of(seconds: float) -> Tensor:
    """Noise with mean zero, (batch, mixture, time)."""
    mixtures = 0.1 * torch.randn(BATCH, 2, int(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(1))
    return (mixtures - mixtures.mean(-1, keepdim=True)).to(DEVICE)


class Asteroid:
    """Asteroid's side."""

    def __init__(self, network: str, mixtures: Tensor) -> None:
        from asteroid.engine import System
        from asteroid.losses import MixITLossWrapper, multisrc_neg_snr

        self.network = network_named(network).to(DEVICE)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        self.criterion = MixITLossWrapper(multisrc_neg_snr, generalized=True)
        self.system = System(self.network, self.optimizer, self.criterion, train_loader=None)
        self.inputs, self.mixtures = mixtures.sum(1), mixtures

    def loss_of(self, estimates: Tensor) -> Tensor:
        """Of a batch."""
        return self.criterion(estimates, self.mixtures)

    def step(self) -> float:
        """Train, and give the loss."""
        self.optimizer.zero_grad()
        loss = self.system.common_step((self.inputs, self.mixtures), 0)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Ours:
    """Our side."""

    def __init__(self, network: str, mixtures: Tensor) -> None:
        from mixit_lightning.data import TrainingBatch
        from mixit_lightning.memory import keep_freed_memory
        from mixit_lightning.objectives import Objective
        from mixit_lightning.separators import AsteroidSeparator
        from mixit_lightning.training.module import SeparationModule

        keep_freed_memory()
        separator = network_named(network)
        if network == "convtasnet":
            separator = AsteroidSeparator(separator, mixture_consistency="none")  # asteroid trains without
        objective = Objective(labelled_share=0, max_snr=NO_THRESHOLD)
        self.module = SeparationModule(separator, objective, torch.optim.Adam, lambda step: 1.0).to(DEVICE)
        self.module.log = lambda *arguments, **options: None  # there is no trainer here
        self.network = separator
        if GPU:
            separator.compile()
        self.optimizer = self.module.make_optimizer(self.module.parameters())
        self.inputs, self.mixtures = mixtures.sum(1), mixtures
        self.batch = TrainingBatch(mixtures.flatten(0, 1), mixtures.new_zeros(0, 0, mixtures.shape[-1]), [])

    def loss_of(self, estimates: Tensor) -> Tensor:
        """Of a batch."""
        return self.module.objective.unsupervised(estimates, self.mixtures).mean()

    def step(self) -> float:
        """Train, and give the loss."""
        self.optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, enabled=GPU):
            loss = self.module.training_step(self.batch, 0)
        loss.backward()
        self.module.configure_gradient_clipping(self.optimizer, 5.0)
        self.optimizer.step()
        return loss.item()


def serve(connection: Connection, kind: type[Asteroid] | type[Ours]) -> None:
    """A side's process: makes its side anew for `(network, seconds)`, and does what it is asked to."""
    side = None
    while (request := connection.recv()) is not None:
        if isinstance(request, tuple):
            name, seconds = request
            del side
            side = kind(name, mixtures_of(seconds))
            connection.send(None)
        elif request == "step":
            connection.send(side.step())  # .item() has waited for the device
        elif request == "network":
            connection.send(network_alone(side))
        else:
            connection.send(seconds_of_loss(side))


def network_alone(side: Asteroid | Ours) -> float:
    """Forward and backward without loss, clipping and optimizer."""
    side.optimizer.zero_grad()
    with torch.autocast("cuda", torch.bfloat16, enabled=GPU and isinstance(side, Ours)):
        estimates = side.network(side.inputs)
    estimates.backward(estimates.detach())
    return next(parameter.grad for parameter in side.network.parameters()).sum().item()  # waits for the device


def seconds_of_loss(side: Asteroid | Ours) -> float:
    """Forward and backward of the loss alone; the better of two."""
    with torch.no_grad():
        estimates = side.network(side.inputs)
    estimates.requires_grad_()

    def call() -> float:
        start = time.perf_counter()
        side.loss_of(estimates).backward()
        if GPU:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return min(call() for _ in range(2))


class Side:
    """The process of a side, as this one sees it."""

    def __init__(self, kind: type[Asteroid] | type[Ours]) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, kind), daemon=True)
        self.process.start()

    def ask(self, request: object) -> float:
        """Wait for the answer."""
        self.connection.send(request)
        return self.connection.recv()


def asking(side: Side, what: str) -> Callable[[], float]:
    """A step of a side, or its network alone."""
    return lambda: side.ask(what)


def measure(quick: bool) -> Iterator[Row]:
    """The rows of the table."""
    seconds, rounds = (0.5, 3) if quick else (4, 5)
    asteroid, ours = Side(Asteroid), Side(Ours)
    for case in CASES:
        for side, network in ((asteroid, case.theirs), (ours, case.ours)):
            side.ask((network, seconds))
        losses = [side.ask("step") for side in (asteroid, ours)]
        assert abs(losses[0] - losses[1]) < (0.1 if GPU else 1e-3), losses
        sides = {"mixit": asking(ours, "step"), "asteroid": asking(asteroid, "step"), "alone": asking(ours, "network")}
        times = in_turns(sides, rounds, warm_up=1)
        spent = medians(times)
        shares = [side.ask("loss") / spent[name] for name, side in (("asteroid", asteroid), ("mixit", ours))]
        yield Row(
            f"training step, {case.question}, B={BATCH}, {seconds} s at 8 kHz, M={OUTPUTS}",
            "asteroid System, MixITLossWrapper",
            Spread.ratio(times["asteroid"], times["mixit"]),
            case.goal,
            limit=f"our network's forward and backward alone: {spent['asteroid'] / spent['alone']:.2f} times",
            distance=Spread.ratio(times["mixit"], times["alone"]),
            seconds=spent,
            note=f"share of the step in the loss: asteroid {shares[0]:.1%}, ours {shares[1]:.1%}",
        )
    for side in (asteroid, ours):
        side.connection.send(None)


if __name__ == "__main__":
    run(measure, __doc__)
