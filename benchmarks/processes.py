"""What do two processes gain over one, and how much of a step do they spend on telling each other?

A step is that of training: forward, loss, backward, clipping, Adam, the sums over the processes that are logged, and
the question whether anyone was asked to stop. Each side trains the same examples from the same weights; before any is
timed, the gradients of both are compared. What communication costs is how much longer a step takes than without it, in
the same run. On a CPU the two processes have a core each, one process has both or one; on GPUs each has its own.

    python benchmarks/processes.py [--quick] [--json]
"""

import contextlib
import copy
import socket
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection

import torch
from harness import Row, Spread, in_turns, medians, run
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from mixit_lightning.config import ROOT
from mixit_lightning.objectives import Objective
from mixit_lightning.processes import any_of, summed

GPUS = torch.cuda.device_count() >= 2
BATCH, SAMPLE_RATE, SECONDS = (32, 8000, 4.0) if GPUS else (8, 8000, 2.0)
SEPARATOR = "tdcnpp" if GPUS else "tdcnpp-small"


class Side:
    """One process's network and its steps."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.device = torch.device("cuda", rank) if GPUS else torch.device("cpu")
        torch.manual_seed(0)
        described = OmegaConf.load(ROOT / "conf" / "separator" / f"{SEPARATOR}.yaml")
        network = instantiate(described, sample_rate=SAMPLE_RATE, num_outputs=4).to(self.device)
        self.objective = Objective(labelled_share=0.0).to(self.device)
        generator = torch.Generator().manual_seed(1)
        mixtures = 0.1 * torch.randn(BATCH, 2, round(SECONDS * SAMPLE_RATE), generator=generator)
        self.mixtures = mixtures.to(self.device)
        self.networks: dict[str, nn.Module] = {
            "alone": network,
            "together": DistributedDataParallel(
                copy.deepcopy(network), broadcast_buffers=False, gradient_as_bucket_view=True
            ),
            "silent": copy.deepcopy(network),
        }
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), lr=1e-4) for name, network in self.networks.items()
        }

    def step(self, name: str, threads: int) -> None:
        """Train on all examples, or on this process's."""
        torch.set_num_threads(threads)
        network, optimizer = self.networks[name], self.optimizers[name]
        mixtures = self.mixtures if name == "alone" else self.mixtures[self.rank :: 2]
        optimizer.zero_grad()
        losses = self.objective.unsupervised(network(mixtures.sum(1)), mixtures)
        values = torch.stack([losses.detach().sum(), losses.new_tensor(float(len(losses)))])
        if name == "together":
            values = summed(values)
        assert values.isfinite().all()
        losses.mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        if name == "together":
            any_of(False, self.device)
        if GPUS:
            torch.cuda.synchronize(self.device)

    def gradients(self, name: str) -> Tensor:
        """All of them, as the last step left them."""
        return torch.cat([parameter.grad.flatten() for parameter in self.networks[name].parameters()])


def join(rank: int, port: int) -> Side:
    """Meet the other process."""
    distributed.init_process_group(
        "nccl" if GPUS else "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    return Side(rank)


def follow(port: int, orders: Connection) -> None:
    """The second process: do what the first says."""
    side = join(1, port)
    while order := orders.recv():
        side.step(*order)
        orders.send(None)


def free_port() -> int:
    """One that nobody listens on."""
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def measure(quick: bool) -> Iterator[Row]:
    """Rows for the table."""
    port = free_port()
    orders, theirs = get_context("spawn").Pipe()
    other = get_context("spawn").Process(target=follow, args=(port, theirs), daemon=True)
    other.start()
    side = join(0, port)

    def both(name: str) -> Callable[[], None]:
        def step() -> None:
            orders.send((name, 1))
            side.step(name, 1)
            orders.recv()

        return step

    sides: dict[str, Callable[[], None]] = {
        "one process": lambda: side.step("alone", 1),
        "two processes": both("together"),
        "two that are silent": both("silent"),
    }
    if not GPUS:
        sides["one process, two threads"] = lambda: side.step("alone", 2)
    sides["one process"]()
    sides["two processes"]()
    torch.testing.assert_close(side.gradients("together"), side.gradients("alone"), rtol=1e-4, atol=1e-6)
    times = in_turns(sides, rounds=4 if quick else 15, seconds=0.5)
    orders.send(None)
    other.join()
    distributed.destroy_process_group()
    seconds = medians(times)
    question = f"a training step of {SEPARATOR} by two processes ({'a GPU' if GPUS else 'a core'} each)"
    note = f"{BATCH} examples of {SECONDS:g} s"
    for name in (name for name in sides if name.startswith("one")):
        yield Row(question, name, Spread.ratio(times[name], times["two processes"]), seconds=seconds, note=note)
    slower = Spread.ratio(times["two processes"], times["two that are silent"])
    yield Row(question, "the same without communication", slower, at_most=True, seconds=seconds, note=note)


if __name__ == "__main__":
    run(measure, __doc__)
