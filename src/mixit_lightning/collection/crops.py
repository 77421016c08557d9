"""Crops of recordings of any length, for training and evaluation; silence is passed over."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from ..audio.opening import read_block, reason
from ..audio.resampling import resample, rounded_rate
from ..data.dynamic import REFERENCE_RMS
from ..data.mixture import Mixture, generator, unlabelled
from ..data.recordings import check_speeds
from ..errors import UserError
from .index import AnalysedRecording

SILENT = -70
"""dB of full scale; blocks below are silent."""

RANGE = 40
"""dB below the loud blocks of a recording, down to which a block counts as active."""

LOUD = 95
"""Percentile of the levels of blocks that are not silent: the loud blocks."""

FLOOR = 10
"""Percentile of the levels of active blocks: the background."""

ABOVE_FLOOR = 6
"""dB above the background, above which a block counts as an event."""


class Channel(NamedTuple):
    """One channel of a recording that is not silent, or a span of it. Times are samples of the recording."""

    path: Path
    number: int
    sample_rate: int
    first: int
    end: int
    block: int
    """Samples of a block."""
    active: np.ndarray
    """Numbers of the active blocks, see `active_blocks`."""
    events: np.ndarray
    """Active blocks that stand out from the background; all active blocks where none does."""
    rms: float
    """RMS of the active blocks."""

    def between(self, start: float, end: float) -> "Channel":
        """Restrict it to a span between two shares of its time; blocks must lie completely inside."""
        first, last = (self.first + round(share * (self.end - self.first)) for share in (start, end))
        active, events = (
            blocks[(blocks * self.block >= first) & ((blocks + 1) * self.block <= last)]
            for blocks in (self.active, self.events)
        )
        return self._replace(first=first, end=last, active=active, events=events if len(events) else active)


class Recording(NamedTuple):
    """The channels of one recording, or of a span of it, that are not silent."""

    name: str
    channels: tuple[Channel, ...]

    @property
    def active_seconds(self) -> float:
        """Active seconds, averaged over the channels."""
        seconds = [len(channel.active) * channel.block / channel.sample_rate for channel in self.channels]
        return float(np.mean(seconds)) if seconds else 0.0

    def between(self, start: float, end: float) -> "Recording":
        """Restrict it to a span between two shares of its time."""
        channels = (channel.between(start, end) for channel in self.channels)
        return self._replace(channels=tuple(channel for channel in channels if len(channel.active)))


def active_blocks(levels: np.ndarray) -> np.ndarray:
    """Numbers of the active blocks, from levels `(block,)` in dB of full scale.

    A block is active above -70 dB and less than 40 dB below the loud blocks.
    """
    sounding = levels[levels > SILENT]
    if not len(sounding):
        return np.zeros(0, np.int32)
    return np.flatnonzero(levels > max(SILENT, np.percentile(sounding, LOUD) - RANGE)).astype(np.int32)


def as_recording(analysed: AnalysedRecording) -> Recording:
    """The channels of an indexed recording that are not silent."""
    survey, channels = analysed.survey, []
    for number, levels in enumerate(survey.levels):
        active = active_blocks(levels)
        if len(active):
            loud = active[levels[active] > np.percentile(levels[active], FLOOR) + ABOVE_FLOOR]
            events = loud if len(loud) else active
            rms = float(np.sqrt(np.mean(10 ** (levels[active].astype(float) / 10))))
            source = (analysed.path, number, survey.sample_rate)
            channels.append(Channel(*source, 0, survey.frames, survey.block, active, events, rms))
    return Recording(analysed.name, tuple(channels))


def read_segment(
    path: Path,
    channel: int,
    from_rate: int,
    start: int,
    within: tuple[int, int],
    length: int,
    sample_rate: int,
    speed: float = 1.0,
) -> np.ndarray:
    """Samples `(time,)` of one channel at another rate.

    Args:
        path: of the recording.
        channel: its number.
        from_rate: Hz, of the recording.
        start: sample of the recording; may lie before its beginning.
        within: first and last sample, the last one not included, beyond which there is silence.
        length: samples at the rate `sample_rate`.
        sample_rate: Hz, of what is returned.
        speed: how many times as fast it is played.

    Raises:
        UserError: it can no longer be read.
    """
    played_at = rounded_rate(speed * from_rate)
    frames = span_of(length, sample_rate, from_rate, speed)
    first, last = max(start, within[0]), min(start + frames, within[1])
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            file.seek(first)
            samples = read_block(path, file, max(0, last - first))[:, channel]
    except (soundfile.LibsndfileError, OSError, IndexError) as error:
        raise UserError(f"{path}: cannot be read any more ({reason(error)}); was it changed?") from error
    if len(samples) < last - first:
        raise UserError(f"{path}: ends after {first + len(samples)} samples, earlier than before; was it changed?")
    samples = np.pad(samples, (first - start, start + frames - first - len(samples)))
    return resample(samples, played_at, sample_rate)[:length]


def span_of(length: int, sample_rate: int, from_rate: int, speed: float) -> int:
    """Samples of a recording at `from_rate` that make up `length` at `sample_rate` when it is played faster."""
    return -(-length * rounded_rate(speed * from_rate) // rounded_rate(sample_rate))


def crop(
    channel: Channel, block: int, position: float, length: int, sample_rate: int, speed: float = 1.0
) -> np.ndarray:
    """A crop `(time,)` of a channel that has a block in it, at RMS 1 over its recording's active blocks.

    Args:
        channel: what to cut from; beyond it there is silence.
        block: number of the block.
        position: of the block in the crop, from 0 (at the end) to 1 (at the beginning), as far as the channel allows.
            A channel that is shorter than the crop lies anywhere in it.
        length: samples of the crop.
        sample_rate: Hz, of the crop.
        speed: how many times as fast the recording is played.

    Raises:
        UserError: the recording can no longer be read.
    """
    span = span_of(length, sample_rate, channel.sample_rate, speed)
    latest = channel.end - span
    if latest < channel.first:
        start = channel.first - round(position * (channel.first - latest))
    else:
        start = round(channel.block * block - (1 - position) * (span - channel.block))
        start = min(max(start, channel.first), latest)
    within = (channel.first, channel.end)
    samples = read_segment(channel.path, channel.number, channel.sample_rate, start, within, length, sample_rate, speed)
    return samples / channel.rms


class Cropped:
    """Crops of recordings to train on, by number; those of one example come from different recordings.

    Half of them are around a block that stands out from the background, half around any active block.

    Args:
        recordings: one or more; fewer than `num_mixtures` are split in time.
        length: samples.
        sample_rate: Hz.
        num_mixtures: mixtures that are added up for one example.
        fairness: sampling exponent: a recording is drawn in proportion to its active time to this power; 0 draws every
            recording equally often, 1 every active second.
        max_level: dB, up or down, of every crop beside the level that its recording has in the mean.
        speeds: factors of the speed perturbation; one is drawn at random for every crop.
        seed: of the random crops.
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
            shares = [(number / num_mixtures, (number + 1) / num_mixtures) for number in range(num_mixtures)]
            recordings = [recording.between(*share) for recording in recordings for share in shares]
        self.recordings = [recording for recording in recordings if recording.active_seconds]
        if len(self.recordings) < num_mixtures:
            raise UserError(f"there is too little to make mixtures of {num_mixtures} recordings of; add recordings")
        weights = np.array([recording.active_seconds for recording in self.recordings]) ** fairness
        self.weights = weights / weights.sum()
        self.length = length
        self.sample_rate = sample_rate
        self.num_mixtures = num_mixtures
        self.max_level = max_level
        self.speeds = tuple(speeds)
        self.seed = seed

    def draw(self, number: int, *, labelled: bool = False) -> Mixture:
        """Crop of that number: its channel and position are random, among the active ones.

        Raises:
            UserError: a recording can no longer be read.
        """
        example, member = divmod(number, self.num_mixtures)
        recording = self.recordings[self.choose(example)[member]]
        rng = generator(self.seed, 1, number)
        channel = recording.channels[rng.integers(len(recording.channels))]
        blocks = channel.active if rng.random() < 0.5 else channel.events
        block = int(blocks[rng.integers(len(blocks))])
        speed = self.speeds[rng.integers(len(self.speeds))]
        samples = crop(channel, block, float(rng.random()), self.length, self.sample_rate, speed)
        gain = REFERENCE_RMS * 10 ** (rng.uniform(-self.max_level, self.max_level) / 20)
        return as_mixture(recording, channel, block, gain * samples)

    def choose(self, example: int) -> list[int]:
        """Numbers of the recordings that an example is made of."""
        rng = generator(self.seed, 0, example)
        return rng.choice(len(self.weights), self.num_mixtures, replace=False, p=self.weights).tolist()


