"""Pools of recordings of any length to mix from, optionally grouped by speaker or kind of sound."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from ..audio.finding import CONTAINERS, RECORDINGS, recordings_below
from ..audio.opening import read, read_header, read_headers
from ..audio.resampling import resample
from ..errors import UserError
from .mixture import NO_MARGIN, Margin
from .prepared import split_rows

CACHE_BYTES = 2 * 2**30

QUIET = 1e-3
"""RMS of a crop to that of its recording, below which it counts as silent."""


class Recording(NamedTuple):
    """One file, and its group: a speaker or a kind of sound."""

    path: Path
    group: str


class DecodedRecordings:
    """Whole recordings at one rate, decoded once and kept in memory while they fit.

    Args:
        sample_rate: Hz; recordings at higher rates are resampled.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.cache: dict[tuple[Path, float], tuple[np.ndarray, float]] = {}
        self.cached_bytes = 0

    def load(self, path: Path, speed: float = 1.0) -> tuple[np.ndarray, float]:
        """Samples `(time,)` of the first channel, played `speed` times as fast, and their root mean square.

        Raises:
            UserError: the file is damaged or silent.
        """
        if (path, speed) in self.cache:
            return self.cache[path, speed]
        # Claiming another sample rate changes the speed. In steps of a hundredth of the sample rate, so
        # that the two rates have a large common divisor, as the resampler needs.
        claimed = round(100 * speed) * read_header(path, any_channels=True).sample_rate // 100
        samples = resample(read(path), claimed, self.sample_rate)
        rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
        if rms == 0:
            raise UserError(f"{path}: is silent throughout; remove it")
        if self.cached_bytes + samples.nbytes <= CACHE_BYTES:
            self.cache[path, speed] = samples, rms
            self.cached_bytes += samples.nbytes
        return samples, rms


