"""Mixtures of generated sounds: no data needed."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mixit_lightning.data import DynamicMixtures, MixtureDataModule
from mixit_lightning.data.datamodule import Split
from mixit_lightning.data.dynamic import FixedMixtures
from mixit_lightning.errors import UserError
from sounds import KINDS

EVALUATION_SEEDS: dict[Split, int] = {"valid": 1_000_001, "test": 1_000_002}


class GeneratedSounds:
    """The kinds of `sounds.py` as a pool: a new sound every time."""

    groups = tuple(KINDS)

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate

    def draw(self, group: str, rng: np.random.Generator, length: int | None) -> tuple[str, np.ndarray]:
        """A new sound of that kind at RMS 1."""
        if length is None:
            raise ValueError("generated sounds have no length of their own")
        sound = KINDS[group](rng, length, self.sample_rate)
        while not sound.any():  # a voice may pause all the time
            sound = KINDS[group](rng, length, self.sample_rate)
        return group, sound / np.sqrt(np.mean(np.square(sound)))


class Synthetic(MixtureDataModule):
    """Mixtures of sounds of different kinds, endless for training.

    Args:
        source_shares: shares of training mixtures with one, two, ... sources.
        validation_counts: validation mixtures with one, two, ... sources.
        test_counts: the same for the test.
        max_level: dB; levels of the sources are uniform within plus and minus this.
        settings: of the `MixtureDataModule`.
    """

    def __init__(
        self,
        source_shares: Sequence[float],
        validation_counts: Sequence[int],
        test_counts: Sequence[int],
        max_level: float,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.source_shares = source_shares
        self.counts: dict[Split, Sequence[int]] = {"valid": validation_counts, "test": test_counts}
        self.max_level = max_level
        self.pool = GeneratedSounds(self.sample_rate)

    def mixtures(self, seed: int) -> DynamicMixtures:
        """Endless mixtures of one seed."""
        return DynamicMixtures(self.pool, self.pool, self.source_shares, self.length, self.max_level, seed)

    def training_mixtures(self) -> DynamicMixtures:
        """Endless mixtures.

        Raises:
            UserError: the sounds do not fit into the band or the duration.
        """
        if self.sample_rate < 8000 or self.length < self.sample_rate / 2:
            raise UserError("recipe synthetic: sample_rate must be 8000 or more and datamodule.duration 0.5 or more")
        return self.mixtures(self.seed)

    def evaluation_mixtures(self, split: Split) -> FixedMixtures:
        """The same mixtures whatever the seed of the training."""
        return FixedMixtures(self.mixtures(EVALUATION_SEEDS[split]), self.counts[split])
