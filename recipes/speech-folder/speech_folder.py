"""Any folder of speech sorted by split and speaker: mixtures made on the fly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mixit_lightning.data import DynamicMixtures, MixtureDataModule, SpeakerPool
from mixit_lightning.data.datamodule import Split
from mixit_lightning.data.dynamic import FixedMixtures

LIST_SEEDS: dict[Split, int] = {"valid": 1, "test": 2}
"""Lists are the same for every seed of training, so that runs can be compared."""


class SpeechFolder(MixtureDataModule):
    """Mixtures of speakers of `<data>/<split>/<speaker>/**.{wav,flac,ogg}`.

    Args:
        data: the folder.
        splits: its folders for training, validation and test.
        source_shares: shares of training mixtures with one, two, ... speakers.
        validation_counts: validation mixtures with one, two, ... speakers.
        test_counts: the same for the test; both kinds are scored apart.
        max_level: dB; levels of the speakers are uniform within plus and minus this.
        settings: of the `MixtureDataModule`.
    """

    def __init__(
        self,
        data: str,
        splits: Sequence[str],
        source_shares: Sequence[float],
        validation_counts: Sequence[int],
        test_counts: Sequence[int],
        max_level: float,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.folders = dict(zip(("train", "valid", "test"), (Path(data) / split for split in splits), strict=True))
        self.source_shares = source_shares
        self.counts: dict[Split, Sequence[int]] = {"valid": validation_counts, "test": test_counts}
        self.max_level = max_level

    def training_mixtures(self) -> DynamicMixtures:
        """Endless mixtures; labelled ones are made of a share of the recordings, unlabelled ones of the others."""
        pool = SpeakerPool.scan(self.folders["train"], self.sample_rate)
        labelled, unlabelled = pool.split(self.labelled_share, self.seed)
        return DynamicMixtures(labelled, unlabelled, self.source_shares, self.length, self.max_level, self.seed)

    def evaluation_mixtures(self, split: Split) -> FixedMixtures:
        """Stretches for validation, whole recordings cut to the shorter of the two for the test."""
        pool = SpeakerPool.scan(self.folders[split], self.sample_rate)
        length = self.length if split == "valid" else None
        mixtures = DynamicMixtures(pool, pool, self.source_shares, length, self.max_level, LIST_SEEDS[split])
        return FixedMixtures(mixtures, self.counts[split])
