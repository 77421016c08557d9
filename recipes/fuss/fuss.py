"""Universal separation: the Free Universal Sound Separation set (FUSS), with or without unlabelled clips."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mixit_lightning.audio.finding import recordings_below
from mixit_lightning.audio.opening import read
from mixit_lightning.data import Mixture, MixtureDataModule, PreparedMixtures, RecordingPool, Row, Split, make_rows
from mixit_lightning.data.inventory import Inventory, Item
from mixit_lightning.data.mixture import LabelledAndUnlabelled, TrainingMixtures, fit_length, generator
from mixit_lightning.data.prepared import split_rows
from mixit_lightning.errors import UserError
from mixit_lightning.jobs import JOURNAL
from mixit_lightning.reading import listed, read_text

FOLDERS: dict[Split, str] = {"train": "train", "valid": "validation", "test": "eval"}

STANDARD_COUNTS = {"train": 20000, "validation": 1000, "eval": 1000}


class Clips:
    """Unlabelled clips of any sounds, as loud as they were recorded.

    Args:
        clips: recordings.
        length: samples of a random crop; shorter clips are padded with silence.
        seed: of the random crops.
    """

    def __init__(self, clips: RecordingPool, length: int, seed: int) -> None:
        self.clips = clips
        self.length = length
        self.seed = seed

    def draw(self, number: int, *, labelled: bool) -> Mixture:
        """A crop of a random clip."""
        rng = generator(self.seed, number, labelled)
        name = self.clips.groups[rng.integers(len(self.clips.groups))]
        (path,) = self.clips.recordings[name]
        samples, _ = self.clips.decoded.load(path)
        start = rng.integers(max(0, len(samples) - self.length) + 1)
        crop = fit_length(torch.from_numpy(samples[start : start + self.length]), self.length)
        return Mixture(name, crop, crop.new_zeros(0, self.length))


class Recombined:
    """New mixtures of the sources of a list: the background of one example, and foregrounds of any.

    Every source keeps its level. The number of sources is that of a random example.

    Args:
        rows: of the list, their backgrounds first.
        length: samples of a random crop, another one of every source.
        labelled_share: share of the rows whose sources may be used as references, see `PreparedMixtures`.
        seed: of the random mixtures.
    """

    def __init__(self, rows: Sequence[Row], length: int, labelled_share: float, seed: int) -> None:
        self.length = length
        self.seed = seed
        labelled, unlabelled = split_rows(rows, labelled_share, seed)
        self.rows = {True: labelled, False: unlabelled}
        self.foregrounds = {
            kind: [(path, row.frames) for row in split for path in row.references[1:]]
            for kind, split in self.rows.items()
        }

    def draw(self, number: int, *, labelled: bool) -> Mixture:
        """Mixture of that number; unlabelled ones come without references."""
        rng = generator(self.seed, number, labelled)
        rows, foregrounds = self.rows[labelled], self.foregrounds[labelled]
        background, like = (rows[rng.integers(len(rows))] for _ in range(2))
        count = min(len(like.references) - 1, len(foregrounds))
        others = [foregrounds[index] for index in rng.choice(len(foregrounds), count, replace=False)] if count else []
        sources = torch.stack(
            [self.crop(path, frames, rng) for path, frames in [(background.references[0], background.frames), *others]]
        )
        name = "_".join([background.name, *(path.parent.name.removesuffix("_sources") for path, _ in others)])
        return Mixture(name, sources.sum(0), sources if labelled else sources[:0])

    def crop(self, path: Path, frames: int, rng: np.random.Generator) -> torch.Tensor:
        """A random crop of a source, padded with silence if it is too short."""
        start = int(rng.integers(max(0, frames - self.length) + 1))
        return fit_length(torch.from_numpy(read(path, start, min(self.length, frames))), self.length)


class Fuss(MixtureDataModule):
    """Mixtures of one to four sounds, as the example lists of FUSS name them.

    Args:
        data: the folder that holds `ssdata/` or `ssdata_reverb/`, or one of these itself.
        reverberant: which of the two.
        unlabelled: a folder of clips of any sounds, of which the unlabelled examples are then made; null makes them of
            the unlabelled share of the set.
        dynamic: training recombines the sources of the set anew every time.
        num_outputs: of the network; no mixture may have more sources.
        settings: of the `MixtureDataModule`.
    """

    def __init__(
        self, data: str, reverberant: bool, unlabelled: str | None, dynamic: bool, num_outputs: int, **settings: Any
    ) -> None:
        super().__init__(**settings)
        name = "ssdata_reverb" if reverberant else "ssdata"
        self.folder = Path(data) / name if (Path(data) / name).is_dir() else Path(data)
        if self.folder.name in {"ssdata", "ssdata_reverb"} - {name}:
            raise UserError(f"data={data}: reverberant={str(reverberant).lower()} needs {name}; give the folder above")
        self.unlabelled = None if unlabelled is None else Path(unlabelled)
        self.dynamic = dynamic
        self.num_outputs = num_outputs

    def training_mixtures(self) -> TrainingMixtures:
        """Crops of the set's mixtures or of new ones; with clips, all of the set may be labelled."""
        share = 1.0 if self.unlabelled else self.labelled_share
        rows = self.rows("train")
        mixtures: TrainingMixtures
        if self.dynamic:
            mixtures = Recombined(rows, self.length, share, self.seed)
        else:
            mixtures = PreparedMixtures(rows, self.length, share, self.seed)
        if self.unlabelled is None:
            return mixtures
        clips = Clips(RecordingPool.of_folder(self.unlabelled, self.sample_rate), self.length, self.seed)
        return LabelledAndUnlabelled(mixtures, clips)

    def evaluation_mixtures(self, split: Split) -> PreparedMixtures:
        """The middle of every mixture for validation, whole mixtures for the test."""
        return PreparedMixtures(self.rows(split), self.length if split == "valid" else None)

    def rows(self, split: Split) -> list[Row]:
        """Rows of the list of a split.

        Raises:
            UserError: no list, a source that is listed but missing, or more sources than outputs.
        """
        path, listed = self.listed(split)
        for number, files in enumerate(listed, 1):
            if len(files) - 1 > self.num_outputs:
                raise UserError(
                    f"{path}, line {number}: {len(files) - 1} sources, but num_outputs={self.num_outputs}; "
                    f"set num_outputs={len(files) - 1} or more"
                )
            for file in files:
                if not file.is_file():
                    raise UserError(f"{path}, line {number}: lists {file}, which is missing; fetch or prepare it again")
        return make_rows(listed, self.sample_rate, str(path))

    def listed(self, split: Split) -> tuple[Path, list[list[Path]]]:
        """A split's list, and the files of every line: the mixture, its background, its foregrounds."""
        path = self.folder / f"{FOLDERS[split]}_example_list.txt"
        if not path.is_file():
            raise UserError(f"{path}: no such list; data=FOLDER holds ssdata/ or ssdata_reverb/ of FUSS")
        lines = read_text(path).splitlines()
        files = [
            [self.folder / listed(name, f"{path}, line {number}") for name in line.split("\t")]
            for number, line in enumerate(lines, 1)
            if line.strip()
        ]
        if not files:
            raise UserError(f"{path}: lists nothing; fetch or prepare it again")
        for number, group in enumerate(files, 1):
            if len(group) < 2:
                raise UserError(f"{path}, line {number}: must name a mixture and its sources, separated by tabs")
        return path, files

    def inventory(self) -> Inventory:
        """Mixtures with their sources, by the lists, and the clips."""
        items = [
            Item(FOLDERS[split], files[0].stem, {"mixture": files[0], **{path.stem: path for path in files[1:]}})
            for split in FOLDERS
            for files in self.listed(split)[1]
        ]
        # Names are numbers, which start again in every split.
        items = [item._replace(name=f"{item.split}/{item.name}") for item in items]
        for path in recordings_below(self.unlabelled) if self.unlabelled else []:
            items.append(Item("unlabelled", str(path), {"recording": path}))
        own = (self.folder / JOURNAL).exists()  # made by `mixit prepare`
        counts = {} if own else STANDARD_COUNTS
        clips = self.unlabelled is not None  # which may have any rate and number of channels
        return Inventory(
            self.folder,
            items,
            self.sample_rate,
            may_be_higher=clips,
            any_channels=clips,
            may_repeat=True,
            standard_counts=counts,
        )
