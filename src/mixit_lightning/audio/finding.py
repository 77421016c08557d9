"""Which files count as recordings, and finding all of them below a folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..reading import read_json

RECORDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".rf64", ".w64")
CONTAINERS = (".mp4", ".m4a", ".mkv", ".mov", ".webm", ".avi")
"""Endings of recordings, in small or capital letters; a single file may be called anything."""

RECORD = "separation.json"
"""Record in a folder of outputs of `mixit separate`: what was separated into which files, by what and how."""


def is_recording(name: str) -> bool:
    """Whether a file is called like a recording, and not hidden: macOS leaves `._x.wav` beside `x.wav`."""
    return name.lower().endswith(RECORDINGS + CONTAINERS) and not name.startswith(".")


def recordings_below(folder: Path) -> list[Path]:
    """All recordings below a folder, links followed, in an order that no disk changes."""
    return [path for path, reason in files_below(folder) if not reason]


def files_below(folder: Path) -> list[tuple[Path, str]]:
    """All files below a folder, links followed, in an order that no disk changes, each with why it is no recording.

    Outputs that `mixit separate` lists in a record are left out. Folders that are hidden, of a run, or cannot be listed
    count as one file each.
    """
    return sorted(walk(folder))


def walk(folder: Path) -> Iterator[tuple[Path, str]]:
    """The same in any order."""
    seen = set()
    unlisted: list[OSError] = []
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=unlisted.append):
        place = os.path.realpath(parent)
        if place in seen:  # links may lead in a circle
            folders.clear()
            continue
        seen.add(place)
        if {"config.yaml", "checkpoints"} <= {*names, *folders}:
            folders.clear()
            yield Path(parent), "is the folder of a run"
            continue
        for name in folders:
            if name.startswith("."):
                yield Path(parent, name), "is hidden"
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        outputs = outputs_in(Path(parent))
        for name in names:
            if outputs is None:
                yield Path(parent, name), why_not(name)
            elif name not in outputs:
                yield Path(parent, name), "lies among outputs of mixit separate"
    for error in unlisted:
        yield Path(error.filename), f"cannot be listed ({error.strerror})"


def why_not(name: str) -> str:
    """Reason why a file is not a recording; empty if it is one."""
    if name.startswith("."):
        return "is hidden"
    return "" if is_recording(name) else "is not named like a recording"


def outputs_in(folder: Path) -> set[str] | None:
    """Names of the files that `mixit separate` wrote into a folder, by its record; None for any other folder."""
    record = read_record(folder)
    if record is None:
        return None
    return {RECORD, *record["recording"]["outputs"]}


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a folder of outputs: `made_of` and `recording`, with the names of its `outputs`.

    Returns:
        None where there is none, or another file of this name.
    """
    try:
        record = read_json(folder / RECORD) if (folder / RECORD).is_file() else None
    except UserError:
        return None
    if not (isinstance(record, dict) and isinstance(record.get("made_of"), dict)):
        return None
    recording = record.get("recording")
    outputs = recording.get("outputs") if isinstance(recording, dict) else None
    if not (isinstance(outputs, list) and all(isinstance(name, str) and is_name(name) for name in outputs)):
        return None
    return record


def is_name(name: str) -> bool:
    """Whether a name is that of a file in a folder, and leads nowhere else."""
    return Path(name).name == name and name not in ("", "..")
