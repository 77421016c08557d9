"""Any folder of speech sorted by split and speaker: mixtures made on the fly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mixit_lightning.audio.finding import recordings_below
from mixit_lightning.data import DynamicDataModule, RecordingPool, Split
from mixit_lightning.data.inventory import Inventory, Item


class SpeechFolder(DynamicDataModule):
    """Mixtures of speakers of `<data>/<split>/<speaker>/**`.

    Args:
        data: the folder.
        splits: its folders for training, validation and test.
        speeds: factors of the speed perturbation in training, see `RecordingPool`.
        settings: of the `DynamicDataModule`.
    """

    def __init__(self, data: str, splits: Sequence[str], speeds: Sequence[float], **settings: Any) -> None:
        super().__init__(**settings)
        self.speeds = speeds
        self.folders = dict(zip(("train", "valid", "test"), (Path(data) / split for split in splits), strict=True))

    def training_pools(self) -> tuple[RecordingPool, RecordingPool]:
        """Labelled mixtures are made of a share of the recordings, unlabelled ones of the others."""
        pool = RecordingPool.of_speakers(self.folders["train"], self.sample_rate, self.speeds)
        return pool.split(self.labelled_share, self.seed)

    def evaluation_pool(self, split: Split) -> RecordingPool:
        """The speakers of that split."""
        return RecordingPool.of_speakers(self.folders[split], self.sample_rate)

    def evaluation_length(self, split: Split) -> int | None:
        """Crops for validation, whole recordings for the test."""
        return self.length if split == "valid" else None

    def inventory(self) -> Inventory:
        """One item per recording."""
        items = [
            Item(folder.name, str(relative), {"recording": path}, speakers=[relative.parts[0]])
            for folder in self.folders.values()
            for path in recordings_below(folder)
            for relative in [path.relative_to(folder)]
        ]
        root = next(iter(self.folders.values())).parent
        return Inventory(root, items, self.sample_rate, may_be_higher=True)
