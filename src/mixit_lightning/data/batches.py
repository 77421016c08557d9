"""Which items make up a batch, and reading them."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from .mixture import (
    EvaluationBatch,
    EvaluationMixtures,
    TrainingBatch,
    TrainingMixtures,
    fit_length,
    generator,
    stack_mixtures,
    stack_references,
)


class Drawing(NamedTuple):
    """A batch by numbers: labelled mixtures `labelled`, and unlabelled ones `unlabelled`."""

    labelled: range
    unlabelled: range


class TrainingSampler(Sampler[Drawing]):
    """Numbers of the mixtures of every batch; a function of the seed and the number of the batch alone.

    `batch_size * labelled_share` examples of a batch are labelled: exactly where that is whole, otherwise the next
    lower or higher number, so that it is right in expectation. Each unlabelled example takes `num_mixtures` mixtures.
    Processes that train together take turns at the batches.

    Args:
        batch_size: examples (inputs of the network) of a batch.
        labelled_share: 0 to 1.
        num_mixtures: mixtures that are added up for one unlabelled example.
        steps: batches of an epoch, for each process.
        seed: of the rounding of labelled shares.
        steps_taken: asked before every epoch how many batches each process has trained on, so that a resumed run goes
            on with the next one.
        rank: number of this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        batch_size: int,
        labelled_share: float,
        num_mixtures: int,
        steps: int,
        seed: int,
        steps_taken: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.batch_size = batch_size
        self.labelled_share = labelled_share
        self.num_mixtures = num_mixtures
        self.steps = steps
        self.seed = seed
        self.steps_taken = steps_taken
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return self.steps

    def labelled_counts(self, batches: int) -> np.ndarray:
        """Labelled examples of each of the first batches of a run."""
        wanted = round(self.batch_size * self.labelled_share, 9)
        return int(wanted) + (generator(self.seed).random(batches) < wanted % 1).astype(int)

    def __iter__(self) -> Iterator[Drawing]:
        first = self.steps_taken() * self.world_size
        counts = self.labelled_counts(first + self.steps * self.world_size)
        starts = np.cumsum(counts) - counts
        for batch in range(first + self.rank, len(counts), self.world_size):
            start, count = int(starts[batch]), int(counts[batch])
            unlabelled = range(batch * self.batch_size - start, (batch + 1) * self.batch_size - start - count)
            yield Drawing(
                range(start, start + count),
                range(unlabelled.start * self.num_mixtures, unlabelled.stop * self.num_mixtures),
            )


class TrainingDataset(Dataset[TrainingBatch]):
    """Batches for the drawings of a `TrainingSampler`."""

    def __init__(self, mixtures: TrainingMixtures) -> None:
        self.mixtures = mixtures

    def __getitem__(self, drawing: Drawing) -> TrainingBatch:
        labelled = [self.mixtures.draw(number, labelled=True) for number in drawing.labelled]
        items = labelled + [self.mixtures.draw(number, labelled=False) for number in drawing.unlabelled]
        mixtures = stack_mixtures(items)
        references = stack_references(labelled) if labelled else mixtures.new_zeros(0, 0, mixtures.shape[-1])
        return TrainingBatch(mixtures, references, [item.name for item in items])


class EvaluationDataset(Dataset[EvaluationBatch]):
    """A fixed list in batches; nothing is dropped, and the last batch may be smaller.

    Mixtures of mixtures are made of each mixture and the ones that follow it in the list, cut or padded to its length,
    so that they do not depend on the batch size.
    """

    def __init__(self, mixtures: EvaluationMixtures, batch_size: int, num_mixtures: int) -> None:
        self.mixtures = mixtures
        self.batch_size = batch_size
        self.num_mixtures = num_mixtures

    def __len__(self) -> int:
        return -(-len(self.mixtures) // self.batch_size)

    def __getitem__(self, batch: int) -> EvaluationBatch:
        numbers = range(batch * self.batch_size, min(len(self.mixtures), (batch + 1) * self.batch_size))
        needed = {n % len(self.mixtures) for first in numbers for n in range(first, first + self.num_mixtures)}
        loaded = {number: self.mixtures[number] for number in needed}
        items = [loaded[number] for number in numbers]
        partners = [
            torch.stack(
                [
                    fit_length(loaded[(number + step) % len(self.mixtures)].mixture, item.mixture.shape[-1])
                    for step in range(1, self.num_mixtures)
                ]
            )
            for number, item in zip(numbers, items, strict=True)
        ]
        return EvaluationBatch(
            stack_mixtures(items), stack_references(items), torch.stack(partners), [item.name for item in items]
        )
