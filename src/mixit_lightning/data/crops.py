"""Crops of recordings of any length: long and short ones are heard fairly, and silence is passed over."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch

from ..errors import UserError
from .audio import reason, resample
from .dynamic import REFERENCE_RMS
from .index import Heard
from .mixture import Mixture, generator
from .recordings import check_speeds
from .survey import BLOCK

SILENT = -70
"""dB of full scale, above which a recording has something in it."""

RANGE = 40
"""dB below its loud parts, down to which a recording counts as active."""

LOUD = 95
"""Percentile of the blocks that have something in them: the loud parts."""


class Channel(NamedTuple):
    """One channel of a recording that is not silent, or a part of it in time."""

    name: str
    path: Path
    channel: int
    sample_rate: int
    first: int
    """The block that it begins with."""
    blocks: int
    active: np.ndarray
    """Numbers of the blocks in which something can be heard."""
    rms: float
    """Of the active blocks."""

    def part(self, first: int, blocks: int) -> "Channel":
        """What lies in some of its blocks."""
        inside = self.active[(self.active >= first) & (self.active < first + blocks)]
        return self._replace(first=first, blocks=blocks, active=inside)


class Recording(NamedTuple):
    """The channels of one recording, or of a part of it in time, that are not silent."""

    name: str
    channels: tuple[Channel, ...]

    @property
    def active_seconds(self) -> float:
        """Seconds in which something can be heard, in the mean over the channels."""
        return BLOCK * float(np.mean([len(channel.active) for channel in self.channels])) if self.channels else 0.0

    def part(self, start: float, end: float) -> "Recording":
        """What lies between two shares of its time, in whole blocks."""
        parts = []
        for channel in self.channels:
            first, last = (channel.first + round(share * channel.blocks) for share in (start, end))
            parts.append(channel.part(first, last - first))
        return self._replace(channels=tuple(part for part in parts if len(part.active)))


def active_blocks(levels: np.ndarray) -> np.ndarray:
    """Numbers of the blocks in which something can be heard, of levels `(block,)` in dB of full scale.

    That is whatever lies above -70 dB and less than 40 dB below the loud parts; nothing where nothing does.
    """
    heard = levels[levels > SILENT]
    if not len(heard):
        return np.zeros(0, int)
    return np.flatnonzero(levels > max(SILENT, np.percentile(heard, LOUD) - RANGE))


def as_recording(heard: Heard) -> Recording:
    """The channels of an indexed recording that are not silent."""
    channels = []
    for number, levels in enumerate(heard.survey.levels):
        active = active_blocks(levels)
        if len(active):
            rms = float(np.sqrt(np.mean(10 ** (levels[active].astype(float) / 10))))
            one = (heard.name, heard.path, number, heard.survey.sample_rate, 0, len(levels), active, rms)
            channels.append(Channel(*one))
    return Recording(heard.name, tuple(channels))


def read_stretch(
    path: Path, channel: int, from_rate: int, start: float, length: int, sample_rate: int, speed: float = 1.0
) -> np.ndarray:
    """Samples `(time,)` of one channel at another rate, with silence where the recording has none.

    Args:
        path: of the recording.
        channel: its number.
        from_rate: Hz, of the recording.
        start: seconds; negative is before the recording begins.
        length: samples at the rate `sample_rate`.
        sample_rate: Hz, of what is returned.
        speed: how many times as fast it is played.

    Raises:
        UserError: it can no longer be read.
    """
    played_at = round(speed * from_rate)
    first, frames = round(start * from_rate), -(-length * played_at // sample_rate)
    try:
        with soundfile.SoundFile(str(path)) as file:
            file.seek(min(max(0, first), file.frames))
            samples = file.read(max(0, frames + min(0, first)), dtype="float32", always_2d=True)[:, channel]
    except (soundfile.LibsndfileError, OSError, IndexError) as error:
        raise UserError(f"{path}: cannot be read any more ({reason(error)}); was it changed?") from error
    if not np.isfinite(samples).all():
        raise UserError(f"{path}: holds samples that are not finite numbers (NaN or infinity); was it changed?")
    before = max(0, -first)
    samples = np.pad(samples, (before, max(0, frames - before - len(samples))))
    return resample(samples, played_at, sample_rate)[:length]


def crop(channel: Channel, block: int, place: float, length: int, sample_rate: int, speed: float = 1.0) -> np.ndarray:
    """A crop `(time,)` of a channel that has a block in it, at RMS 1 of its recording's active parts.

    Args:
        channel: what to cut from.
        block: number of the block.
        place: where in the crop it lies, from 0 (at the end) to 1 (at the beginning), as far as the channel allows.
        length: samples of the crop.
        sample_rate: Hz, of the crop.
        speed: how many times as fast the recording is played.

    Raises:
        UserError: the recording can no longer be read.
    """
    seconds = speed * length / sample_rate
    start = BLOCK * block - (1 - place) * (seconds - BLOCK)
    first, last = BLOCK * channel.first, BLOCK * (channel.first + channel.blocks)
    if last - first >= seconds:
        start = min(max(start, first), last - seconds)
    else:  # it is shorter, and stands anywhere in the crop
        start = first - place * (seconds - (last - first))
    samples = read_stretch(channel.path, channel.channel, channel.sample_rate, start, length, sample_rate, speed)
    return samples / channel.rms


class Cropped:
    """Crops of recordings to train on, by number; those of one example come from different recordings.

    Args:
        recordings: one or more; fewer than `num_mixtures` are parted in time.
        length: samples.
        sample_rate: Hz.
        num_mixtures: mixtures that are added up for one example.
        fairness: a recording is drawn as often as its active time to this power: 0 hears every recording as often, 1
            every second.
        max_level: dB, up or down, of every crop beside the level that its recording has in the mean.
        speeds: every crop is played at one of these, drawn at random, as if there were more recordings.
        seed: crops of another seed are others.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        length: int,
        sample_rate: int,
        num_mixtures: int,
        fairness: float,
        max_level: float,
        speeds: Sequence[float],
        seed: int,
    ) -> None:
        check_speeds(speeds)
        if len(recordings) < num_mixtures:
            parts = [(number / num_mixtures, (number + 1) / num_mixtures) for number in range(num_mixtures)]
            recordings = [recording.part(*part) for recording in recordings for part in parts]
        self.recordings = [recording for recording in recordings if recording.active_seconds]
        if len(self.recordings) < num_mixtures:
            raise UserError(f"there is too little to make mixtures of {num_mixtures} recordings of; add recordings")
        weights = np.array([recording.active_seconds for recording in self.recordings]) ** fairness
        self.weights = weights / weights.sum()
        self.upto = np.cumsum(self.weights)
        self.length = length
        self.sample_rate = sample_rate
        self.num_mixtures = num_mixtures
        self.max_level = max_level
        self.speeds = tuple(speeds)
        self.seed = seed

    def draw(self, number: int) -> Mixture:
        """Crop of that number: channel and place are random, among those in which something can be heard.

        Raises:
            UserError: a recording can no longer be read.
        """
        example, member = divmod(number, self.num_mixtures)
        recording = self.recordings[self.choose(example)[member]]
        rng = generator(self.seed, 1, number)
        channel = recording.channels[rng.integers(len(recording.channels))]
        block = channel.active[rng.integers(len(channel.active))]
        speed = self.speeds[rng.integers(len(self.speeds))]
        samples = crop(channel, int(block), float(rng.random()), self.length, self.sample_rate, speed)
        gain = REFERENCE_RMS * 10 ** (rng.uniform(-self.max_level, self.max_level) / 20)
        return unlabelled(f"{recording.name} at {BLOCK * block:.1f} s", gain * samples)

    def choose(self, example: int) -> list[int]:
        """Numbers of the recordings that an example is made of."""
        rng = generator(self.seed, 0, example)
        chosen: list[int] = []
        for _ in range(self.num_mixtures):
            place = rng.random() * (1 - self.weights[chosen].sum())
            for number in sorted(chosen):  # their part of the line is jumped over
                place += self.weights[number] * (place >= self.upto[number] - self.weights[number])
            number = int(np.searchsorted(self.upto, place, "right"))
            # Rounding may lead a hair beyond the end, or onto one that was chosen.
            others = (k for k in range(len(self.upto)) if k not in chosen)
            chosen.append(number if number < len(self.upto) and number not in chosen else next(others))
        return chosen


