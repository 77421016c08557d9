"""`mixit shard`: the active parts of recordings are cut out, shuffled, and packed into shards.

The content of every shard is planned before anything is read, and depends on the recordings and the settings alone. So
the same command again goes on where it was stopped: shards that are whole are kept.
"""

import errno
import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from pydantic import ValidationError

from ..audio.resampling import rounded_rate
from ..collection.crops import Channel, read_segment
from ..collection.held_out import hold_out
from ..collection.listed import indexed
from ..collection.proposals import propose
from ..collection.usable import Usable, usable
from ..data.datamodule import Split
from ..data.mixture import generator
from ..errors import UserError
from ..pool import side_by_side
from ..progress import ProgressBar, gigabytes
from .catalogue import CATALOGUE, MOST_ROWS, Catalogue, Shard, read_catalogue
from .reading import SOUND, schema
from .storage import Storage

QUIET = 10 ** (-40 / 20)
"""RMS to which quieter recordings are raised, so that 16 bits do for them."""

FULL_SCALE = 32767 / 32768

NO_BLOCKS = np.zeros(0, np.int32)

MOST_MEGABYTES = 1e9
"""Limit for catalogues that were written here: none."""


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


def pack(
    data: str,
    output: str,
    sample_rate: int | None,
    seconds: float,
    pause: float,
    shortest: float,
    shard_megabytes: float,
    held_out: float,
    held_out_hours: float,
    index: str,
    licence: str | None,
    patience: float,
    seed: int,
) -> str:
    """Pack recordings into shards; see `conf/shard.yaml`.

    Returns:
        A summary to print.

    Raises:
        UserError: a setting is wrong, there is too little, or the output cannot be written.
    """
    source = Path(data).expanduser()
    if not source.exists():
        raise UserError(f"data={data}: no such folder or list")
    check_settings(seconds, pause, shortest, shard_megabytes, held_out, held_out_hours)
    storage = Storage(output, patience)
    if storage.is_local and source.is_dir() and Path(storage.root).is_relative_to(source.resolve()):
        raise UserError(f"output={output}: lies in data={data}; choose another folder")
    scanned = indexed(source, Path(index))
    rate = propose(scanned, shortest).sample_rate if sample_rate is None else sample_rate
    found = usable(scanned, rate, shortest)
    if not found.recordings:
        why = "; ".join(f"{name} {problem}" for name, problem in list(found.skipped.items())[:3])
        raise UserError(f"{source}: none of its recordings can be used: {why}")
    plans = make_plans(found, rate, seconds, pause, shortest, shard_megabytes, held_out, held_out_hours, seed)
    shards = write_shards(storage, plans)
    catalogue = Catalogue(
        sample_rate=rate,
        recordings=len(found.recordings),
        hours={split: hours_of(shards, split) for split in ("train", "valid", "test")},
        licence=licence,
        settings={
            "seconds": seconds,
            "pause": pause,
            "shortest": shortest,
            "shard_megabytes": shard_megabytes,
            "held_out": held_out,
            "held_out_hours": held_out_hours,
            "seed": seed,
        },
        shards=shards,
    )
    write_catalogue(storage, catalogue)
    lines = [f"skipped: {name}: {problem}" for name, problem in list(found.skipped.items())[:20]]
    if len(found.skipped) > 20:
        lines.append(f"skipped: {len(found.skipped) - 20} more; `mixit doctor recipe=own-recordings` lists them")
    size = sum(shard.bytes for shard in shards)
    lines.append(
        f"{output}: {sum(catalogue.hours.values()):.2f} hours of {len(found.recordings)} recordings at {rate} Hz in "
        f"{len(shards)} shards, {gigabytes(size)}\ntrain: mixit train recipe=shards data={output}"
    )
    return "\n".join(lines)


