"""The folder of outputs of each recording: its name, its own files, and writing new outputs into it.

Nothing is removed or overwritten that the record in the folder does not list.
"""

import hashlib
import json
import os
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..audio.finding import RECORD, outputs_in
from ..errors import UserError
from ..files import lock, replacing, written

DECODED = "decoded"
"""Name, in a temporary folder, of a recording that had to be decoded first."""


def folders_of(recordings: Iterable[Path], source: Path, target: Path) -> dict[Path, Path]:
    """The folder for the outputs of every recording below a folder.

    It is called like the recording without its ending; with it where two would be called the same, or where one would
    lie in another; and with a number where that does not tell them apart on every disk (`a.wav` and `A.wav`).

    Args:
        recordings: below `source`.
        source: folder of the recordings.
        target: folder of the folders.
    """
    paths = [path.relative_to(source) for path in recordings]
    names = {path: path.with_name(stem_of(path)) for path in paths}
    while True:
        counts = Counter(map(same_name, names.values()))
        parents = {same_name(parent) for name in names.values() for parent in name.parents}
        renamed = [
            path
            for path, name in names.items()
            if name != path and (counts[same_name(name)] > 1 or same_name(name) in parents)
        ]
        if not renamed:
            break
        names |= {path: path for path in renamed}
    taken: set[str] = set()
    for path, name in names.items():
        number = 1
        while same_name(names[path]) in taken:
            number += 1
            names[path] = name.with_name(f"{name.name} {number}")
        taken.add(same_name(names[path]))
    return {source / path: target / name for path, name in names.items()}


def same_name(path: Path) -> str:
    """What is equal for two paths that some disk does not tell apart: by case, or by how accents are composed."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def stem_of(path: Path) -> str:
    """The name of a recording without its ending; all of it where nothing but dots would be left."""
    return path.stem if path.stem.strip(".") else path.name


def check_around(folders: dict[Path, Path]) -> dict[Path, str]:
    """Refused recordings, with reasons: their folder of outputs would contain a recording."""
    recordings_by_folder = {folder.resolve(): path for path, folder in folders.items()}
    refused = {}
    for recording in folders:
        resolved = recording.resolve()
        for path in (resolved, *resolved.parents):
            if path in recordings_by_folder:
                surrounding = recordings_by_folder[path]
                refused[surrounding] = f"its outputs would go to {folders[surrounding]}, around {recording}"
    return refused


def check_own(folder: Path, names: Iterable[str] = ()) -> None:
    """Refuse a folder that has files which `mixit separate` did not write.

    Raises:
        UserError: it is no folder, has files but no record, or something in the place of an output that its record does
            not list.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    cure = "move it away, or give another output="
    if not folder.is_dir():
        raise UserError(f"{folder}: is there already, and no folder; {cure}")
    known = outputs_in(folder)
    if known is None and any(folder.iterdir()):
        raise UserError(f"{folder}: is there already, without a {RECORD} of mixit separate; {cure}")
    for name in {*names, *(known or ())}:
        if (folder / name).is_dir():
            raise UserError(f"{folder / name}: is there already, and a folder; {cure}")
        if (folder / name).exists() and name not in (known or ()):
            raise UserError(f"{folder / name}: is there already, and not listed in {RECORD}; {cure}")


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """Give a temporary folder for outputs; they get into their folder when the block ends without an error.

    The block writes a record into the temporary folder, which lists the outputs that there are.

    Raises:
        UserError: there is something in the way that is not ours, or another process fills the folder.
        CannotWrite: the disk is full, or must not be written to.
    """
    check_own(folder)
    with written(folder), claimed(partial_of(folder)) as partial:
        yield partial
        check_own(folder, outputs_in(partial) or ())
        put(partial, folder)


def partial_of(folder: Path) -> Path:
    """The temporary folder beside a folder; its name is short, as the folder's may be as long as a disk takes."""
    folder = folder.resolve()  # so that both are on one disk
    return folder.with_name(f".{hashlib.sha256(os.fsencode(folder.name)).hexdigest()[:16]}.partial")


@contextmanager
def claimed(partial: Path) -> Iterator[Path]:
    """Make a temporary folder, empty it of what a killed process left, and keep other processes from it till the end.

    Raises:
        UserError: another process has it.
    """
    while True:
        partial.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_RDONLY)
        try:
            if not lock(descriptor):
                raise UserError(f"{partial}: another process writes there; wait for it, or give another output=")
            if is_at(descriptor, partial):
                try:
                    for path in partial.iterdir():
                        path.unlink()
                    yield partial
                    return
                finally:
                    if is_at(descriptor, partial):  # it may have taken its place
                        shutil.rmtree(partial)
        finally:
            os.close(descriptor)


def is_at(descriptor: int, folder: Path) -> bool:
    """Whether an open folder is still called like this: nobody has removed or renamed it."""
    return folder.is_dir() and os.path.samestat(os.fstat(descriptor), folder.stat())


def put(partial: Path, folder: Path) -> None:
    """Move the outputs of a temporary folder to where they belong, instead of earlier ones."""
    fresh = outputs_in(partial) or set()
    if not folder.exists():
        partial.rename(folder)
        return
    # All of them are listed first, so that a call that is stopped in the middle leaves nothing that is nobody's.
    earlier = outputs_in(folder) or set()
    write_record(folder, {"made_of": {}, "recording": {"outputs": sorted((earlier | fresh) - {RECORD})}})
    for name in earlier - fresh:
        (folder / name).unlink(missing_ok=True)
    for name in sorted(fresh, key=lambda name: name == RECORD):
        (partial / name).replace(folder / name)


def tidy(folder: Path) -> None:
    """Remove the temporary folder that a killed process left beside a finished folder."""
    if (partial := partial_of(folder)).is_dir():
        with suppress(UserError), claimed(partial):
            pass


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write the record of a folder of outputs: its files, and what they were made of."""
    with replacing(folder / RECORD, synchronise=False) as path:
        path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")
