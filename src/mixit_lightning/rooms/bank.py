"""A bank of simulated rooms: made once, on all cores, kept in one file, with a table of what is in it."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from ..errors import UserError
from ..files import replacing
from ..jobs import Job, run_jobs
from .acoustics import LEAD, direct_sample
from .simulation import Room, check, simulate

Range = tuple[float, float]
"""The lowest and the highest value of a uniform distribution."""

SPLITS = ("train", "valid", "test")

TRIES = 1000
"""Positions that are tried for a source at the distance asked for."""


class RoomBank(NamedTuple):
    """Room impulse responses, one row of the table per response."""

    sample_rate: int
    """Sample rate in Hz."""
    table: pd.DataFrame
    """`split`, `room`, `source` (counted from 0), `length`, `width`, `height` of the room, `microphone_x`, ...,
    `source_x`, ..., `distance` (m), `rt60` asked for and `rt60_measured` (s), `absorption` of the walls, `direct` (the
    sample at which the direct sound arrives) and `samples` of the response."""
    responses: list[np.ndarray]
    """`(time,)` each, float32, see `Simulated`."""
    settings: str = ""
    """Settings that it was made with, as JSON."""

    def save(self, path: Path) -> None:
        """Write one `.npz` file: `sample_rate`, `settings`, all `responses` in one row, every column of the table."""
        with replacing(path) as temporary, temporary.open("wb") as file:
            columns: dict[str, Any] = {str(name): self.table[name].to_numpy() for name in self.table}
            columns["split"] = columns["split"].astype(str)  # objects would be pickled
            columns |= {"sample_rate": self.sample_rate, "responses": np.concatenate(self.responses)}
            np.savez(file, settings=self.settings, **columns)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            UserError: there is no such file, or it is not a bank of rooms.
        """
        if not path.is_file():
            raise UserError(f"{path}: no such file; make it with `mixit rooms path={path}`")
        try:
            with np.load(path, allow_pickle=False) as arrays:
                columns = {name: arrays[name] for name in arrays.files}
            sample_rate, samples = int(columns.pop("sample_rate")), columns.pop("responses")
            settings = str(columns.pop("settings"))
            table = pd.DataFrame(columns)
            if not is_complete(table, samples):
                raise ValueError("it is not whole")
        except Exception as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{path}: not a bank of rooms ({reason}); make it with `mixit rooms path={path}`"
            ) from error
        return cls(sample_rate, table, responses_of(table, samples), settings)

    def rooms(self, split: str) -> list[np.ndarray]:
        """Numbers of the responses of every room of a split."""
        rows = self.table[self.table["split"] == split]
        return [group.index.to_numpy() for _, group in rows.groupby("room")]


def is_complete(table: pd.DataFrame, samples: np.ndarray) -> bool:
    """Whether a table and the samples of its responses in one row fit together."""
    lengths, direct = table["samples"], table["direct"]
    whole = all(pd.api.types.is_integer_dtype(table[name]) for name in ("room", "samples", "direct"))
    if not (whole and "split" in table and samples.ndim == 1 and np.issubdtype(samples.dtype, np.floating)):
        return False
    fitting = ((direct >= LEAD) & (direct < lengths)).all() and lengths.sum() == len(samples)
    return bool(fitting and np.isfinite(samples).all())


def make_bank(
    path: str,
    sample_rate: int,
    counts: Mapping[str, int],
    size: Sequence[Range],
    rt60: Range,
    distance: Range,
    height: Range,
    clearance: float,
    num_sources: int,
    seed: int,
) -> RoomBank:
    """Simulate rooms and write them to a file; the same settings give the same file, bit by bit.

    A call that is killed resumes when it is repeated; an existing file is left as it is. Every room has
    one microphone and belongs to one split.

    Args:
        path: of the file.
        sample_rate: Hz.
        counts: rooms for `train`, `valid` and `test`.
        size: ranges of length, width and height, m.
        rt60: range of the reverberation time, s.
        distance: range of the distance between sources and microphone, m.
        height: range of the height of sources and microphone, m.
        clearance: what sources and microphone keep away from the walls, m.
        num_sources: source positions in every room.
        seed: of everything drawn.

    Raises:
        UserError: an invalid range or count, an impossible room, a full disk, or a file that holds something
            else; no bank is written then.
    """
    target = Path(path).expanduser().absolute()
    given = (sample_rate, dict(counts), size, rt60, distance, height, clearance, num_sources, seed)
    settings = json.dumps(given)
    if target.exists():
        if target.is_file() and (bank := RoomBank.load(target)).settings == settings:
            return bank
        raise UserError(f"{target}: holds something else than these rooms; move it away, or give another path")
    check_settings(counts, {"rt60": rt60, "distance": distance, "height": height}, size, num_sources, sample_rate)
    folder = target.with_name(f"{target.name}.parts")
    jobs, splits = [], []
    for index, split in enumerate(SPLITS):
        for number in range(counts.get(split, 0)):
            rng, name = np.random.default_rng((seed, index, number)), f"room {number} of {split}"
            try:
                room = draw_room(rng, size, rt60, distance, height, clearance, num_sources)
            except UserError as error:
                raise UserError(f"{name}: {error}") from error
            # The displacements are drawn apart from the geometry.
            own_seed = int(np.random.default_rng((seed, index, number, 1)).integers(2**31))
            output = folder / f"{split}-{number}.npy"
            key = hashlib.sha256(repr((room, sample_rate, own_seed)).encode()).hexdigest()
            bytes_about = 4 * num_sources * round((room.rt60 + 0.02) * sample_rate)
            jobs.append(Job(key, [output], bytes_about, partial(make_room, room, sample_rate, own_seed, output)))
            splits.append({"split": split, "room": number})
    told = run_jobs(jobs, folder)
    table = pd.DataFrame([where | row for where, rows in zip(splits, told, strict=True) for row in rows])
    samples = np.concatenate([np.load(job.outputs[0], allow_pickle=False) for job in jobs])
    bank = RoomBank(sample_rate, table, responses_of(table, samples), settings)
    bank.save(target)
    shutil.rmtree(folder)
    return bank


