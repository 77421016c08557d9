"""Mixtures that are stored with their sources, one file per signal, as in wsj0-2mix."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..audio.finding import is_recording
from ..audio.opening import read, read_headers
from ..errors import UserError
from .mixture import NO_MARGIN, Margin, Mixture, Sources, generator

T = TypeVar("T")


class Row(NamedTuple):
    """One mixture and its sources."""

    name: str
    mixture: Path
    references: tuple[Path, ...]
    frames: int

    def alone(self, number: int) -> "Row":
        """The recording of one of the sources, as a mixture of one."""
        path = self.references[number]
        return Row(f"{self.name} {path.parent.name}", path, (path,), self.frames)


class PreparedMixtures:
    """Rows of prepared mixtures: endless and shuffled for training, a fixed list for evaluation.

    Args:
        rows: what is on disk.
        length: samples of a random crop (training) or of the middle (evaluation); None is the whole file.
        labelled_share: for training, the share of the rows whose references may be used. Which rows these are depends
            on the seed alone; labelled and unlabelled examples never come from the same row.
        seed: of the order, the crops and the labelled rows.
        one_source_share: for training, the share of items that are one source of a row alone: the 1-or-2-source task.

    Raises:
        UserError: a share is none, or leaves no labelled or no unlabelled row.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        length: int | None,
        labelled_share: float = 1.0,
        seed: int = 0,
        one_source_share: float = 0.0,
    ) -> None:
        if not 0 <= one_source_share <= 1:
            raise UserError(f"datamodule.one_source_share={one_source_share} must be a share, between 0 and 1")
        self.length = length
        self.one_source_share = one_source_share
        self.seed = seed
        labelled, unlabelled = split_rows(rows, labelled_share, seed)
        self.rows = list(rows)
        self.max_sources = max((len(row.references) for row in rows), default=0)
        self.rows_of = {True: labelled, False: unlabelled}

    def draw(self, number: int, *, labelled: bool) -> Mixture:
        """A random crop of the next row of the current pass; unlabelled: no file but the mixture's is opened.

        Raises:
            UserError: a file is damaged.
        """
        return self.choose(number, labelled).mixture(with_references=labelled)

    def draw_sources(self, number: int, *, labelled: bool, margin: Margin) -> Sources:
        """The references of the crop that `draw` gives, with a margin.

        Raises:
            UserError: a file is damaged.
        """
        return self.choose(number, labelled).sources(margin)

    def choose(self, number: int, labelled: bool) -> "Crop":
        """The crop of that number."""
        rows = self.rows_of[labelled]
        row = rows[order_of_pass(self.seed, number // len(rows), labelled, len(rows))[number % len(rows)]]
        rng = generator(self.seed, 2, number, labelled)
        length = self.length or row.frames
        start = int(rng.integers(max(0, row.frames - length) + 1))
        if rng.random() < self.one_source_share:
            row = row.alone(int(rng.integers(len(row.references))))
        return Crop(row, start, length)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Mixture:
        return self.middle(number).mixture(with_references=True)

    def sources(self, number: int, margin: Margin) -> Sources:
        """Sources of the mixture of that number."""
        return self.middle(number).sources(margin)

    def middle(self, number: int) -> "Crop":
        """The middle of a row, or all of it."""
        row = self.rows[number]
        length = self.length or row.frames
        return Crop(row, max(0, row.frames - length) // 2, length)


@lru_cache(maxsize=16)
def order_of_pass(seed: int, number: int, labelled: bool, count: int) -> np.ndarray:
    """The order of `count` rows in one pass through them."""
    return generator(seed, 1, number, labelled).permutation(count)


class Crop(NamedTuple):
    """A crop of a row; silence follows where the row is too short."""

    row: Row
    start: int
    length: int

    def mixture(self, *, with_references: bool) -> Mixture:
        """Read the mixture, and its references only if they are asked for."""
        mixture = self.read(self.row.mixture, NO_MARGIN)
        references = self.sources(NO_MARGIN).signals if with_references else mixture.new_zeros(0, self.length)
        return Mixture(self.row.name, mixture, references)

    def sources(self, margin: Margin) -> Sources:
        """Read the references with a margin."""
        return Sources(self.row.name, torch.stack([self.read(path, margin) for path in self.row.references]))

    def read(self, path: Path, margin: Margin) -> Tensor:
        """Read one file of the row, and no more of it than is needed."""
        first = max(0, self.start - margin.before)
        last = min(self.row.frames, self.start + self.length + margin.after)
        return torch.from_numpy(margin.around(read(path, first, last - first), self.start - first, self.length))


def split_rows(rows: Sequence[T], labelled_share: float, seed: int, what: str = "mixture") -> tuple[list[T], list[T]]:
    """Split rows, or recordings, at random into a labelled share and the others.

    Raises:
        UserError: the share leaves one of the two splits empty.
    """
    order = generator(seed, 0).permutation(len(rows))
    cut = round(labelled_share * len(order))
    if 0 < labelled_share < 1 and cut in (0, len(order)):
        kind = "unlabelled" if cut else "labelled"
        raise UserError(f"objective.labelled_share={labelled_share} leaves no {kind} {what} of {len(order)}")
    return [rows[i] for i in order[:cut]], [rows[i] for i in order[cut:]]


def find_rows(folder: Path, mixture: str, references: Sequence[str], sample_rate: int) -> list[Row]:
    """Rows of `folder`: files of the same name below the folders `mixture` and `references`.

    Raises:
        UserError: a folder or file is missing, lengths differ, or a file has another sample rate (Hz).
    """
    names = {signal: names_in(folder / signal) for signal in (mixture, *references)}
    for signal in references:
        for name in sorted(names[mixture] ^ names[signal]):
            missing = folder / (signal if name in names[mixture] else mixture) / name
            raise UserError(f"{missing}: missing, though the other files of this mixture are there; prepare it again")
    files = [[folder / signal / name for signal in (mixture, *references)] for name in sorted(names[mixture])]
    return make_rows(files, sample_rate, str(folder))


def make_rows(files: Sequence[Sequence[Path]], sample_rate: int, what: str) -> list[Row]:
    """Rows of files that belong together, mixtures first, after a look at their headers; `what` is for the progress.

    Raises:
        UserError: a file is missing or damaged, lengths differ, or a file has another sample rate (Hz).
    """
    headers = iter(read_headers([path for group in files for path in group], what))
    rows = []
    for group in files:
        found = list(islice(headers, len(group)))
        for path, header in zip(group, found, strict=True):
            if header.sample_rate != sample_rate:
                raise UserError(
                    f"{path}: {header.sample_rate} Hz where sample_rate={sample_rate}; "
                    "set sample_rate to it or prepare the files again"
                )
            if header.frames != (frames := found[0].frames):
                raise UserError(f"{path}: {header.frames} samples where its mixture has {frames}; prepare it again")
        rows.append(Row(group[0].stem, group[0], tuple(group[1:]), found[0].frames))
    return rows


def names_in(folder: Path) -> set[str]:
    """Names of the recordings in a folder.

    Raises:
        UserError: there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; see the recipe's README for the layout of data=")
    names = {path.name for path in folder.iterdir() if is_recording(path.name)}
    if not names:
        raise UserError(f"{folder}: no recordings in it; see the recipe's README for the layout of data=")
    return names
