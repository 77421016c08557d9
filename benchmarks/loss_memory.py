"""How much memory does the MixIT loss keep for the backward pass, against asteroid's?

What autograd saves is counted by the storages that it holds on to. Left out are the estimates and mixtures themselves,
which the network holds anyway, and what is shorter than a signal (matrices, energies), on both sides.

    python benchmarks/loss_memory.py [--quick] [--json]
"""

from collections.abc import Callable, Iterator

import torch
from harness import Row, Spread, run
from mixit_loss import ASTEROID, BATCH, TIME, signals
from torch import Tensor

from mixit_lightning.objectives import mixit


def kept(loss: Callable[[Tensor, Tensor], Tensor], estimates: Tensor, mixtures: Tensor) -> int:
    """Bytes of all tensors that are as long as a signal."""
    given = {tensor.untyped_storage().data_ptr() for tensor in (estimates, mixtures)}
    storages: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in given and storage.nbytes() >= 4 * estimates.shape[-1]:
            storages[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = loss(estimates, mixtures)
    assert result.requires_grad
    return sum(storage.nbytes() for storage in storages.values())


def ours(estimates: Tensor, mixtures: Tensor) -> Tensor:
    """Our loss."""
    return mixit(estimates, mixtures).loss.mean()


def measure(quick: bool) -> Iterator[Row]:
    """The rows of the table."""
    error = 4 * BATCH * 2 * TIME
    for outputs in (4, 6 if quick else 8):
        both = signals(outputs)
        mine, theirs = kept(ours, *both), kept(ASTEROID, *both)
        yield Row(
            f"memory kept for backward, M={outputs}: {mine / 2**20:.2f} MiB",
            f"asteroid: {theirs / 2**20:.0f} MiB",
            Spread.of([theirs / mine]),
            2.0**outputs,
            limit="the error of the mixtures, which is what the gradient is made of",
            distance=Spread.of([mine / error]),
        )
    most = [kept(ours, *signals(outputs)) for outputs in (4, 12, 16)]
    yield Row(
        "memory kept for backward, M=16: 65536 assignments", "own M=4", Spread.of([most[2] / most[0]]), 1.01, True
    )


if __name__ == "__main__":
    run(measure, __doc__)
