"""What data modules hand to training and evaluation."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..errors import UserError


class Mixture(NamedTuple):
    """One known recording, and what it is the sum of where that is known."""

    name: str
    """For messages and tables: says which files went into it."""
    mixture: Tensor
    """`(time,)`."""
    references: Tensor
    """`(source, time)`; no rows where the sources are not known or not asked for."""


class TrainingMixtures(Protocol):
    """Endless mixtures to train on, by number: one number gives one mixture, in every process and every run."""

    def draw(self, number: int, *, labelled: bool) -> Mixture:
        """Mixture of that number among the labelled or the unlabelled; unlabelled ones come without references."""
        ...


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
    """`(item, mixture - 1, time)`: what is added to each mixture to make a mixture of mixtures."""
    names: list[str]


def generator(*numbers: int) -> np.random.Generator:
    """A random generator that depends on these numbers alone, so that no worker or restart changes what is drawn."""
    return np.random.default_rng(numbers)


def stack_mixtures(items: Sequence[Mixture]) -> Tensor:
    """`(item, time)`.

    Raises:
        UserError: the lengths differ.
    """
    lengths = {item.mixture.shape[-1] for item in items}
    if len(lengths) > 1:
        shortest = min(items, key=lambda item: item.mixture.shape[-1])
        raise UserError(f"{shortest.name}: shorter than others of its batch; set datamodule.evaluation_batch_size=1")
    return torch.stack([item.mixture for item in items])


def stack_references(items: Sequence[Mixture]) -> Tensor:
    """`(item, source, time)`, padded with silence to the largest number of sources."""
    most = max(len(item.references) for item in items)
    return torch.stack([functional.pad(item.references, (0, 0, 0, most - len(item.references))) for item in items])


def fit_length(waveform: Tensor, length: int) -> Tensor:
    """Cut, or pad with silence at the end, to `length` samples."""
    return functional.pad(waveform[..., :length], (0, max(0, length - waveform.shape[-1])))