def check_settings(
    seconds: float, pause: float, shortest: float, shard_megabytes: float, held_out: float, held_out_hours: float
) -> None:
    """Refuse invalid settings.

    Raises:
        UserError: with the key.
    """
    if not 0 < shortest <= seconds:
        raise UserError(f"shortest={shortest:g} must be above 0, and at most seconds={seconds:g}")
    if pause < 0:
        raise UserError(f"pause={pause:g} must not be negative")
    if not 0 < held_out <= 0.4:
        raise UserError(f"held_out={held_out} must be a share above 0, and 0.4 at most")
    if held_out_hours <= 0:
        raise UserError(f"held_out_hours={held_out_hours:g} must be positive")
    if not 0 < shard_megabytes <= 1000:
        raise UserError(f"shard_megabytes={shard_megabytes:g} must be positive, and 1000 at most")


def hours_of(shards: Sequence[Shard], split: Split) -> float:
    """Hours of a split."""
    return round(sum(shard.seconds for shard in shards if shard.split == split) / 3600, 4)


def make_plans(
    found: Usable,
    sample_rate: int,
    seconds: float,
    pause: float,
    shortest: float,
    shard_megabytes: float,
    held_out: float,
    held_out_hours: float,
    seed: int,
) -> list[Plan]:
    """Assign segments to shards in random order, so that a shard holds many recordings.

    Raises:
        UserError: nothing is left for a split.
    """
    numbers = {one.name: (number, one.survey.digest) for number, one in enumerate(found.analysed)}
    hours = sum(one.survey.seconds for one in found.analysed) / 3600
    splits = hold_out(found, min(held_out, held_out_hours / hours))
    most = round(shard_megabytes * 1e6 / 2)
    plans: list[Plan] = []
    for kind, (split, recordings) in enumerate(splits.items()):
        spans = [
            Span(number, recording.name, digest, bare(channel), first, length)
            for recording in recordings
            for number, digest in [numbers[recording.name]]
            for channel in recording.channels
            for first, length in cut(channel, sample_rate, seconds, pause, shortest)
        ]
        if len(spans) < 2:
            raise UserError(f"too little is left for {split}; add recordings, or lower shortest={shortest:g}")
        order = generator(seed, kind).permutation(len(spans))
        ends = np.cumsum([spans[index].length for index in order])
        of_shard = (ends - 1) // max(most, 1)
        for number, members in enumerate(np.split(order, np.flatnonzero(np.diff(of_shard)) + 1)):
            if len(members) > MOST_ROWS:
                raise UserError(
                    f"shard_megabytes={shard_megabytes:g}: gives {len(members)} segments per shard; lower it"
                )
            plans.append(Plan(f"{split}-{number:05}.parquet", [spans[index] for index in members], sample_rate))
    return plans


def bare(channel: Channel) -> Channel:
    """A channel without its blocks, which writing shards has no use for."""
    return channel._replace(active=NO_BLOCKS, events=NO_BLOCKS)


