"""Mixing on the fly: new pairs at new levels for every number drawn."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from ..errors import UserError
from .mixture import NO_MARGIN, Margin, Mixture, Sources, generator

REFERENCE_RMS = 0.05
"""Root mean square of a source at 0 dB; leaves room for a mixture of mixtures below full scale."""


class SoundPool(Protocol):
    """Sounds sorted into groups (speakers, kinds), of which a mixture never takes two from one group."""

    @property
    def groups(self) -> Sequence[str]:
        """Names of the groups."""

    def draw(
        self, group: str, rng: np.random.Generator, length: int | None, margin: Margin = NO_MARGIN
    ) -> tuple[str, np.ndarray]:
        """Name and samples of a random sound at RMS 1, with a margin: `length` samples, or all where that is None."""


class DynamicMixtures:
    """Endless mixtures of one or more sounds from different groups, by number.

    Args:
        labelled: where the sources of labelled mixtures come from.
        unlabelled: where those of unlabelled mixtures come from.
        source_shares: shares of mixtures with one, two, ... sources; `(0, 1)` is always two, `(0.5, 0.5)` is the
            1-or-2-source task of the MixIT paper.
        length: samples; None mixes whole sounds and cuts them to the shortest.
        max_level: dB; every source is at a level drawn uniformly between `-max_level` and `max_level`.
        seed: of the random mixtures.

    Raises:
        UserError: the shares are none, or a mixture would need more groups than there are.
    """

    def __init__(
        self,
        labelled: SoundPool,
        unlabelled: SoundPool,
        source_shares: Sequence[float],
        length: int | None,
        max_level: float,
        seed: int,
    ) -> None:
        if min(source_shares, default=0) < 0 or sum(source_shares) <= 0:
            raise UserError(f"datamodule.source_shares={list(source_shares)} must be shares, and not all zero")
        self.pools = {True: labelled, False: unlabelled}
        for pool in self.pools.values():
            check_groups(pool, source_shares, "source_shares")
        self.source_shares = np.array(source_shares) / np.sum(source_shares)
        self.max_sources = int(np.flatnonzero(self.source_shares)[-1]) + 1
        self.length = length
        self.max_level = max_level
        self.seed = seed

    def draw(self, number: int, *, labelled: bool) -> Mixture:
        """Mixture of that number; unlabelled ones come without references."""
        mixture = self.draw_sources(number, labelled=labelled, margin=NO_MARGIN).mixed()
        return mixture if labelled else mixture._replace(references=mixture.references[:0])

    def draw_sources(self, number: int, *, labelled: bool, margin: Margin) -> Sources:
        """Sources of the mixture of that number."""
        rng = generator(self.seed, number, labelled)
        num_sources = int(rng.choice(len(self.source_shares), p=self.source_shares)) + 1
        return self.choose(rng, self.pools[labelled], num_sources, margin)

    def choose(self, rng: np.random.Generator, pool: SoundPool, num_sources: int, margin: Margin) -> Sources:
        """Sounds of `num_sources` different groups at random levels."""
        groups = rng.choice(len(pool.groups), num_sources, replace=False)
        drawn = [pool.draw(pool.groups[group], rng, self.length, margin) for group in groups]
        names, sounds = zip(*drawn, strict=True)
        levels = rng.uniform(-self.max_level, self.max_level, num_sources)
        length = min(len(sound) for sound in sounds)
        gains = REFERENCE_RMS * 10 ** (levels / 20)
        signals = np.stack([gain * sound[:length] for gain, sound in zip(gains, sounds, strict=True)])
        name = "_".join(f"{name}_{level:+.2f}" for name, level in zip(names, levels, strict=True))
        return Sources(name, torch.from_numpy(signals.astype(np.float32)))


class FixedMixtures:
    """A fixed list out of endless mixtures: `counts[n]` mixtures of n + 1 sources, the same on every machine.

    Raises:
        UserError: the counts are none, or a mixture would need more groups than there are.
    """

    def __init__(self, mixtures: DynamicMixtures, counts: Sequence[int]) -> None:
        if sum(counts) < 1:
            raise UserError(f"datamodule.validation_counts and test_counts must not be all zero, as {list(counts)} is")
        check_groups(mixtures.pools[True], counts, "validation_counts or test_counts")
        self.mixtures = mixtures
        # The most sources first: partners of mixtures of mixtures are the neighbours in the list.
        self.num_sources = [n + 1 for n, count in enumerate(counts) for _ in range(count)][::-1]
        self.max_sources = max(self.num_sources)

    def __len__(self) -> int:
        return len(self.num_sources)

    def __getitem__(self, number: int) -> Mixture:
        return self.sources(number, NO_MARGIN).mixed()

    def sources(self, number: int, margin: Margin) -> Sources:
        """Sources of the mixture of that number."""
        mixtures = self.mixtures
        rng = generator(mixtures.seed, number)
        return mixtures.choose(rng, mixtures.pools[True], self.num_sources[number], margin)


def check_groups(pool: SoundPool, by_sources: Sequence[float], key: str) -> None:
    """Refuse mixtures of more sources than the pool has groups."""
    most = max(number for number, value in enumerate(by_sources, 1) if value)
    if most > len(pool.groups):
        raise UserError(f"datamodule.{key} asks for {most} sources, but there are {len(pool.groups)} to choose from")
