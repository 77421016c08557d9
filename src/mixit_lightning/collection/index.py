"""An index of a folder of recordings, built once: what the scan found in each, or why it cannot be used."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from ..audio.finding import CONTAINERS, RECORDINGS, recordings_below
from ..audio.opening import opened, reason
from ..errors import UserError
from ..pool import ProcessDied, side_by_side
from ..progress import ProgressBar
from .survey import READ_SECONDS, Survey, survey

VERSION = 2
"""Version of the index; an index of another version is built anew."""

COLUMNS = "name TEXT PRIMARY KEY, stamp TEXT, problem TEXT, facts TEXT, channels INT, levels BLOB, decoded INT"

FACTS = {"frames": int, "sample_rate": int, "bands": list, "clipped": float, "remarks": list, "digest": str}
"""Fields of a recording that are kept as JSON, and their types."""

FLAC_CHANNELS = 8
"""The most that FLAC takes."""


class AnalysedRecording(NamedTuple):
    """A recording that could be read, with the results of its analysis."""

    name: str
    """Path below the folder."""
    path: Path
    """File of the samples: the recording, or what it was decoded to."""
    survey: Survey


class Index(NamedTuple):
    """All recordings of a folder."""

    root: Path
    recordings: list[AnalysedRecording]
    problems: dict[str, str]
    """Reasons why recordings cannot be read, by name."""

    @property
    def fingerprint(self) -> str:
        """Changes when a recording comes, goes or changes, and not with its name."""
        return hashlib.sha256("\n".join(sorted(one.survey.digest for one in self.recordings)).encode()).hexdigest()[:16]


def index_recordings(root: Path, folder: Path) -> Index:
    """Analyse every recording below a folder that is new or has changed since it was last analysed.

    Each result is written at once, so that a call that was stopped resumes. Sound tracks of films, and
    what else libsndfile does not read to its end, are decoded beside the index, so that seeking in them is fast.

    Args:
        root: of the recordings; nothing is written there.
        folder: where indexes are kept, one for every root.

    Raises:
        UserError: no recordings, or the index cannot be written.
    """
    root = root.resolve()
    names = [str(path.relative_to(root)) for path in recordings_below(root)]
    if not names:
        raise UserError(f"{root}: no recordings below it ({', '.join(RECORDINGS + CONTAINERS)})")
    shown = {name: name.encode(errors="replace").decode() for name in names}  # an index holds Unicode only
    odd = {text: "has a name that is not Unicode; rename it" for name, text in shown.items() if name != text}
    index = keep_index(root, [name for name, text in shown.items() if name == text], root, folder)
    return index._replace(problems=index.problems | odd)


def keep_index(root: Path, names: list[str], data: Path, folder: Path) -> Index:
    """Open the index of a folder or list, analyse what is new in it, and read it.

    Args:
        root: what `names` are relative to.
        names: of the recordings.
        data: the folder or list, absolute, which the index is called after.
        folder: where indexes are kept.

    Raises:
        UserError: the index cannot be written.
    """
    digest = hashlib.sha256(str(data).encode(errors="replace")).hexdigest()
    base = folder / f"{data.name[:60]}-{digest[:8]}"
    path = base.with_name(f"{base.name}.sqlite")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Results are written at once; a power cut may damage the index, which is then built again.
        with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as book:
            book.execute("PRAGMA synchronous = OFF")
            refresh(book, root, base, names)
            return read_index(book, root, base)
    except (OSError, sqlite3.Error) as error:
        raise UserError(
            f"{path}: cannot be kept ({error}); remove it if it is damaged, or give another "
            "folder for the index (index=, datamodule.index=)"
        ) from error


def refresh(book: sqlite3.Connection, root: Path, base: Path, names: list[str]) -> None:
    """Analyse new recordings and those that could not be read, and drop missing ones.

    Raises:
        sqlite3.DataError: the index is damaged.
    """
    if book.execute("PRAGMA user_version").fetchone()[0] != VERSION:
        book.execute("DROP TABLE IF EXISTS recordings")
        book.execute(f"PRAGMA user_version = {VERSION}")
    book.execute(f"CREATE TABLE IF NOT EXISTS recordings ({COLUMNS})")
    known = {
        name: stamp
        for name, stamp, problem, decoded in book.execute("SELECT name, stamp, problem, decoded FROM recordings")
        if problem is None and not (decoded and not decoded_path(base, name).is_file())
    }
    stamps = {name: stamp_of(root / name) for name in names}
    for (name,) in book.execute("SELECT name FROM recordings").fetchall():
        if not isinstance(name, str):
            raise sqlite3.DataError("a name in it is none")
        if name not in stamps:
            book.execute("DELETE FROM recordings WHERE name = ?", (name,))
            decoded_path(base, name).unlink(missing_ok=True)
    fresh = [name for name, stamp in stamps.items() if known.get(name) != stamp]
    fresh.sort(key=lambda name: -int(stamps[name].split()[0]))  # the largest first, so that no core waits for it
    if not fresh:
        return
    with ProgressBar("Scanning", len(fresh), aside=True) as progress:
        for name, found in analyse_all(root, base, fresh):
            row: tuple[Any, ...] = (found, None, None, None, None)
            if isinstance(found, AnalysedRecording):
                facts = found.survey._asdict()
                levels = facts.pop("levels")
                row = (None, json.dumps(facts), len(levels), levels.tobytes(), found.path != root / name)
            book.execute("INSERT OR REPLACE INTO recordings VALUES (?, ?, ?, ?, ?, ?, ?)", (name, stamps[name], *row))
            progress.advance()


def stamp_of(path: Path) -> str:
    """Size and time of the last change of a file."""
    try:
        about = path.stat()
    except OSError:
        return "0 0"
    return f"{about.st_size} {about.st_mtime_ns}"


def analyse_all(root: Path, base: Path, names: list[str]) -> Iterator[tuple[str, AnalysedRecording | str]]:
    """Analyse recordings on all cores, in the order in which they are done; a problem is given by its message.

    If a decoder crashes its process, the whole pool ends; the remaining recordings are then analysed one by one.
    """
    left = set(names)
    try:
        with side_by_side(partial(analyse, root, base), names) as results:
            for number, found in results:
                left.discard(names[number])
                yield names[number], found
    except ProcessDied:
        for name in sorted(left):
            if len(names) == 1:
                yield name, "takes the decoder down; replace or remove it"
            else:
                yield from analyse_all(root, base, [name])


def analyse(root: Path, base: Path, name: str) -> AnalysedRecording | str:
    """Analyse one recording, in a process of its own."""
    path, decoded = root / name, decoded_path(base, name)
    try:
        if not path.is_file():
            return "is no file"
        with opened(path, copy=base.with_name(f".decoded-{os.getpid()}.partial")) as sound:
            found = survey(path, sound)
            if sound.decoded:
                sound.file.seek(0)
                keep_decoded(sound.file, decoded)
        return AnalysedRecording(name, decoded if sound.decoded else path, found)
    except UserError as error:
        return str(error).removeprefix(f"{path}: ").removeprefix(f"{decoded}: ")
    except (OSError, RuntimeError, ValueError, ArithmeticError, MemoryError) as error:  # of whatever decodes it
        return f"cannot be read as audio ({reason(error)}); replace or remove it"


def keep_decoded(file: soundfile.SoundFile, path: Path) -> None:
    """Write what a recording was decoded to beside the index, where training can seek in it quickly."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}-{os.getpid()}.partial")
    try:
        kind = "FLAC" if file.channels <= FLAC_CHANNELS else "RF64"
        with soundfile.SoundFile(partial, "w", file.samplerate, file.channels, "PCM_16", format=kind) as target:
            while len(samples := file.read(round(READ_SECONDS * file.samplerate), dtype="float32", always_2d=True)):
                target.write(samples)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def decoded_path(base: Path, name: str) -> Path:
    """Path of the decoded copy of a recording; it is hidden, so that it is not taken for a recording."""
    return base.with_name(f".{base.name}") / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.flac"


def read_index(book: sqlite3.Connection, root: Path, base: Path) -> Index:
    """Read the whole index.

    Raises:
        sqlite3.DataError: it is damaged.
    """
    recordings, problems = [], {}
    for name, _, problem, facts, channels, levels, decoded in book.execute("SELECT * FROM recordings ORDER BY name"):
        if problem is not None:
            problems[name] = problem
            continue
        try:
            shaped = np.frombuffer(levels, np.int8).reshape(channels, -1)
            facts = json.loads(facts)
            known = Survey(**facts, levels=shaped)
            if not all(isinstance(facts[key], kind) for key, kind in FACTS.items()):
                raise TypeError
        except (ValueError, TypeError) as error:
            raise sqlite3.DataError(f"what it says of {name} is damaged") from error
        path = decoded_path(base, name) if decoded else root / name
        recordings.append(AnalysedRecording(name, path, known))
    return Index(root, recordings, problems)