def cut(channel: Channel, sample_rate: int, seconds: float, pause: float, shortest: float) -> Iterator[tuple[int, int]]:
    """First sample, and length at another rate, of the active spans of a channel.

    Args:
        channel: what to cut.
        sample_rate: Hz, of the segments.
        seconds: of a segment, at most.
        pause: seconds of silence that stay; longer ones are left out but for half of it at either side.
        shortest: seconds of a segment.
    """
    rate = channel.sample_rate
    margin = round(pause / 2 * rate)
    breaks = np.flatnonzero(np.diff(channel.active) * channel.block > 2 * margin + channel.block) + 1
    for run in np.split(channel.active, breaks):
        start = max(channel.first, int(run[0]) * channel.block - margin)
        end = min(channel.end, int(run[-1] + 1) * channel.block + margin)
        count = max(1, -(-(end - start) // round(seconds * rate)))
        edges = np.linspace(start, end, count + 1).round().astype(int)
        for first, last in pairwise(edges):
            if last - first >= shortest * rate:
                yield int(first), int(last - first) * rounded_rate(sample_rate) // rounded_rate(rate)


def write_shards(storage: Storage, plans: Sequence[Plan]) -> list[Shard]:
    """Write the shards that are not there, on all cores.

    Raises:
        UserError: a recording cannot be read any more, or the output cannot be written.
    """
    known = known_shards(storage, plans)
    done = {plan.name: known[plan.name] for plan in plans if is_done(storage, plan, known)}
    waiting = [plan for plan in plans if plan.name not in done]
    if waiting:
        storage.remove(CATALOGUE)  # of what was there before
        with (
            side_by_side(partial(write_shard, storage), waiting) as shards,
            ProgressBar("Packing", len(waiting), aside=True) as progress,
        ):
            for _, shard in shards:
                done[shard.name] = shard
                progress.advance()
    for name in known.keys() - {plan.name for plan in plans}:
        storage.remove(name)
    return [done[plan.name] for plan in plans]


def known_shards(storage: Storage, plans: Sequence[Plan]) -> dict[str, Shard]:
    """Shards that the output lists: in its catalogue, or in their sidecars where there is none yet."""
    try:
        if storage.size(CATALOGUE) is not None:
            return {shard.name: shard for shard in read_catalogue(storage, MOST_MEGABYTES).shards}
    except UserError:  # damaged: it is written again
        pass
    known = {}
    for plan in plans:
        name = Path(plan.name).with_suffix(".json").name
        try:
            known[plan.name] = Shard.model_validate_json(storage.read(name, 10**8))
        except (OSError, ValidationError):
            continue
    return known


def is_done(storage: Storage, plan: Plan, known: dict[str, Shard]) -> bool:
    """Whether a shard is there, and made as planned."""
    shard = known.get(plan.name)
    return shard is not None and shard.plan == plan.digest and storage.size(plan.name) == shard.bytes


def write_shard(storage: Storage, plan: Plan) -> Shard:
    """Write a shard, and beside it that it is whole; in a process of its own.

    Raises:
        UserError: a recording cannot be read any more, or the output cannot be written.
    """
    from pyarrow import Table
    from pyarrow.parquet import ParquetWriter

    columns = schema(plan.sample_rate)
    try:
        with storage.writing(plan.name) as path:
            # Nothing is compressed twice, and a row can be read without the others.
            with ParquetWriter(
                path, columns, compression="NONE", use_dictionary=False, write_statistics=False
            ) as writer:
                for span in plan.spans:
                    writer.write_table(Table.from_pylist([row_of(span, plan.sample_rate)], columns))
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = path.stat().st_size
        shard = Shard(
            name=plan.name,
            bytes=size,
            sha256=digest,
            plan=plan.digest,
            seconds=sum(span.length for span in plan.spans) / plan.sample_rate,
            recordings=[span.number for span in plan.spans],
        )
        with storage.writing(shard.sidecar) as path:
            path.write_text(shard.model_dump_json())
    except OSError as error:
        raise unwritable(storage, plan.name, error) from error
    return shard


def row_of(span: Span, sample_rate: int) -> dict[str, object]:
    """The row of a segment: 16-bit FLAC at its own level, except for very quiet or clipping recordings."""
    channel = span.channel
    samples = read_segment(
        channel.path,
        channel.number,
        channel.sample_rate,
        span.first,
        (channel.first, channel.end),
        span.length,
        sample_rate,
    )
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


def write_catalogue(storage: Storage, catalogue: Catalogue) -> None:
    """Write the catalogue, and remove the sidecars of the shards.

    Raises:
        UserError: the output cannot be written.
    """
    try:
        with storage.writing(CATALOGUE) as path:
            path.write_text(catalogue.model_dump_json() + "\n")
        for shard in catalogue.shards:
            storage.remove(shard.sidecar)
    except OSError as error:
        raise unwritable(storage, CATALOGUE, error) from error


def unwritable(storage: Storage, name: str, error: OSError) -> UserError:
    """The error where a file cannot be written."""
    why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
    return UserError(
        f"{storage.path(name)}: cannot be written ({why}); fix that, then run the same command again to resume"
    )
