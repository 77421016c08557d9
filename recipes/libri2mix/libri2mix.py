"""The prepared Libri2Mix set: `Libri2Mix/wav8k/min/{train-100,train-360,dev,test}/{mix_clean,s1,s2,...}`."""

from pathlib import Path
from typing import Any, Literal

from mixit_lightning.corpora.mixing import Mode, check_choice
from mixit_lightning.data import PreparedDataModule, Row, Split, find_rows
from mixit_lightning.data.inventory import Inventory, items_of_folder
from mixit_lightning.errors import UserError

REFERENCES = {"clean": ("s1", "s2"), "both": ("s1", "s2"), "single": ("s1",)}
"""The speakers that each type of mixture has; the noise of `both` and `single` is no reference."""

PARTS = {"clean": ("s1", "s2"), "both": ("s1", "s2", "noise"), "single": ("s1", "noise")}
"""Signals that each type of mixture is the sum of."""

STANDARD_COUNTS = {"train-100": 13900, "train-360": 50800, "dev": 3000, "test": 3000}


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
        check_choice("datamodule.train_split", [train_split], ["train-100", "train-360"])
        check_choice("datamodule.type", [type], list(REFERENCES))
        check_choice("mode", [mode], ["min", "max"])
        if self.rooms and type != "clean":
            raise UserError(
                f"datamodule.type={type}: its noise is not a source and has no room impulse response; use clean"
            )
        root = Path(data)
        self.folder = (root if root.name == "Libri2Mix" else root / "Libri2Mix") / f"wav{self.sample_rate // 1000}k"
        self.folder /= mode
        for other in ("train-100", "train-360"):
            if (self.folder / other).is_dir() and not (self.folder / train_split).is_dir():
                raise UserError(
                    f"{self.folder / train_split}: missing, but {other} is there; give datamodule.train_split={other}"
                )
        self.folders: dict[Split, str] = {"train": train_split, "valid": "dev", "test": "test"}
        self.type, self.mode = type, mode

    def rows(self, split: Split) -> list[Row]:
        """Files of the same name below `mix_clean`, `s1` and `s2`."""
        folder = self.folder / self.folders[split]
        return find_rows(folder, f"mix_{self.type}", REFERENCES[self.type], self.sample_rate)

    def speakers(self, row: Row) -> list[str]:
        """A mixture is named after its utterances, an utterance begins with its speaker."""
        return [utterance.split("-")[0] for utterance in row.name.split("_")][: len(row.references)]

    def inventory(self) -> Inventory:
        """The three splits that are used; noise is looked at where it is part of the mixtures."""
        items = [
            item._replace(utterances=utterances, speakers=[utterance.split("-")[0] for utterance in utterances])
            for folder in self.folders.values()
            for item in items_of_folder(folder, self.folder / folder, [f"mix_{self.type}", *PARTS[self.type]])
            for utterances in [item.name.split("_")[: len(REFERENCES[self.type])]]
        ]
        counts = {folder: STANDARD_COUNTS[folder] for folder in self.folders.values()}
        # Which of the two speakers was padded is not to be seen where the second one is left out.
        mode = None if self.type == "single" else self.mode
        return Inventory(self.folder, items, self.sample_rate, mode=mode, standard_counts=counts)
