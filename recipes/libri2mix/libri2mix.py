"""The prepared Libri2Mix set: `Libri2Mix/wav8k/min/{train-100,train-360,dev,test}/{mix_clean,s1,s2,...}`."""

from pathlib import Path
from typing import Any, Literal

from mixit_lightning.data import PreparedDataModule, Row, Split, find_rows
from mixit_lightning.preparation.mixing import Mode

REFERENCES = {"clean": ("s1", "s2"), "both": ("s1", "s2"), "single": ("s1",)}
"""The speakers that each type of mixture has; the noise of `both` and `single` is no reference."""


class Libri2Mix(PreparedDataModule):
    """Mixtures of speakers of LibriSpeech as prepared by the script of LibriMix.

    Mixtures and sources are joined by their names, which are the mixture_ID of the metadata.

    Args:
        data: the folder that holds `Libri2Mix/`, or `Libri2Mix/` itself.
        train_split: `train-100` or `train-360`.
        type: `clean`, `both` (with noise) or `single` (one speaker with noise).
        mode: `min`, cut to the shorter utterance, or `max`, padded to the longer.
        settings: of the `PreparedDataModule`; `sample_rate` 8000 or 16000 chooses `wav8k` or `wav16k`.
    """

    def __init__(
        self,
        data: str,
        train_split: Literal["train-100", "train-360"],
        type: Literal["clean", "both", "single"],
        mode: Mode,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        root = Path(data)
        self.folder = (root if root.name == "Libri2Mix" else root / "Libri2Mix") / f"wav{self.sample_rate // 1000}k"
        self.folder /= mode
        self.folders: dict[Split, str] = {"train": train_split, "valid": "dev", "test": "test"}
        self.type = type

    def rows(self, split: Split) -> list[Row]:
        """Files of the same name below `mix_clean`, `s1` and `s2`."""
        folder = self.folder / self.folders[split]
        return find_rows(folder, f"mix_{self.type}", REFERENCES[self.type], self.sample_rate)

    def speakers(self, row: Row) -> list[str]:
        """A mixture is named after its utterances, an utterance begins with its speaker."""
        return [utterance.split("-")[0] for utterance in row.name.split("_")][: len(row.references)]
