"""Mixtures and batches that data modules give to training and evaluation."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import default_collate

from ..errors import UserError


class Mixture(NamedTuple):
    """One recording, with the references that it is the sum of where these are known."""

    name: str
    """Name for messages and tables: it says which files went into the mixture."""
    mixture: Tensor
    """`(time,)`."""
    references: Tensor
    """`(source, time)`; no rows where the sources are not known or not asked for."""

    def render(self) -> "Mixture":
        """The mixture itself: there is nothing to convolve."""
        return self


class Margin(NamedTuple):
    """Samples of a recording before and after a crop of it; silence beyond the recording."""

    before: int
    after: int

    def around(self, samples: np.ndarray, start: int, length: int) -> np.ndarray:
        """The crop of `length` samples from `start` with its margin, out of the whole recording `(time,)`."""
        first, last = start - self.before, start + length + self.after
        inside = samples[max(0, first) : last]
        if len(inside) == last - first:
            return inside
        return np.pad(inside, (max(0, -first), max(0, last - max(len(samples), first))))


NO_MARGIN = Margin(0, 0)


class Sources(NamedTuple):
    """The sources of a mixture that is still to be added up."""

    name: str
    signals: Tensor
    """`(source, before + time + after)`: the sources of a mixture, each with a margin of the same recording."""

    def mixed(self) -> Mixture:
        """Their sum, where there is no room and no margin."""
        return Mixture(self.name, self.signals.sum(0), self.signals)


class LazyMixture(Protocol):
    """A mixture, or its sources where they are still to be convolved with room impulse responses."""

    @property
    def name(self) -> str:
        """See `Mixture`."""

    def render(self) -> Mixture:
        """Convolve the sources and add them up."""


class TrainingMixtures(Protocol):
    """Endless mixtures to train on, by number: one number gives one mixture, in every process and every run."""

    def draw(self, number: int, *, labelled: bool) -> LazyMixture:
        """Mixture of that number among the labelled or the unlabelled; unlabelled ones come without references."""


class EvaluationMixtures(Protocol):
    """A fixed list of mixtures with their references."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Mixture: ...


class TrainingBatch(NamedTuple):
    """Items of one training step, the labelled ones first."""

    mixtures: Tensor
    """`(item, time)`."""
    references: Tensor
    """`(labelled item, source, time)`, padded with silence to the same number of sources."""
    names: list[str]


class EvaluationBatch(NamedTuple):
    """Items of one validation or test step."""

    mixtures: Tensor
    """`(item, time)`."""
    references: Tensor
    """`(item, source, time)`, padded with silence to the same number of sources."""
    partners: Tensor
    """`(item, mixture - 1, time)`: what is added to each mixture to make a mixture of mixtures; no rows where none are
    wanted."""
    names: list[str]


class LabelledAndUnlabelled:
    """Training mixtures that draw labelled mixtures from one set and unlabelled ones from another.

    Args:
        labelled: None where no example is labelled.
        unlabelled: None where all are.
    """

    def __init__(self, labelled: TrainingMixtures | None, unlabelled: TrainingMixtures | None) -> None:
        self.mixtures = {True: labelled, False: unlabelled}

    def draw(self, number: int, *, labelled: bool) -> LazyMixture:
        """Mixture of that number among those of its kind."""
        mixtures = self.mixtures[labelled]
        assert mixtures is not None, "the sampler draws from what labelled_share asks for"
        return mixtures.draw(number, labelled=labelled)


def unlabelled(name: str, samples: np.ndarray) -> Mixture:
    """An unlabelled recording `(time,)` as a mixture without references."""
    return Mixture(name, torch.from_numpy(samples.astype(np.float32)), torch.zeros(0, len(samples)))


def generator(*numbers: int) -> np.random.Generator:
    """A random generator that depends on these numbers alone, so that no worker or restart changes what is drawn."""
    return np.random.default_rng(numbers)


def stack_mixtures(items: Sequence[Mixture]) -> Tensor:
    """`(item, time)`, in shared memory where a loading process makes the batch, so that it need not be copied there.

    Raises:
        UserError: the lengths differ.
    """
    lengths = {item.mixture.shape[-1] for item in items}
    if len(lengths) > 1:
        shortest = min(items, key=lambda item: item.mixture.shape[-1])
        raise UserError(f"{shortest.name}: shorter than others of its batch; set datamodule.evaluation_batch_size=1")
    return default_collate([item.mixture for item in items])


def stack_references(items: Sequence[Mixture]) -> Tensor:
    """`(item, source, time)`, padded with silence to the largest number of sources; shared as mixtures are."""
    most = max(len(item.references) for item in items)
    return default_collate([functional.pad(item.references, (0, 0, 0, most - len(item.references))) for item in items])


def fit_length(waveform: Tensor, length: int) -> Tensor:
    """Cut, or pad with silence at the end, to `length` samples."""
    return functional.pad(waveform[..., :length], (0, max(0, length - waveform.shape[-1])))
