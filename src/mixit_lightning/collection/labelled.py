"""Labelled recordings beside a collection: one folder per source; files of the same name are added up."""

from pathlib import Path

import numpy as np
import torch

from ..audio.finding import RECORDINGS, is_recording
from ..audio.opening import Header, read_header
from ..data.dynamic import REFERENCE_RMS
from ..data.mixture import Mixture, generator
from ..errors import UserError
from .crops import read_segment, span_of


def check_labelled(labelled_data: str | None, labelled_share: float) -> None:
    """Refuse an objective that lacks labelled recordings, and labelled recordings that an objective has no use for.

    Raises:
        UserError: either.
    """
    if labelled_share and labelled_data is None:
        raise UserError("this objective needs labelled recordings: give labelled_data=FOLDER, or objective=mixit")
    if labelled_data is not None and not labelled_share:
        raise UserError("labelled_data has no meaning for objective=mixit; give objective=semi-supervised")


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
