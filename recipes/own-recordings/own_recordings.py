"""Any folder of unlabelled recordings: crops of them, added up to mixtures of mixtures."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mixit_lightning.collection.crops import CropList, Cropped, Recording
from mixit_lightning.collection.doctor import CollectionDiagnosis
from mixit_lightning.collection.held_out import hold_out
from mixit_lightning.collection.index import Index, index_recordings
from mixit_lightning.collection.labelled import UnlabelledDataModule, check_unchanged
from mixit_lightning.collection.proposals import propose
from mixit_lightning.collection.usable import Usable, usable
from mixit_lightning.data import Split
from mixit_lightning.errors import UserError


class OwnRecordings(UnlabelledDataModule):
    """Crops of all recordings below a folder, whatever their format, rate, length and number of channels.

    Each channel counts as a recording. A share of the recordings is held out for validation and for the test; which
    ones depends on their samples alone, so that more recordings or other names hardly change it. Where there are fewer
    than ten, it is the end of each.

    Args:
        data: the folder.
        index: folder of the index, which keeps what the scan found.
        recordings: fingerprint of the recordings, which a run belongs to; null is whichever there are.
        shortest: seconds of a recording that is used.
        held_out: share of the recordings for validation, and the same for the test.
        fairness: see `Cropped`.
        speeds: see `Cropped`.
        settings: of the `UnlabelledDataModule`.
    """

    def __init__(
        self,
        data: str,
        index: str,
        recordings: str | None,
        shortest: float,
        held_out: float,
        fairness: float,
        speeds: Sequence[float],
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if not 0 < held_out <= 0.4:
            raise UserError(f"datamodule.held_out={held_out} must be a share above 0, and 0.4 at most")
        if not 0 <= fairness <= 1:
            raise UserError(f"datamodule.fairness={fairness} must be between 0 and 1")
        self.root = Path(data)
        self.index_folder = Path(index)
        self.recordings = recordings
        self.shortest = shortest
        self.held_out = held_out
        self.fairness = fairness
        self.speeds = speeds

    @cached_property
    def index(self) -> Index:
        """Index of the recordings.

        Raises:
            UserError: there are none, or they have changed since the run began, which may have been trained on others.
        """
        index = index_recordings(self.root, self.index_folder)
        check_unchanged(self.root, "recordings", self.recordings, index.fingerprint)
        return index

    @cached_property
    def usable(self) -> Usable:
        """The recordings that can be trained on."""
        return usable(self.index, self.sample_rate, self.shortest)

    @cached_property
    def splits(self) -> dict[Split, list[Recording]]:
        """Recordings for training, validation and test.

        Raises:
            UserError: there is too little.
        """
        found = self.usable
        if not found.recordings:
            raise UserError(
                f"{self.root}: none of its recordings can be used; `mixit doctor` with the same settings says why"
            )
        splits = hold_out(found, self.held_out)
        for split, recordings in splits.items():
            if not recordings:
                raise UserError(f"{self.root}: too little is left for {split}; add recordings")
        return splits

    def crops(self) -> Cropped:
        """Crops of the recordings for training."""
        return Cropped(
            self.splits["train"],
            self.length,
            self.sample_rate,
            self.num_mixtures,
            self.fairness,
            self.max_level,
            self.speeds,
            self.seed,
        )

    def evaluation_mixtures(self, split: Split) -> CropList:
        """Crops of what was held out."""
        return CropList(self.splits[split], self.length, self.sample_rate, self.counts[split], self.fairness)

    def skipped(self) -> dict[str, str]:
        """Recordings that are not trained on, and why."""
        return self.usable.skipped

    def diagnoses(self, quiet: bool) -> list[CollectionDiagnosis]:
        """What the doctor says of the folder, and what will be used."""
        self.recordings = None  # whatever there is now
        chosen = {"sample_rate": self.sample_rate, "datamodule.duration": self.length / self.sample_rate}
        proposed = propose(self.index, self.shortest)
        try:
            self.setup()
            return [CollectionDiagnosis(self.index, self.usable, self.splits, proposed, chosen)]
        except UserError as error:
            return [CollectionDiagnosis(self.index, self.usable, {}, proposed, chosen, str(error))]


def proposals(data: str, index: str, shortest: float) -> dict[str, Any]:
    """Settings that the recordings suggest, for those that are `proposed`."""
    found = index_recordings(Path(data), Path(index))
    values = {key: proposal.value for key, proposal in propose(found, shortest).items()}
    return values | {"datamodule.recordings": found.fingerprint}
