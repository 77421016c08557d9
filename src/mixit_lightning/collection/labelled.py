"""Unlabelled recordings with labelled ones beside them: of these, files of one name are added up."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..audio.finding import RECORDINGS, is_recording
from ..audio.opening import Header, read_header
from ..data.datamodule import MixtureDataModule, Split
from ..data.dynamic import REFERENCE_RMS
from ..data.mixture import LabelledAndUnlabelled, Mixture, TrainingMixtures, generator
from ..errors import UserError
from .crops import read_segment, span_of


class UnlabelledDataModule(MixtureDataModule):
    """Crops of unlabelled recordings, with labelled recordings beside them where the objective asks for some.

    Args:
        labelled_data: folder of labelled recordings, see `LabelledMixtures`.
        max_level: dB, up or down, of every crop for training.
        validation_count: crops to validate on, at most.
        test_count: crops to test on, at most.
        settings: of the `MixtureDataModule`.

    Raises:
        UserError: the objective lacks labelled recordings or has no use for them, or a list is too short.
    """

    def __init__(
        self, labelled_data: str | None, max_level: float, validation_count: int, test_count: int, **settings: Any
    ) -> None:
        super().__init__(**settings)
        if min(validation_count, test_count) < 2:
            raise UserError("datamodule.validation_count and datamodule.test_count must be 2 or more")
        if self.labelled_share and labelled_data is None:
            raise UserError("this objective needs labelled recordings: give labelled_data=FOLDER, or objective=mixit")
        if labelled_data is not None and not self.labelled_share:
            raise UserError("labelled_data has no meaning for objective=mixit; give objective=semi-supervised")
        self.labelled_data = labelled_data
        self.max_level = max_level
        self.counts: dict[Split, int] = {"valid": validation_count, "test": test_count}

    @abstractmethod
    def crops(self) -> TrainingMixtures:
        """Unlabelled crops to train on."""

    def training_mixtures(self) -> LabelledAndUnlabelled:
        """Crops, and labelled mixtures where there are any."""
        labelled = None
        if self.labelled_data is not None:
            folder = Path(self.labelled_data)
            labelled = LabelledMixtures(folder, self.length, self.sample_rate, self.max_level, self.seed)
        return LabelledAndUnlabelled(labelled, self.crops() if self.labelled_share < 1 else None)


def check_unchanged(where: object, what: str, expected: str | None, found: str) -> None:
    """Refuse data that have changed since a run began, which may have been trained on others.

    Raises:
        UserError: the fingerprint that was `found` is another one than the run's, if it has one.
    """
    if expected not in (None, found):
        raise UserError(
            f"{where}: its {what} have changed since this run began; move the run's folder away to train on what there "
            "is now, and give warm_start=CHECKPOINT to begin with what it learnt"
        )


class LabelledMixtures:
    """Labelled recordings `<source>/<name>`: those of one name are added up; a folder mix, or mix_..., is not read.

    Args:
        root: their folder, such as one of wsj0-2mix with s1/ and s2/, or with speech/ and noise/.
        length: samples of a crop.
        sample_rate: Hz.
        max_level: dB, up or down, of every mixture.
        seed: of the random mixtures.

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
        names = [{path.name for path in folder.iterdir() if is_labelled(path)} for folder in folders]
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

    def draw(self, number: int, *, labelled: bool = True) -> Mixture:
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
        excerpt = (start, (0, frames), self.length, self.sample_rate)
        sources = np.stack([read_segment(path, 0, rate, *excerpt) for path in self.rows[row]])
        rms = max(float(np.sqrt(np.mean(np.square(sources.sum(0), dtype=np.float64)))), 1e-4)
        gain = REFERENCE_RMS * 10 ** (rng.uniform(-self.max_level, self.max_level) / 20) / rms
        references = torch.from_numpy((gain * sources).astype(np.float32))
        return Mixture(f"{self.rows[row][0].stem} from {max(0, start) / rate:.1f} s", references.sum(0), references)


def is_labelled(path: Path) -> bool:
    """Whether it is called like a recording that supports fast seeking; films do not."""
    return is_recording(path.name) and path.suffix.lower() in RECORDINGS


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
