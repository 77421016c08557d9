"""Any folder of unlabelled recordings: crops of them, added up to mixtures of mixtures."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mixit_lightning.collection.crops import CropList, Cropped, Recording
from mixit_lightning.collection.doctor import CollectionDiagnosis
from mixit_lightning.collection.held_out import hold_out
from mixit_lightning.collection.index import Index, index_recordings
from mixit_lightning.collection.labelled import LabelledMixtures, check_labelled
from mixit_lightning.collection.proposals import as_settings, propose
from mixit_lightning.collection.usable import Usable, usable
from mixit_lightning.data import MixtureDataModule, Split
from mixit_lightning.data.mixture import LabelledAndUnlabelled
from mixit_lightning.errors import UserError


class OwnRecordings(MixtureDataModule):
    """Crops of all recordings below a folder, whatever their format, rate, length and number of channels.

    Each channel counts as a recording. A share of the recordings is held out for validation and for the test; which
    ones depends on their samples alone, so that more recordings or other names hardly change it. Where there are fewer
    than ten, it is the end of each.

    Args:
        data: the folder.
        index: folder of the index, which keeps what the scan found.
        recordings: fingerprint of the recordings, which a run belongs to; null is whichever there are.
        labelled_data: folder of labelled recordings, see `LabelledMixtures`.
        shortest: seconds of a recording that is used.
        held_out: share of the recordings for validation, and the same for the test.
        fairness: see `Cropped`.
        max_level: dB, up or down, of every crop for training.
        speeds: see `Cropped`.
        validation_count: crops to validate on, at most.
        test_count: crops to test on, at most.
        settings: of the `MixtureDataModule`.
    """

    def __init__(
        self,
        data: str,
        index: str,
        recordings: str | None,
        labelled_data: str | None,
        shortest: float,
        held_out: float,
        fairness: float,
        max_level: float,
        speeds: Sequence[float],
        validation_count: int,
        test_count: int,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if not 0 < held_out <= 0.4:
            raise UserError(f"datamodule.held_out={held_out} must be a share above 0, and 0.4 at most")
        if not 0 <= fairness <= 1:
            raise UserError(f"datamodule.fairness={fairness} must be between 0 and 1")
        if min(validation_count, test_count) < 2:
            raise UserError("datamodule.validation_count and datamodule.test_count must be 2 or more")
        check_labelled(labelled_data, self.labelled_share)
        self.root = Path(data)
        self.index_folder = Path(index)
        self.recordings = recordings
        self.labelled_data = labelled_data
        self.shortest = shortest
        self.held_out = held_out
        self.fairness = fairness
        self.max_level = max_level
        self.speeds = speeds
        self.counts: dict[Split, int] = {"valid": validation_count, "test": test_count}

    @cached_property
    def index(self) -> Index:
        """Index of the recordings.

        Raises:
            UserError: there are none, or they have changed since the run began, which may have been trained on others.
        """
        index = index_recordings(self.root, self.index_folder)
        if self.recordings not in (None, index.fingerprint):
            raise UserError(
                f"{self.root}: its recordings have changed since this run began; move the run's folder away to train "
                "on what there is now, and give warm_start=CHECKPOINT to begin with what it learnt"
            )
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

    def training_mixtures(self) -> LabelledAndUnlabelled:
        """Crops, and labelled mixtures where there are any."""
        crops = labelled = None
        shared = {
            "length": self.length,
            "sample_rate": self.sample_rate,
            "max_level": self.max_level,
            "seed": self.seed,
        }
        if self.labelled_share < 1:
            crops = Cropped(
                self.splits["train"],
                num_mixtures=self.num_mixtures,
                fairness=self.fairness,
                speeds=self.speeds,
                **shared,
            )
        if self.labelled_data is not None:
            labelled = LabelledMixtures(Path(self.labelled_data), **shared)
        return LabelledAndUnlabelled(labelled, crops)

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
    return as_settings(propose(found, shortest)) | {"datamodule.recordings": found.fingerprint}