class CropList:
    """A fixed list of crops, spread over the recordings and their active time.

    Neighbours, which are added up to mixtures of mixtures, are half the list apart when it is sorted by recording and
    time: they come from one recording only where that has most of the list, and then lie far apart in it.

    Args:
        recordings: one or more.
        length: samples.
        sample_rate: Hz.
        count: crops, at most; there are no more than fit into the recordings.
        fairness: see `Cropped`.

    Raises:
        UserError: no two crops fit.
    """

    def __init__(
        self, recordings: Sequence[Recording], length: int, sample_rate: int, count: int, fairness: float
    ) -> None:
        active = np.array([recording.active_seconds for recording in recordings])
        shares = active**fairness
        wanted = np.ceil(count * shares / shares.sum()).astype(int)
        counts = np.minimum(wanted, np.maximum(1, active * sample_rate / length).astype(int))
        if counts.sum() < 2:
            raise UserError(
                f"{recordings[0].name}: what is held out of it is too short for two crops of {length / sample_rate:g} "
                "s; add recordings, or lower datamodule.duration"
            )
        spread = sorted(((k + 0.5) / n, number) for number, n in enumerate(counts) for k in range(n))
        count = min(count, len(spread))
        positions = sorted(spread[k * len(spread) // count][::-1] for k in range(count))
        half = -(-count // 2)
        self.positions = [positions[k // 2 + half * (k % 2)] for k in range(count)]
        self.recordings = recordings
        self.length = length
        self.sample_rate = sample_rate

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, number: int) -> Mixture:
        of, share = self.positions[number]
        recording = self.recordings[of]
        channel = recording.channels[number % len(recording.channels)]
        block = int(channel.active[int(share * len(channel.active))])
        samples = crop(channel, block, 0.5, self.length, self.sample_rate)
        return as_mixture(recording, channel, block, REFERENCE_RMS * samples)


def as_mixture(recording: Recording, channel: Channel, block: int, samples: np.ndarray) -> Mixture:
    """A crop around a block."""
    return unlabelled(f"{recording.name} around {block * channel.block / channel.sample_rate:.1f} s", samples)