class RecordingPool:
    """Recordings by group, to draw crops from.

    Args:
        recordings: one or more.
        sample_rate: Hz; recordings at higher rates are resampled.
        speeds: factors of the speed perturbation, drawn at random for every recording. They shift pitch and formants as
            well, and so stand in for more speakers (Ko et al., "Audio Augmentation for Speech Recognition", Interspeech
            2015).
        repeats: whether recordings that are too short are repeated, as suits noise, not padded, as suits speech.
        decoded: where samples are kept, if another pool shares them.

    Raises:
        UserError: a speed is not between 0.5 and 2.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        sample_rate: int,
        speeds: Sequence[float] = (1.0,),
        *,
        repeats: bool = False,
        decoded: DecodedRecordings | None = None,
    ) -> None:
        check_speeds(speeds)
        self.recordings: dict[str, list[Path]] = defaultdict(list)
        for recording in recordings:
            self.recordings[recording.group].append(recording.path)
        self.groups = sorted(self.recordings)
        self.sample_rate = sample_rate
        self.speeds = tuple(speeds)
        self.repeats = repeats
        self.decoded = decoded or DecodedRecordings(sample_rate)

    @classmethod
    def of_speakers(cls, folder: Path, sample_rate: int, speeds: Sequence[float] = (1.0,)) -> Self:
        """Find the recordings of `folder/<speaker>/`; the speakers are the groups.

        Raises:
            UserError: no folder, no audio, one speaker only, or a file that is damaged or has too low a rate.
        """
        paths = find_recordings(folder, sample_rate)
        if loose := [path for path in paths if path.parent == folder]:
            raise UserError(f"{loose[0]}: lies beside the speakers' folders; move it into its speaker's folder")
        recordings = [Recording(path, path.relative_to(folder).parts[0]) for path in paths]
        if len({recording.group for recording in recordings}) < 2:
            raise UserError(f"{folder}: only one speaker ({recordings[0].group}); mixtures need at least two")
        return cls(recordings, sample_rate, speeds)

    @classmethod
    def of_folder(
        cls, folder: Path, sample_rate: int, speeds: Sequence[float] = (1.0,), *, repeats: bool = False
    ) -> Self:
        """Find the recordings anywhere below a folder, each a group of its own. Of several channels the first counts.

        Raises:
            UserError: no folder, no audio, or a file that is damaged or has too low a rate.
        """
        paths = find_recordings(folder, sample_rate, any_channels=True)
        recordings = [Recording(path, str(path.relative_to(folder))) for path in paths]
        return cls(recordings, sample_rate, speeds, repeats=repeats)

    def split(self, share: float, seed: int) -> tuple["RecordingPool", "RecordingPool"]:
        """Split the recordings at random into a labelled `share` of them and the rest.

        A share of 0 or 1 gives all recordings twice, as then only one of the two pools is drawn from.

        Raises:
            UserError: one of the two splits is empty.
        """
        if share in (0, 1):
            return self, self
        recordings = [Recording(path, group) for group in self.groups for path in self.recordings[group]]
        labelled, others = (
            RecordingPool(split, self.sample_rate, self.speeds, repeats=self.repeats, decoded=self.decoded)
            for split in split_rows(recordings, share, seed, "recording")
        )
        return labelled, others

    def draw_any(self, rng: np.random.Generator, length: int | None) -> tuple[str, np.ndarray]:
        """A random recording of a random group, see `draw`."""
        return self.draw(self.groups[rng.integers(len(self.groups))], rng, length)

    def draw(
        self, group: str, rng: np.random.Generator, length: int | None, margin: Margin = NO_MARGIN
    ) -> tuple[str, np.ndarray]:
        """Name and samples of a random recording of the group at RMS 1, or of a random crop of it with a margin.

        Raises:
            UserError: the file is damaged, silent, or too short to be repeated.
        """
        paths = self.recordings[group]
        path = paths[rng.integers(len(paths))]
        samples, rms = self.decoded.load(path, self.speeds[rng.integers(len(self.speeds))])
        length, start = len(samples) if length is None else length, 0
        if len(samples) > length:
            start = int(rng.integers(len(samples) - length + 1))
        elif len(samples) < length and self.repeats:
            try:
                samples = repeat(samples, sum(margin) + length, self.sample_rate)
            except ValueError as error:
                raise UserError(f"{path}: {error}; remove recordings below 0.6 s") from error
            start = margin.before
        elif len(samples) < length:
            start = -int(rng.integers(length - len(samples) + 1))
        return path.stem, (margin.around(samples, start, length) / rms).astype(np.float32)


def repeat(samples: np.ndarray, length: int, sample_rate: int) -> np.ndarray:
    """Repeat a noise `(time,)` up to `length` samples, with a cross-fade of half a second at every seam.

    As LibriMix does it (Cosentino et al., arXiv 2005.11262).

    Raises:
        ValueError: it is hardly longer than the cross-fade.
    """
    fade = np.hanning(sample_rate + 1)[: sample_rate // 2 + 1]
    if len(samples) < 1.1 * len(fade):  # otherwise it would be all seams
        raise ValueError(f"{len(samples)} samples are too few to repeat it")
    extended = samples
    while len(extended) < length:
        overlap = extended[-len(fade) :] * fade[::-1] + samples[: len(fade)] * fade
        extended = np.concatenate([extended[: -len(fade)], overlap, samples[len(fade) :]])
    return extended[:length]


def check_speeds(speeds: Sequence[float]) -> None:
    """Refuse implausible factors of the speed perturbation.

    Raises:
        UserError: there are none, or one is not between 0.5 and 2.
    """
    if not speeds or not all(0.5 <= speed <= 2 for speed in speeds):
        raise UserError(f"datamodule.speeds={list(speeds)} must be factors between 0.5 and 2, such as 0.9")


def find_recordings(folder: Path, sample_rate: int, *, any_channels: bool = False) -> list[Path]:
    """All recordings below a folder, after a look at their headers.

    Raises:
        UserError: no folder, no audio, or a file that is damaged or has too low a rate.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; see the recipe's README for the layout of data=")
    paths = recordings_below(folder)
    if not paths:
        raise UserError(f"{folder}: no audio files ({', '.join(RECORDINGS + CONTAINERS)}) below it")
    for path, header in zip(paths, read_headers(paths, str(folder), any_channels=any_channels), strict=True):
        if header.sample_rate < sample_rate:
            raise UserError(
                f"{path}: {header.sample_rate} Hz, below sample_rate={sample_rate}; "
                f"set sample_rate={header.sample_rate} or lower, or remove the file"
            )
    return paths
