"""How long do a training step and an evaluation take on a shared machine, by how long threads of OpenMP spin?

A thread that waits for the others looks again and again whether they are done (it spins) before it sleeps. Libgomp's
own 300,000 looks take the cores from whatever else runs, the threads that are waited for included; `mixit` sets two
thousand where the user has set nothing. A step is that of `recipe=synthetic` (`tdcnpp-small`, 8 examples of 2 s), an
evaluation that of 20 of its test mixtures. All take turns, each in a process of its own; first on the machine as it
is, then beside two processes that do nothing but count.

    python benchmarks/waiting.py [--quick] [--json]
"""

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import lightning
import torch
from harness import Row, Spread, in_turns, medians, run

from mixit_lightning.cli import SPINS
from mixit_lightning.config import build, load_config
from mixit_lightning.training.parts import build_module

SPAWN = multiprocessing.get_context("spawn")
OURS = "two thousand"
POLICIES: dict[str, dict[str, str]] = {
    "as libgomp does": {},
    "none": {"OMP_WAIT_POLICY": "passive"},
    OURS: {"GOMP_SPINCOUNT": SPINS},
}
"""How often a thread looks whether it has waited long enough, before it sleeps, and the environment that says so."""

MIXTURES = 20
ROWS = {"step": "a training step", "evaluate": f"evaluation of {MIXTURES} test mixtures"}


def work(orders: Connection) -> None:
    """Do what is asked, in a process with one of the policies."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for progress bars and warnings
    settings = load_config(["datamodule.num_workers=0", f"datamodule.test_counts=[0,{MIXTURES}]"]).settings
    torch.manual_seed(0)
    module, datamodule = build_module(settings), build(settings, "datamodule")
    datamodule.setup()
    batch = next(iter(datamodule.train_dataloader()))
    mixtures = batch.mixtures.view(-1, 2, batch.mixtures.shape[-1])
    optimizer = torch.optim.Adam(module.parameters())
    tests = datamodule.test_dataloader()
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)

    def step() -> None:
        optimizer.zero_grad()
        losses = module.objective.unsupervised(module.separator(mixtures.sum(1)), mixtures)
        losses.mean().backward()
        optimizer.step()

    def evaluate() -> None:
        trainer.test(module, dataloaders=tests, verbose=False)

    does = {"step": step, "evaluate": evaluate}
    orders.send("ready")
    while order := orders.recv():
        does[order]()
        orders.send("done")


def count() -> None:
    """Keep a core busy."""
    while True:
        pass


@contextlib.contextmanager
def started(policy: str) -> Iterator[Connection]:
    """A process with a policy."""
    ours, theirs = SPAWN.Pipe()
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        os.environ.pop(name, None)
    os.environ |= POLICIES[policy]
    process = SPAWN.Process(target=work, args=(theirs,), daemon=True)
    process.start()
    ours.recv()
    yield ours
    ours.send(None)
    process.join()


def measure(quick: bool) -> Iterator[Row]:
    """Rows for the table."""
    with contextlib.ExitStack() as stack:
        processes = {policy: stack.enter_context(started(policy)) for policy in POLICIES}

        def asking(policy: str, order: str) -> Callable[[], None]:
            def ask() -> None:
                processes[policy].send(order)
                processes[policy].recv()

            return ask

        for busy in (0, 2):
            others = [SPAWN.Process(target=count, daemon=True) for _ in range(busy)]
            for other in others:
                other.start()
            time.sleep(2 if busy else 0)
            for order, question in ROWS.items():
                sides = {policy: asking(policy, order) for policy in POLICIES}
                times = in_turns(sides, rounds=3 if quick else 9, seconds=2.0, warm_up=1)
                where = "beside two busy processes" if busy else "on an idle machine"
                for policy in [policy for policy in POLICIES if policy != OURS]:
                    yield Row(
                        f"{question} {where}, two thousand spins",
                        f"spins {policy}" if policy != "none" else "none (OMP_WAIT_POLICY=passive)",
                        Spread.ratio(times[policy], times[OURS]),
                        seconds=medians(times),
                        note=f"{torch.get_num_threads()} threads",
                    )
            for other in others:
                other.kill()


if __name__ == "__main__":
    run(measure, __doc__)
