"""The folder of outputs of each recording: its name, its own files, and writing new outputs into it.

Nothing is removed or overwritten that the record in the folder does not list.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..audio.finding import RECORD, outputs_in
from ..errors import UserError
from ..files import replacing, written

DECODED = "decoded"
"""Name, in a folder that is being filled, of a recording that had to be decoded first."""


def folders_of(recordings: Iterable[Path], source: Path, target: Path) -> dict[Path, Path]:
    """The folder for the outputs of every recording below a folder.

    It is called like the recording without its ending; with it where two would be called the same (in small letters, as
    not every disk tells these apart), or where one would lie in another.

    Args:
        recordings: below `source`.
        source: folder of the recordings.
        target: folder of the folders.
    """
    paths = [path.relative_to(source) for path in recordings]
    names = {path: path.with_name(stem_of(path)) for path in paths}
    while True:
        counts = Counter(str(name).lower() for name in names.values())
        parents = {str(parent).lower() for name in names.values() for parent in name.parents}
        renamed = [
            path
            for path, name in names.items()
            if name != path and (counts[str(name).lower()] > 1 or str(name).lower() in parents)
        ]
        if not renamed:
            return {source / path: target / name for path, name in names.items()}
        names |= {path: path for path in renamed}


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


def check_own(folder: Path, names: Sequence[str]) -> None:
    """Refuse a folder that has files which `mixit separate` did not write.

    Raises:
        UserError: it is no folder, has files but no record, or a file that its record does not list.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    cure = "move it away, or give another output="
    if not folder.is_dir():
        raise UserError(f"{folder}: is there already, and no folder; {cure}")
    known = outputs_in(folder)
    if known is None and {path.name for path in folder.iterdir()} - {f"{RECORD}.partial"}:
        raise UserError(f"{folder}: is there already, without a {RECORD} of mixit separate; {cure}")
    for name in names:
        if (folder / name).exists() and name not in (known or ()):
            raise UserError(f"{folder / name}: is there already, and not listed in {RECORD}; {cure}")


@contextmanager
def filling(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Give a temporary folder for outputs; they get into their folder when the block ends without an error.

    The block writes a record into the temporary folder, which lists the outputs that there are.

    Args:
        folder: of the outputs.
        names: that outputs may have.

    Raises:
        UserError: there is something in the way that is not ours.
        CannotWrite: the disk is full, or must not be written to.
    """
    check_own(folder, names)
    # of bounded length, as the recording may have the longest name that a disk takes
    partial = folder.with_name(f".{hashlib.sha256(os.fsencode(folder.name)).hexdigest()[:16]}.partial")
    check_own(partial, [])
    remove(partial)
    try:
        with written(folder):
            partial.mkdir(parents=True)
            write_record(partial, {"made_of": {}, "recording": {"outputs": [*names, DECODED]}})
        yield partial
        with written(folder):
            put(partial, folder)
    finally:
        remove(partial)


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


def remove(partial: Path) -> None:
    """Remove what the record of a temporary folder lists, and the folder, unless something else is in it."""
    if not partial.is_dir():
        return
    for name in outputs_in(partial) or {f"{RECORD}.partial"}:
        if name != RECORD:
            (partial / name).unlink(missing_ok=True)
    (partial / RECORD).unlink(missing_ok=True)
    if not any(partial.iterdir()):
        partial.rmdir()


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write the record of a folder of outputs: its files, and what they were made of."""
    with replacing(folder / RECORD, synchronise=False) as path:
        path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")
