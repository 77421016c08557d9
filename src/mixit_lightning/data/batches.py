"""Choosing the items of each batch, and reading them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from ..errors import UserError
from .mixture import (
    EvaluationBatch,
    EvaluationMixtures,
    LazyMixture,
    TrainingBatch,
    TrainingMixtures,
    fit_length,
    generator,
    stack_mixtures,
    stack_references,
)


class Drawing(NamedTuple):
    """A batch by numbers of its labelled and of its unlabelled examples, each kind counted by itself."""

    labelled: range
    unlabelled: range

    def members(self, num_mixtures: int) -> list[int]:
        """Numbers of the mixtures that the unlabelled examples are made of."""
        return [example * num_mixtures + member for example in self.unlabelled for member in range(num_mixtures)]


@dataclass(eq=False)
class TrainingSampler(Sampler[Drawing]):
    """Numbers of the examples of every batch; a function of the seed and the number of the batch alone.

    `batch_size * labelled_share` examples of a batch are labelled: exactly where that is whole, otherwise the next
    lower or higher number, so that it is right in expectation. Processes that train together take turns at the examples
    of each batch, so that together they train on the batches that one alone would.

    Args:
        batch_size: examples (inputs of the network) of a batch, of all processes together.
        labelled_share: 0 to 1.
        steps: batches of an epoch.
        seed: of the rounding of labelled shares.
        steps_taken: asked before every epoch how many batches have been trained on, so that a resumed run goes on with
            the next one, in the middle of an epoch as well.
        rank: number of this process.
        world_size: number of processes.
        repeated: the first so many batches are drawn again and again; 0 draws new ones throughout.

    Raises:
        UserError: the processes cannot share a batch evenly.
    """

    batch_size: int
    labelled_share: float
    steps: int
    seed: int
    steps_taken: Callable[[], int] = lambda: 0
    rank: int = 0
    world_size: int = 1
    repeated: int = 0

    def __post_init__(self) -> None:
        if self.batch_size % self.world_size:
            raise UserError(
                f"datamodule.batch_size={self.batch_size}: {self.world_size} processes cannot share it evenly; it "
                "counts the examples of all of them"
            )

    def __len__(self) -> int:
        return self.steps

    def labelled_counts(self, batches: int) -> np.ndarray:
        """Labelled examples of each of the first batches of a run."""
        wanted = round(self.batch_size * self.labelled_share, 9)
        return int(wanted) + (generator(self.seed).random(batches) < wanted % 1).astype(int)

    def __iter__(self) -> Iterator[Drawing]:
        first = self.steps_taken()
        counts = self.labelled_counts((first // self.steps + 1) * self.steps)
        starts = np.cumsum(counts) - counts
        for batch in range(first, len(counts)):
            batch = batch % self.repeated if self.repeated else batch
            start, count = int(starts[batch]), int(counts[batch])
            labelled = range(start, start + count)
            unlabelled = range(batch * self.batch_size - start, (batch + 1) * self.batch_size - start - count)
            turn = (self.rank - count) % self.world_size
            yield Drawing(labelled[self.rank :: self.world_size], unlabelled[turn :: self.world_size])


class DrawnBatch(NamedTuple):
    """Items of one training step as they were drawn; reverberant ones are still to be convolved."""

    items: list[LazyMixture]
    """The labelled ones first."""
    num_labelled: int
    silent: list[int]
    """Numbers of the items that are left silent."""

    def render(self) -> TrainingBatch:
        """Convolve, on the device that the items are on."""
        items = [item.render() for item in self.items]
        mixtures = stack_mixtures(items)
        mixtures[self.silent] = 0
        labelled = items[: self.num_labelled]
        references = stack_references(labelled) if labelled else mixtures.new_zeros(0, 0, mixtures.shape[-1])
        return TrainingBatch(mixtures, references, [item.name for item in items])


@dataclass(eq=False)
class TrainingDataset(Dataset[TrainingBatch | DrawnBatch]):
    """Batches for the drawings of a `TrainingSampler`.

    Args:
        mixtures: what to draw from.
        num_mixtures: mixtures that are added up for one unlabelled example.
        silent_share: share of the unlabelled examples of which one mixture is left silent.
        seed: of which ones these are.
        lazy: whether to leave the convolution with room impulse responses to the device that trains.
    """

    mixtures: TrainingMixtures
    num_mixtures: int = 2
    silent_share: float = 0.0
    seed: int = 0
    lazy: bool = False

    def __getitem__(self, drawing: Drawing) -> TrainingBatch | DrawnBatch:
        members = drawing.members(self.num_mixtures)
        items = [self.mixtures.draw(number, labelled=True) for number in drawing.labelled]
        items += [self.mixtures.draw(number, labelled=False) for number in members]
        silent = []
        for example, first in enumerate(range(len(drawing.labelled), len(items), self.num_mixtures)):
            rng = generator(self.seed, 3, drawing.unlabelled[example])
            if rng.random() < self.silent_share:
                silent.append(first + int(rng.integers(self.num_mixtures)))
        batch = DrawnBatch(items, len(drawing.labelled), silent)
        return batch if self.lazy else batch.render()


class EvaluationDataset(Dataset[EvaluationBatch]):
    """A fixed list in batches; nothing is dropped, and the last batch may be smaller.

    Mixtures of mixtures are made of each mixture and the ones that follow its number in the list of partners, cut or
    padded to its length, so that they do not depend on the batch size. A list of fewer mixtures than are added up has
    none, as a mixture cannot be its own partner.

    Args:
        mixtures: the list.
        batch_size: of all batches but the last.
        num_mixtures: mixtures of a mixture of mixtures; 1 is none.
        partners: by default the list itself.
    """

    def __init__(
        self,
        mixtures: EvaluationMixtures,
        batch_size: int,
        num_mixtures: int,
        partners: EvaluationMixtures | None = None,
    ) -> None:
        self.mixtures = mixtures
        self.batch_size = batch_size
        self.num_mixtures = num_mixtures if partners is not None or len(mixtures) >= num_mixtures else 1
        self.partners = mixtures if partners is None else partners

    def __len__(self) -> int:
        return -(-len(self.mixtures) // self.batch_size)

    def __getitem__(self, batch: int) -> EvaluationBatch:
        numbers = range(batch * self.batch_size, min(len(self.mixtures), (batch + 1) * self.batch_size))
        loaded = {number: self.mixtures[number] for number in numbers}
        others = loaded if self.partners is self.mixtures else {}
        partners = []
        for number in numbers:
            for follower in range(number + 1, number + self.num_mixtures):
                index = follower % len(self.partners)
                if index not in others:
                    others[index] = self.partners[index]
                partners.append(fit_length(others[index].mixture, loaded[number].mixture.shape[-1]))
        items = [loaded[number] for number in numbers]
        mixtures = stack_mixtures(items)
        groups = torch.stack(partners) if partners else mixtures[:0]
        groups = groups.view(len(items), self.num_mixtures - 1, mixtures.shape[-1])
        return EvaluationBatch(mixtures, stack_references(items), groups, [item.name for item in items])
