"""An index of a folder of recordings, built once: what was heard in each, or why it cannot be used."""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from ..errors import UserError
from ..preparation.jobs import ProgressBar, num_cores
from .formats import CONTAINERS, RECORDINGS, opened, recordings_below
from .survey import PIECE, Survey, survey

VERSION = 1
"""Of what is kept; another one is built anew."""

WRITTEN_EVERY = 1.0
"""Seconds, after which what has been heard stands on the disk."""

COLUMNS = "name TEXT PRIMARY KEY, stamp TEXT, problem TEXT, facts TEXT, levels BLOB"


class Heard(NamedTuple):
    """A recording that can be used."""

    name: str
    """Path below the folder."""
    path: Path
    """Of the samples: the recording, or what its sound track was decoded to."""
    survey: Survey


class Index(NamedTuple):
    """All recordings of a folder."""

    root: Path
    heard: list[Heard]
    problems: dict[str, str]
    """By name: why a recording cannot be read."""


def index_recordings(root: Path, folder: Path) -> Index:
    """Listen to every recording below a folder that is new or has changed since it was last listened to.

    What has been heard is written down at once, so that a call that was stopped goes on. Sound tracks of films are
    decoded beside the index, as nothing could be found quickly in them.

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
    base = folder / f"{root.name}-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"
    book_path = base.with_name(f"{base.name}.sqlite")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(book_path, timeout=60)) as book:
            refresh(book, root, base, names)
            return read_index(book, root, base)
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"{book_path}: cannot be kept ({error}); remove it, or give datamodule.index=FOLDER") from error


def refresh(book: sqlite3.Connection, root: Path, base: Path, names: list[str]) -> None:
    """Listen to what is new, and forget what is gone."""
    if book.execute("PRAGMA user_version").fetchone()[0] != VERSION:
        book.executescript(f"DROP TABLE IF EXISTS recordings; PRAGMA user_version = {VERSION}")
    book.execute(f"CREATE TABLE IF NOT EXISTS recordings ({COLUMNS})")
    known = dict(book.execute("SELECT name, stamp FROM recordings"))
    stamps = {name: stamp_of(root / name) for name in names}
    gone = known.keys() - stamps.keys()
    book.executemany("DELETE FROM recordings WHERE name = ?", [(name,) for name in gone])
    book.commit()
    for name in gone:
        decoded_path(base, name).unlink(missing_ok=True)
    fresh = [name for name, stamp in stamps.items() if known.get(name) != stamp]
    if not fresh:
        return
    written = time.monotonic()
    with ProgressBar("Listening", len(fresh), aside=True) as progress:
        for name, found in listen_to_all(root, base, fresh):
            facts = levels = None
            if isinstance(found, Survey):
                facts = json.dumps(found._replace(levels=np.zeros(0))._asdict() | {"levels": found.levels.shape})
                levels = found.levels.tobytes()
            row = (name, stamps[name], None if facts else found, facts, levels)
            book.execute("INSERT OR REPLACE INTO recordings VALUES (?, ?, ?, ?, ?)", row)
            if time.monotonic() - written > WRITTEN_EVERY:
                book.commit()
                written = time.monotonic()
            progress.advance()
    book.commit()


def stamp_of(path: Path) -> str:
    """Changes when a file does."""
    try:
        about = path.stat()
    except OSError as error:
        return f"cannot be opened: {error.strerror}"
    return f"{about.st_size} {about.st_mtime_ns}"


def listen_to_all(root: Path, base: Path, names: list[str]) -> Iterator[tuple[str, Survey | str]]:
    """Survey recordings on all cores, in the order in which they are done; a problem is its message.

    A decoder that takes its process down takes its neighbours' down too: what was left is then done one by one.
    """
    left = set(names)
    try:
        for name, found in listen_side_by_side(root, base, names):
            left.discard(name)
            yield name, found
    except BrokenProcessPool:
        for name in sorted(left):
            try:
                yield from listen_side_by_side(root, base, [name])
            except BrokenProcessPool:
                yield name, "takes the decoder down; replace or remove it"


def listen_side_by_side(root: Path, base: Path, names: list[str]) -> Iterator[tuple[str, Survey | str]]:
    """Survey recordings in processes, in the order in which they are done.

    Raises:
        BrokenProcessPool: one of them died.
    """
    pool = ProcessPoolExecutor(min(num_cores(), len(names)), mp_context=get_context("fork"))
    try:
        futures = {pool.submit(listen_to, root / name, decoded_path(base, name)): name for name in names}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def listen_to(path: Path, decoded: Path) -> Survey | str:
    """Survey one recording, in a process of its own."""
    try:
        return survey(sound_of(path, decoded))
    except UserError as error:
        return str(error).removeprefix(f"{path}: ")


def sound_of(path: Path, decoded: Path) -> Path:
    """The file to read samples from: the recording, or the sound track that is decoded here.

    Raises:
        UserError: it has none.
    """
    decoded.unlink(missing_ok=True)
    if path.suffix.lower() not in CONTAINERS:
        return path
    with opened(path) as file:
        if file.name == str(path):
            return path
        decoded.parent.mkdir(parents=True, exist_ok=True)
        partial = decoded.with_suffix(".partial")
        with soundfile.SoundFile(partial, "w", file.samplerate, file.channels, "PCM_16", format="FLAC") as target:
            while len(samples := file.read(round(PIECE * file.samplerate), dtype="float32", always_2d=True)):
                target.write(samples)
        partial.rename(decoded)
    return decoded


def decoded_path(base: Path, name: str) -> Path:
    """Where the sound track of a film would be."""
    return base / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.flac"


def read_index(book: sqlite3.Connection, root: Path, base: Path) -> Index:
    """What is written down."""
    heard, problems = [], {}
    for name, problem, facts, levels in book.execute(
        "SELECT name, problem, facts, levels FROM recordings ORDER BY name"
    ):
        if problem is not None:
            problems[name] = problem
            continue
        found = json.loads(facts)
        shaped = np.frombuffer(levels, np.int8).reshape(found["levels"])
        decoded = decoded_path(base, name)
        path = decoded if decoded.is_file() else root / name
        heard.append(Heard(name, path, Survey(**{**found, "levels": shaped})))
    return Index(root, heard, problems)
