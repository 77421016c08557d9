"""Mixtures of generated sounds: no data needed."""

import numpy as np

from mixit_lightning.data import DynamicDataModule, Split
from mixit_lightning.data.mixture import NO_MARGIN, Margin
from mixit_lightning.errors import UserError
from sounds import KINDS


class GeneratedSounds:
    """The kinds of `sounds.py` as a pool: a new sound every time."""

    groups = tuple(KINDS)

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate

    def draw(
        self, group: str, rng: np.random.Generator, length: int | None, margin: Margin = NO_MARGIN
    ) -> tuple[str, np.ndarray]:
        """A new sound of that kind at RMS 1, with silence around it."""
        if length is None:
            raise ValueError("generated sounds have no length of their own")
        sound = KINDS[group](rng, length, self.sample_rate)
        while not sound.any():  # a voice may pause all the time
            sound = KINDS[group](rng, length, self.sample_rate)
        return group, np.pad(sound / np.sqrt(np.mean(np.square(sound))), margin)


class Synthetic(DynamicDataModule):
    """Mixtures of sounds of different kinds, for the `DynamicDataModule`'s settings."""

    def training_pools(self) -> tuple[GeneratedSounds, GeneratedSounds]:
        """Labelled and unlabelled mixtures are of the same kinds, and never of the same sounds.

        Raises:
            UserError: the sounds do not fit into the band or the duration.
        """
        if self.sample_rate < 8000 or self.length < self.sample_rate / 2:
            raise UserError("recipe synthetic: sample_rate must be 8000 or more and datamodule.duration 0.5 or more")
        pool = GeneratedSounds(self.sample_rate)
        return pool, pool

    def evaluation_pool(self, split: Split) -> GeneratedSounds:
        """The same kinds."""
        return GeneratedSounds(self.sample_rate)
