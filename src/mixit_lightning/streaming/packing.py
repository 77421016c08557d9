"""`mixit shard`: the active parts of recordings are cut out, shuffled, and packed into shards.

The content of every shard is planned before anything is read, depends on the recordings and the settings alone, and its
hash stands in the shard. So the same command again resumes: shards that are made as planned are kept.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..audio.resampling import rounded_rate
from ..collection.crops import Channel, read_segment
from ..collection.held_out import hold_out
from ..collection.listed import indexed
from ..collection.proposals import propose
from ..collection.usable import Usable, usable
from ..data.mixture import generator
from ..errors import UserError
from ..pool import side_by_side
from ..progress import ProgressBar, gigabytes
from .catalogue import CATALOGUE, Catalogue, Shard, first_mistake, read_catalogue
from .reading import PLAN, SOUND, schema
from .storage import Storage

QUIET = 10 ** (-40 / 20)
"""RMS to which quieter recordings are raised, so that 16 bits do for them."""

FULL_SCALE = 32767 / 32768

NO_BLOCKS = np.zeros(0, np.int32)

MOST_SKIPPED = 20
"""Skipped recordings that are printed."""


class Settings(BaseModel):
    """What shards depend on besides the recordings and the sample rate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shortest: float = Field(gt=0)
    """Seconds of a recording and of a segment."""
    seconds: float
    """Highest length of a segment."""
    pause: float = Field(ge=0)
    """Seconds of silence that stay in a segment."""
    shard_megabytes: float = Field(gt=0, le=1000)
    """Highest size of the 16-bit samples of a shard."""
    held_out: float = Field(gt=0, le=0.4)
    """Share of the recordings for validation, and as much for the test."""
    held_out_hours: float = Field(gt=0)
    """The most of each."""
    seed: int
    """Of the shuffling."""


class Span(NamedTuple):
    """Where a segment is cut from."""

    number: int
    """Number of its recording."""
    name: str
    digest: str
    """Hash of its recording's samples."""
    channel: Channel
    first: int
    """Sample of the recording."""
    length: int
    """Samples at the rate of the shards."""


class Plan(NamedTuple):
    """The planned content of a shard."""

    name: str
    spans: list[Span]
    sample_rate: int

    @property
    def digest(self) -> str:
        """Hash of everything that the shard depends on."""
        rows = [
            (*span[:3], span.channel.number, span.channel.first, span.channel.end, span.channel.rms, *span[4:])
            for span in self.spans
        ]
        return hashlib.sha256(json.dumps([1, self.sample_rate, rows]).encode()).hexdigest()


def pack(data: str, output: str, sample_rate: int | None, index: str, licence: str | None, **settings: Any) -> str:
    """Pack recordings into shards.

    Args:
        data: a folder, or a list, see `indexed`.
        output: where the shards go, see `Storage`.
        sample_rate: Hz; None proposes one.
        index: folder for the analysis of the recordings.
        licence: of the recordings.
        settings: see `Settings`.

    Returns:
        A summary to print.

    Raises:
        UserError: a setting is wrong, there is too little, or the output cannot be written.
    """
    try:
        chosen = Settings(**settings)
    except ValidationError as error:
        raise UserError(f"{first_mistake(error)}; see conf/shard.yaml") from error
    if chosen.shortest > chosen.seconds:
        raise UserError(f"shortest={chosen.shortest:g} must be at most seconds={chosen.seconds:g}")
    source, storage = Path(data).expanduser(), Storage(output)
    if not source.exists():
        raise UserError(f"data={data}: no such folder or list")
    if storage.is_local and source.is_dir() and Path(storage.root).is_relative_to(source.resolve()):
        raise UserError(f"output={output}: lies in data={data}; choose another folder")
    scanned = indexed(source, Path(index))
    rate = int(propose(scanned, chosen.shortest)["sample_rate"].value) if sample_rate is None else sample_rate
    found = usable(scanned, rate, chosen.shortest)
    if not found.recordings:
        why = "; ".join(f"{name} {problem}" for name, problem in list(found.skipped.items())[:3])
        raise UserError(f"{source}: none of its recordings can be used: {why}")
    shards = write_shards(storage, make_plans(found, rate, chosen))
    catalogue = Catalogue(
        sample_rate=rate,
        recordings=len(found.recordings),
        hours={
            split: round(sum(shard.seconds for shard in shards if shard.name.startswith(split)) / 3600, 4)
            for split in ("train", "valid", "test")
        },
        licence=licence,
        settings=chosen.model_dump(),
        shards=shards,
    )
    with storage.writing(CATALOGUE) as path:
        path.write_text(catalogue.model_dump_json() + "\n")
    lines = [f"skipped: {name}: {problem}" for name, problem in list(found.skipped.items())[:MOST_SKIPPED]]
    if (more := len(found.skipped) - MOST_SKIPPED) > 0:
        lines.append(f"skipped: {more} more; `mixit doctor recipe=own-recordings` lists them")
    lines += [
        f"{output}: {sum(catalogue.hours.values()):.2f} hours of {len(found.recordings)} recordings at {rate} Hz in "
        f"{len(shards)} shards, {gigabytes(sum(shard.bytes for shard in shards))}",
        f"train: mixit train recipe=shards data={output}",
    ]
    return "\n".join(lines)


