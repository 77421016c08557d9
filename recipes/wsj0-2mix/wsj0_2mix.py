"""The prepared wsj0-2mix set: `2speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2}`."""

from pathlib import Path
from typing import Any

from mixit_lightning.corpora.mixing import Mode, check_choice
from mixit_lightning.data import PreparedDataModule, Row, Split, find_rows
from mixit_lightning.data.inventory import Inventory, items_of_folder

FOLDERS: dict[Split, str] = {"train": "tr", "valid": "cv", "test": "tt"}

STANDARD_COUNTS = {"tr": 20000, "cv": 5000, "tt": 3000}


class Wsj0Mix(PreparedDataModule):
    """Mixtures of speakers of WSJ0 as prepared by the standard scripts.

    Args:
        data: the folder that holds `2speakers/`, or `2speakers/` itself.
        num_speakers: 2 or 3.
        mode: `min`, cut to the shorter utterance, or `max`, padded to the longer.
        settings: of the `PreparedDataModule`; `sample_rate` 8000 or 16000 chooses `wav8k` or `wav16k`.
    """

    def __init__(self, data: str, num_speakers: int, mode: Mode, **settings: Any) -> None:
        super().__init__(**settings)
        check_choice("num_speakers", [num_speakers], [2, 3])
        check_choice("mode", [mode], ["min", "max"])
        root = Path(data)
        name = f"{num_speakers}speakers"
        self.folder = (root if root.name == name else root / name) / f"wav{self.sample_rate // 1000}k" / mode
        self.mode = mode
        self.sources = [f"s{number}" for number in range(1, num_speakers + 1)]

    def rows(self, split: Split) -> list[Row]:
        """Files of the same name below `mix`, `s1` and `s2`."""
        return find_rows(self.folder / FOLDERS[split], "mix", self.sources, self.sample_rate)

    def speakers(self, row: Row) -> list[str]:
        """A mixture is named after its utterances and their levels, an utterance begins with its speaker."""
        return [utterance[:3] for utterance in row.name.split("_")[::2]]

    def inventory(self) -> Inventory:
        """Validation mixes other utterances of the training speakers, by design."""
        items = [
            item._replace(
                utterances=item.name.split("_")[::2],
                speakers=[utterance[:3] for utterance in item.name.split("_")[::2]],
                levels=levels_of(item.name),
            )
            for folder in FOLDERS.values()
            for item in items_of_folder(folder, self.folder / folder, ["mix", *self.sources])
        ]
        return Inventory(
            self.folder,
            items,
            self.sample_rate,
            mode=self.mode,
            standard_counts=STANDARD_COUNTS,
            shared_speakers=frozenset({frozenset({"tr", "cv"})}),
        )


def levels_of(name: str) -> list[float]:
    """Levels (dB) in a mixture's name; none where it is not named as the standard set's."""
    try:
        return [float(level) for level in name.split("_")[1::2]]
    except ValueError:
        return []
