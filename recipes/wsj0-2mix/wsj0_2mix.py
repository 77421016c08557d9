"""The prepared wsj0-2mix set: `2speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2}`."""

from pathlib import Path
from typing import Any, Literal

from mixit_lightning.data import MixtureDataModule, PreparedMixtures
from mixit_lightning.data.datamodule import Split
from mixit_lightning.data.prepared import find_rows

FOLDERS = {"train": "tr", "valid": "cv", "test": "tt"}


class Wsj0TwoMix(MixtureDataModule):
    """Mixtures of two speakers of WSJ0 as prepared by the standard scripts.

    Args:
        data: the folder that holds `2speakers/`, or `2speakers/` itself.
        mode: `min`, cut to the shorter utterance, or `max`, padded to the longer.
        settings: of the `MixtureDataModule`; `sample_rate` 8000 or 16000 chooses `wav8k` or `wav16k`.
    """

    def __init__(self, data: str, mode: Literal["min", "max"], **settings: Any) -> None:
        super().__init__(**settings)
        root = Path(data)
        root = root if root.name == "2speakers" else root / "2speakers"
        self.folder = root / f"wav{self.sample_rate // 1000}k" / mode

    def mixtures(self, split: str, length: int | None, labelled_share: float = 1.0) -> PreparedMixtures:
        """Rows of one split."""
        rows = find_rows(self.folder / FOLDERS[split], "mix", ("s1", "s2"), self.sample_rate)
        return PreparedMixtures(rows, length, labelled_share, self.seed)

    def training_mixtures(self) -> PreparedMixtures:
        """Random stretches; the labelled share of the mixtures is fixed by the seed."""
        return self.mixtures("train", self.length, self.labelled_share)

    def evaluation_mixtures(self, split: Split) -> PreparedMixtures:
        """The middle of every mixture for validation, whole mixtures for the test."""
        return self.mixtures(split, self.length if split == "valid" else None)