def make_plans(found: Usable, sample_rate: int, settings: Settings) -> list[Plan]:
    """Assign segments to shards in random order, so that a shard holds many recordings.

    Raises:
        UserError: nothing is left for a split.
    """
    numbers = {one.name: (number, one.name, one.survey.digest) for number, one in enumerate(found.analysed)}
    hours = sum(one.survey.seconds for one in found.analysed) / 3600
    splits = hold_out(found, min(settings.held_out, settings.held_out_hours / hours))
    most = max(1, round(settings.shard_megabytes * 1e6 / 2))
    plans: list[Plan] = []
    for kind, (split, recordings) in enumerate(splits.items()):
        spans = [
            # Without its blocks, which writing shards has no use for.
            Span(*numbers[recording.name], bare, first, length)
            for recording in recordings
            for channel in recording.channels
            for bare in [channel._replace(active=NO_BLOCKS, events=NO_BLOCKS)]
            for first, length in cut(channel, sample_rate, settings)
        ]
        if len(spans) < 2:
            raise UserError(f"too little is left for {split}; add recordings, or lower shortest={settings.shortest:g}")
        order = generator(settings.seed, kind).permutation(len(spans))
        ends = np.cumsum([spans[index].length for index in order])
        of_shard = (ends - 1) // most
        for number, members in enumerate(np.split(order, np.flatnonzero(np.diff(of_shard)) + 1)):
            plans.append(Plan(f"{split}-{number:05}.parquet", [spans[index] for index in members], sample_rate))
    return plans


def cut(channel: Channel, sample_rate: int, settings: Settings) -> Iterator[tuple[int, int]]:
    """First sample, and length at another rate, of the active spans of a channel.

    Silences longer than `settings.pause` are left out but for half of it at either side.

    Args:
        channel: what to cut.
        sample_rate: Hz, of the segments.
        settings: `seconds`, `pause` and `shortest`.
    """
    rate = channel.sample_rate
    margin = round(settings.pause / 2 * rate)
    breaks = np.flatnonzero(np.diff(channel.active) * channel.block > 2 * margin + channel.block) + 1
    for run in np.split(channel.active, breaks):
        start = max(channel.first, int(run[0]) * channel.block - margin)
        end = min(channel.end, int(run[-1] + 1) * channel.block + margin)
        count = max(1, -(-(end - start) // round(settings.seconds * rate)))
        edges = np.linspace(start, end, count + 1).round().astype(int)
        for first, last in pairwise(edges):
            if last - first >= settings.shortest * rate:
                yield int(first), int(last - first) * rounded_rate(sample_rate) // rounded_rate(rate)


def write_shards(storage: Storage, plans: Sequence[Plan]) -> list[Shard]:
    """Write the shards that are not there, on all cores.

    Raises:
        UserError: a recording cannot be read any more, or the output cannot be written.
    """
    try:
        known = {shard.name: shard for shard in read_catalogue(storage).shards}
    except UserError:  # there is none, or it is written again
        known = {}
    if {shard.name: shard.plan for shard in known.values()} != {plan.name: plan.digest for plan in plans}:
        storage.remove(CATALOGUE)  # of other shards
    done = {}
    with (
        side_by_side(partial(write_shard, storage), plans) as shards,
        ProgressBar("Packing", len(plans), aside=True) as progress,
    ):
        for _, shard in shards:
            done[shard.name] = shard
            progress.advance()
    for name in known.keys() - done.keys():
        storage.remove(name)
    return [done[plan.name] for plan in plans]


def write_shard(storage: Storage, plan: Plan) -> Shard:
    """Write a shard, unless it is there; in a process of its own.

    Raises:
        UserError: a recording cannot be read any more, or the output cannot be written.
    """
    from pyarrow import Table
    from pyarrow.parquet import ParquetWriter

    if not is_there(storage, plan):
        columns = schema(plan.sample_rate, plan.digest)
        # Nothing is compressed twice; a row can be read without the others.
        options = {"compression": "NONE", "use_dictionary": False, "write_statistics": False}
        with (
            storage.writing(plan.name) as path,
            ParquetWriter(path, columns, write_page_checksum=True, **options) as writer,
        ):
            for span in plan.spans:
                writer.write_table(Table.from_pylist([row_of(span, plan.sample_rate)], columns))
    return Shard(
        name=plan.name,
        bytes=storage.size(plan.name) or 0,
        plan=plan.digest,
        seconds=sum(span.length for span in plan.spans) / plan.sample_rate,
        recordings=[span.number for span in plan.spans],
    )


def is_there(storage: Storage, plan: Plan) -> bool:
    """Whether a shard is made as planned, by its metadata, which are its end."""
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema

    if storage.size(plan.name) is None:
        return False
    try:
        about = read_schema(storage.path(plan.name), filesystem=storage.files).metadata
    except (ArrowException, OSError):  # none of ours, or cut off
        return False
    return about is not None and about.get(PLAN) == plan.digest.encode()


def row_of(span: Span, sample_rate: int) -> dict[str, object]:
    """The row of a segment: 16-bit FLAC at its own level, except for very quiet or clipping recordings."""
    channel = span.channel
    within = (channel.first, channel.end)
    source = (channel.path, channel.number, channel.sample_rate)
    samples = read_segment(*source, span.first, within, span.length, sample_rate)
    peak = float(np.abs(samples).max(initial=1e-9))
    gain = min(max(1.0, QUIET / channel.rms), FULL_SCALE / peak)
    sound = BytesIO()
    soundfile.write(sound, np.round(samples * gain * 2**15).astype(np.int16), sample_rate, "PCM_16", format="FLAC")
    start = span.first / channel.sample_rate
    return {
        SOUND: {"bytes": sound.getvalue(), "path": f"{Path(span.name).stem}-{channel.number}-{start:.1f}.flac"},
        "recording": span.name,
        "channel": channel.number,
        "start": start,
        "seconds": len(samples) / sample_rate,
        "rms": channel.rms * gain,
    }
