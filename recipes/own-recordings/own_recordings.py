"""Any folder of recordings: crops of them, mixed once more, and nothing else known."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mixit_lightning.audio.finding import RECORDINGS
from mixit_lightning.audio.opening import Header, read_header
from mixit_lightning.data import MixtureDataModule, Split
from mixit_lightning.data.crops import CropList, Cropped, Recording, read_stretch, span_of
from mixit_lightning.data.dynamic import REFERENCE_RMS
from mixit_lightning.data.held_out import hold_out
from mixit_lightning.data.index import Index, index_recordings
from mixit_lightning.data.mixture import Mixture, generator
from mixit_lightning.data.proposals import as_settings, propose
from mixit_lightning.data.usable import Usable, usable
from mixit_lightning.doctor.first_look import FirstLook
from mixit_lightning.errors import UserError


class OwnRecordings(MixtureDataModule):
    """Crops of all recordings below a folder, whatever their format, rate, length and number of channels.

    Each channel counts as a recording. A share of the recordings is held out for validation and for the test; which
    ones depends on their samples alone, so that more recordings or other names hardly change it. Where there are fewer
    than ten, it is the end of each.

    Args:
        data: the folder.
        index: folder for what was heard in them.
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
        if self.labelled_share and labelled_data is None:
            raise UserError("this objective needs labelled recordings: give labelled_data=FOLDER, or objective=mixit")
        if labelled_data is not None and not self.labelled_share:
            raise UserError("labelled_data has no meaning for objective=mixit; give objective=semi-supervised")
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
        """What was heard in the recordings.

        Raises:
            UserError: there are none, or others than when the run began, some of which it may have been trained on.
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
    def parts(self) -> dict[Split, list[Recording]]:
        """What is trained, validated and tested on.

        Raises:
            UserError: there is too little.
        """
        found = self.usable
        if not found.recordings:
            raise UserError(
                f"{self.root}: none of its recordings can be used; `mixit doctor` with the same settings says why"
            )
        parts = hold_out(found, self.held_out)
        for split, recordings in parts.items():
            if not recordings:
                raise UserError(f"{self.root}: too little is left for {split}; add recordings")
        return parts

    def training_mixtures(self) -> "OwnMixtures":
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
                self.parts["train"],
                num_mixtures=self.num_mixtures,
                fairness=self.fairness,
                speeds=self.speeds,
                **shared,
            )
        if self.labelled_data is not None:
            labelled = LabelledMixtures(Path(self.labelled_data), **shared)
        return OwnMixtures(crops, labelled)

    def evaluation_mixtures(self, split: Split) -> CropList:
        """Crops of what was held out."""
        return CropList(self.parts[split], self.length, self.sample_rate, self.counts[split], self.fairness)

    def skipped(self) -> dict[str, str]:
        """Recordings that are not trained on, and why."""
        return self.usable.skipped

    def look(self, quiet: bool) -> list[FirstLook]:
        """What the folder holds, and what will be used."""
        self.recordings = None  # whatever there is now
        chosen = {"sample_rate": self.sample_rate, "datamodule.duration": self.length / self.sample_rate}
        proposed = propose(self.index, self.shortest)
        try:
            self.setup()
            return [FirstLook(self.index, self.usable, self.parts, proposed, chosen)]
        except UserError as error:
            return [FirstLook(self.index, self.usable, {}, proposed, chosen, str(error))]


class OwnMixtures:
    """Crops and labelled mixtures to train on; None where there are none of the kind."""

    def __init__(self, crops: Cropped | None, labelled: "LabelledMixtures | None") -> None:
        self.crops = crops
        self.labelled = labelled

    def draw(self, number: int, *, labelled: bool) -> Mixture:
        """Mixture of that number."""
        source = self.labelled if labelled else self.crops
        assert source is not None, "the sampler draws from what labelled_share asks for"
        return source.draw(number)


class LabelledMixtures:
    """Labelled recordings `<source>/<name>`: those of one name are added up; a folder mix, or mix_..., is not read.

    Args:
        root: their folder, such as one of wsj0-2mix with s1/ and s2/, or with speech/ and noise/.
        length: samples of a crop.
        sample_rate: Hz.
        max_level: dB, up or down, of every mixture.
        seed: mixtures of another seed are others.

    Raises:
        UserError: no folder, one source only, a source that is missing, or sources that do not go together.
    """

    def __init__(self, root: Path, length: int, sample_rate: int, max_level: float, seed: int) -> None:
        folders = sorted(
            path for path in root.glob("*/") if not (path.name == "mix" or path.name.startswith(("mix_", ".")))
        )
        if len(folders) < 2:
            raise UserError(
                f"labelled_data={root}: must hold two or more folders, one for each source, such as s1 and s2"
            )
        names = [{path.name for path in folder.iterdir() if is_recording(path)} for folder in folders]
        for folder, own in zip(folders, names, strict=True):
            if missing := sorted(set.union(*names) - own):
                raise UserError(f"{folder / missing[0]}: missing, though other sources of this name are there")
        if not names[0]:
            raise UserError(f"labelled_data={root}: no recordings in {folders[0].name}")
        self.rows = [[folder / name for folder in folders] for name in sorted(names[0])]
        self.headers = [check_row(row, sample_rate) for row in self.rows]
        self.length = length
        self.sample_rate = sample_rate
        self.max_level = max_level
        self.seed = seed

    def draw(self, number: int) -> Mixture:
        """A random crop of a random mixture, at RMS 1 over the crop, with its sources.

        Raises:
            UserError: a recording can no longer be read.
        """
        rng = generator(self.seed, 2, number)
        row = int(rng.integers(len(self.rows)))
        header = self.headers[row]
        frames, rate = header
        spare = frames - span_of(self.length, self.sample_rate, rate, 1.0)
        start = round(rng.random() * spare)  # negative where it is shorter: it stands anywhere in the crop
        place = (start, (0, frames), self.length, self.sample_rate)
        sources = np.stack([read_stretch(path, 0, rate, *place) for path in self.rows[row]])
        rms = max(float(np.sqrt(np.mean(np.square(sources.sum(0), dtype=np.float64)))), 1e-4)
        gain = REFERENCE_RMS * 10 ** (rng.uniform(-self.max_level, self.max_level) / 20) / rms
        references = torch.from_numpy((gain * sources).astype(np.float32))
        return Mixture(f"{self.rows[row][0].stem} from {max(0, start) / rate:.1f} s", references.sum(0), references)


def is_recording(path: Path) -> bool:
    """Whether it is called like one."""
    return path.suffix.lower() in RECORDINGS and not path.name.startswith(".")


def check_row(row: list[Path], sample_rate: int) -> Header:
    """The header that all sources of a mixture have.

    Raises:
        UserError: they have different ones, or too low a rate.
    """
    first, *others = (read_header(path, any_channels=True) for path in row)
    for path, header in zip(row[1:], others, strict=True):
        if header != first:
            raise UserError(
                f"{path}: {header.frames} samples at {header.sample_rate} Hz, where {row[0]} has {first.frames} at "
                f"{first.sample_rate} Hz; sources of one name must go together"
            )
    if first.sample_rate < sample_rate:
        raise UserError(
            f"{row[0]}: {first.sample_rate} Hz, below sample_rate={sample_rate}; remove it, or set sample_rate"
        )
    return first


def proposals(data: str, index: str, shortest: float) -> dict[str, Any]:
    """Settings that the recordings suggest, for those that are `proposed`."""
    found = index_recordings(Path(data), Path(index))
    return as_settings(propose(found, shortest)) | {"datamodule.recordings": found.fingerprint}
