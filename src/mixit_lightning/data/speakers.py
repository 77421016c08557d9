"""A folder of recordings sorted by speaker, `<speaker>/**.{wav,flac,ogg}`, as a pool to mix from."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from ..errors import UserError
from .audio import SUFFIXES, find_audio, read, read_header, read_headers, resample

CACHE_BYTES = 2 * 2**30


class Recording(NamedTuple):
    """One file of one speaker."""

    path: Path
    speaker: str


class SpeakerPool:
    """Recordings by speaker, decoded once and kept in memory while they fit.

    Args:
        recordings: of two or more speakers.
        sample_rate: Hz; recordings at higher rates are resampled.
        speeds: every recording is played at one of these, drawn at random. Other speeds than 1 shift pitch and formants
            as well, and so stand in for more speakers (Ko et al., "Audio Augmentation for Speech Recognition",
            Interspeech 2015).

    Raises:
        UserError: a speed is not between 0.5 and 2.
    """

    def __init__(self, recordings: Sequence[Recording], sample_rate: int, speeds: Sequence[float] = (1.0,)) -> None:
        if not speeds or not all(0.5 <= speed <= 2 for speed in speeds):
            raise UserError(f"datamodule.speeds={list(speeds)} must be factors between 0.5 and 2, such as 0.9")
        self.recordings: dict[str, list[Path]] = defaultdict(list)
        for recording in recordings:
            self.recordings[recording.speaker].append(recording.path)
        self.groups = sorted(self.recordings)
        self.sample_rate = sample_rate
        self.speeds = tuple(speeds)
        self.cache: dict[tuple[Path, float], np.ndarray] = {}
        self.cached_bytes = 0

    @classmethod
    def scan(cls, folder: Path, sample_rate: int, speeds: Sequence[float] = (1.0,)) -> Self:
        """Find the recordings of `folder/<speaker>/`.

        Raises:
            UserError: no folder, no audio, one speaker only, or a file that is damaged or has too low a rate.
        """
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; the layout is <data>/<split>/<speaker>/**.wav, .flac or .ogg")
        recordings = [Recording(path, path.relative_to(folder).parts[0]) for path in find_audio(folder)]
        if not recordings:
            raise UserError(f"{folder}: no audio files ({', '.join(SUFFIXES)}) below it")
        if loose := [recording.path for recording in recordings if recording.path.parent == folder]:
            raise UserError(f"{loose[0]}: lies beside the speakers' folders; move it into its speaker's folder")
        if len({recording.speaker for recording in recordings}) < 2:
            raise UserError(f"{folder}: only one speaker ({recordings[0].speaker}); mixtures need at least two")
        paths = [recording.path for recording in recordings]
        for path, header in zip(paths, read_headers(paths, str(folder)), strict=True):
            if header.sample_rate < sample_rate:
                raise UserError(
                    f"{path}: {header.sample_rate} Hz, below sample_rate={sample_rate}; "
                    f"set sample_rate={header.sample_rate} or lower, or remove the file"
                )
        return cls(recordings, sample_rate, speeds)

    def split(self, share: float, seed: int) -> tuple["SpeakerPool", "SpeakerPool"]:
        """Part the recordings at random into a labelled `share` of them and the rest.

        A share of 0 or 1 gives all recordings twice, as then only one of the two pools is drawn from.

        Raises:
            UserError: one of the parts has fewer than two speakers.
        """
        if share in (0, 1):
            return self, self
        recordings = [Recording(path, speaker) for speaker in self.groups for path in self.recordings[speaker]]
        order = np.random.default_rng(seed).permutation(len(recordings))
        cut = round(share * len(recordings))
        parts = [[recordings[i] for i in part] for part in (order[:cut], order[cut:])]
        for part in parts:
            if len({recording.speaker for recording in part}) < 2:
                raise UserError(
                    f"objective.labelled_share={share} of {len(recordings)} recordings leaves a part "
                    "with fewer than two speakers"
                )
        one, other = (SpeakerPool(part, self.sample_rate, self.speeds) for part in parts)
        return one, other

    def draw(self, group: str, rng: np.random.Generator, length: int | None) -> tuple[str, np.ndarray]:
        """A random recording of the speaker at RMS 1, or a random stretch of it, padded with silence if too short."""
        paths = self.recordings[group]
        path = paths[rng.integers(len(paths))]
        samples = self.load(path, self.speeds[rng.integers(len(self.speeds))])
        if length is not None and len(samples) > length:
            start = rng.integers(len(samples) - length + 1)
            samples = samples[start : start + length]
        elif length is not None and len(samples) < length:
            before = rng.integers(length - len(samples) + 1)
            samples = np.pad(samples, (before, length - len(samples) - before))
        return path.stem, samples

    def load(self, path: Path, speed: float = 1.0) -> np.ndarray:
        """Whole recording at RMS 1, played `speed` times as fast.

        Raises:
            UserError: the file is damaged or silent.
        """
        if (path, speed) in self.cache:
            return self.cache[path, speed]
        # What was recorded at another rate than is claimed plays faster. In steps of a hundredth of the sample rate, so
        # that the two rates have a large common divisor, as the resampler needs.
        claimed = round(100 * speed) * read_header(path).sample_rate // 100
        samples = resample(read(path), claimed, self.sample_rate)
        rms = np.sqrt(np.mean(np.square(samples, dtype=np.float64)))
        if rms == 0:
            raise UserError(f"{path}: is silent throughout; remove it")
        samples = (samples / rms).astype(np.float32)
        if self.cached_bytes + samples.nbytes <= CACHE_BYTES:
            self.cache[path, speed] = samples
            self.cached_bytes += samples.nbytes
        return samples