class CropList:
    """A fixed list of crops, spread over the recordings and the time in which something can be heard in them.

    Args:
        recordings: one or more.
        length: samples.
        sample_rate: Hz.
        count: crops, at most; there are no more than fit into the recordings, but two.
        fairness: see `Cropped`.
    """

    def __init__(
        self, recordings: Sequence[Recording], length: int, sample_rate: int, count: int, fairness: float
    ) -> None:
        active = np.array([recording.active_seconds for recording in recordings])
        shares = active**fairness
        wanted = np.ceil(count * shares / shares.sum()).astype(int)
        fitting = np.maximum(1, active * sample_rate / length).astype(int)
        counts = np.minimum(wanted, fitting)
        if counts.sum() < 2:
            counts[0] = 2
        # Crops of one recording lie far apart in the list, as neighbours are added up to mixtures of mixtures.
        places = sorted(((k + 0.5) / n, number) for number, n in enumerate(counts) for k in range(n))
        count = min(count, len(places))
        self.places = [places[k * len(places) // count] for k in range(count)]
        self.recordings = recordings
        self.length = length
        self.sample_rate = sample_rate

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Mixture:
        share, of = self.places[number]
        recording = self.recordings[of]
        channel = recording.channels[number % len(recording.channels)]
        block = channel.active[int(share * len(channel.active))]
        samples = crop(channel, int(block), 0.5, self.length, self.sample_rate)
        return unlabelled(f"{recording.name} at {BLOCK * block:.1f} s", REFERENCE_RMS * samples)


def unlabelled(name: str, samples: np.ndarray) -> Mixture:
    """A mixture of which nothing else is known."""
    return Mixture(name, torch.from_numpy(samples.astype(np.float32)), torch.zeros(0, len(samples)))