def responses_of(table: pd.DataFrame, samples: np.ndarray) -> list[np.ndarray]:
    """The responses of a table, out of all samples in one row."""
    return np.split(samples, table["samples"].cumsum().to_numpy()[:-1]) if len(table) else []


def summary(bank: RoomBank) -> str:
    """Summary of a bank, with the error of the reverberation times."""
    table = bank.table
    rooms = ", ".join(f"{len(bank.rooms(split))} for {split}" for split in SPLITS)
    error = (table["rt60_measured"] / table["rt60"] - 1).abs().mean()
    return (
        f"{len(bank.responses)} responses of rooms ({rooms}); RT60 {table['rt60'].min():.2f} to "
        f"{table['rt60'].max():.2f} s, measured within {error:.1%} on average"
    )


def check_settings(
    counts: Mapping[str, int], ranges: Mapping[str, Range], size: Sequence[Range], num_sources: int, sample_rate: int
) -> None:
    """Refuse invalid counts and ranges.

    Raises:
        UserError: with the key.
    """
    if unknown := set(counts) - set(SPLITS):
        raise UserError(f"counts.{min(unknown)}: there is no such split; there are: {', '.join(SPLITS)}")
    if min(counts.values(), default=0) < 0 or sum(counts.values()) < 1:
        raise UserError(f"counts={dict(counts)}: a bank needs at least one room")
    if num_sources < 1 or sample_rate < 1:
        raise UserError(f"num_sources={num_sources} and sample_rate={sample_rate} must be positive")
    if len(size) != 3:
        raise UserError(f"size={list(size)} must be three ranges: of length, width and height in metres")
    for name, values in [*ranges.items(), *((f"size[{axis}]", values) for axis, values in enumerate(size))]:
        if len(values) != 2 or not 0 < values[0] <= values[1]:
            raise UserError(f"{name}={list(values)} must be a lowest and a highest value above 0")


def draw_room(
    rng: np.random.Generator,
    size: Sequence[Range],
    rt60: Range,
    distance: Range,
    height: Range,
    clearance: float,
    num_sources: int,
) -> Room:
    """Draw size, reverberation time and positions, see `make_bank`.

    Raises:
        UserError: the drawn room is impossible.
    """
    sides = tuple(float(rng.uniform(*axis)) for axis in size)
    seconds = float(rng.uniform(*rt60))

    def position() -> tuple[float, float, float]:
        x, y = (float(rng.uniform(clearance, max(clearance, side - clearance))) for side in sides[:2])
        return x, y, float(rng.uniform(*height))

    microphone, sources = position(), []
    for _ in range(num_sources):
        for _ in range(TRIES):
            source = position()
            if distance[0] <= np.linalg.norm(np.subtract(source, microphone)) <= distance[1]:
                break
        else:
            raise UserError(
                f"no position {distance[0]} to {distance[1]} m from the microphone in a room of {sides[0]:.2f} x "
                f"{sides[1]:.2f} m with clearance={clearance}; change distance, size or clearance"
            )
        sources.append(source)
    room = Room(sides, seconds, microphone, tuple(sources))  # type: ignore[arg-type]
    check(room)
    return room


def make_room(room: Room, sample_rate: int, seed: int, output: Path) -> list[dict[str, Any]]:
    """Simulate one room, keep its responses in a file of its own, and tell its rows of the table."""
    try:
        simulated = simulate(room, sample_rate, seed)
    except UserError as error:
        raise UserError(f"{output.stem}: {error}") from error
    with replacing(output, synchronise=False) as temporary, temporary.open("wb") as file:
        np.save(file, np.concatenate(simulated.responses))
    names = [f"{what}_{axis}" for what in ("microphone", "source") for axis in "xyz"]
    rows = []
    for source, (response, measured) in enumerate(zip(simulated.responses, simulated.rt60, strict=True)):
        geometry = (*room.size, *room.microphone, *room.sources[source])
        distance = room.distance(source)
        rows.append(
            {"source": source}
            | dict(zip(("length", "width", "height", *names), geometry, strict=True))
            | {"distance": distance, "rt60": room.rt60, "rt60_measured": measured, "absorption": simulated.absorption}
            | {"direct": direct_sample(distance, sample_rate), "samples": len(response)}
        )
    return rows
