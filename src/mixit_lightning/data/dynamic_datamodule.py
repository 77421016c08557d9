"""The DataModule of recipes that mix on the fly: they say which sounds, and this mixes them."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from .datamodule import LIST_SEEDS, MixtureDataModule, Split
from .dynamic import DynamicMixtures, FixedMixtures, SoundPool


class DynamicDataModule(MixtureDataModule):
    """Endless mixtures for training, fixed lists of mixtures for validation and test.

    Args:
        source_shares: shares of training mixtures with one, two, ... sources.
        validation_counts: validation mixtures with one, two, ... sources.
        test_counts: the same for the test; inputs of one and of several sources are scored apart.
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

    @abstractmethod
    def training_pools(self) -> tuple[SoundPool, SoundPool]:
        """Sounds for labelled and for unlabelled training mixtures."""

    @abstractmethod
    def evaluation_pool(self, split: Split) -> SoundPool:
        """Sounds for the list of a split."""

    def evaluation_length(self, split: Split) -> int | None:
        """Samples of the mixtures of a split; None is whole recordings, cut to the shortest of a mixture."""
        return self.length

    def training_mixtures(self) -> DynamicMixtures:
        """Endless mixtures."""
        return DynamicMixtures(*self.training_pools(), self.source_shares, self.length, self.max_level, self.seed)

    def evaluation_mixtures(self, split: Split) -> FixedMixtures:
        """The fixed list of a split."""
        pool, length = self.evaluation_pool(split), self.evaluation_length(split)
        mixtures = DynamicMixtures(pool, pool, self.source_shares, length, self.max_level, LIST_SEEDS[split])
        return FixedMixtures(mixtures, self.counts[split])
