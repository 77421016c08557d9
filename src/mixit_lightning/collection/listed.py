"""Recordings from a list in a file, instead of a folder."""

import csv
import io
from pathlib import Path

from ..errors import UserError
from ..reading import delimiter_of, read_text
from .index import Index, index_recordings, keep_index

COLUMN = "path"


def indexed(data: Path, folder: Path) -> Index:
    """Analyse the recordings below a folder, or those of a list, unless that is done.

    Args:
        data: the folder, or a `.txt` file with one path per line, or a `.csv` file with a column `path`; paths are
            absolute or relative to the list.
        folder: where indexes are kept.

    Raises:
        UserError: there are none, or something is wrong with the list or the index.
    """
    if data.is_dir():
        return index_recordings(data, folder)
    path = data.resolve()
    return keep_index(path.parent, listed(data), path, folder)


def listed(path: Path) -> list[str]:
    """The paths of a list, each once.

    Raises:
        UserError: it is none.
    """
    if path.suffix.lower() not in (".txt", ".csv"):
        raise UserError(
            f"data={path}: must be a folder, a .txt file with one path per line, or a .csv file with a column path"
        )
    text = read_text(path)
    if path.suffix.lower() == ".txt":
        names = [line.strip() for line in text.splitlines()]
    else:
        rows = csv.DictReader(io.StringIO(text), delimiter=delimiter_of(text))
        if COLUMN not in (rows.fieldnames or []):
            raise UserError(f"{path}: has no column {COLUMN}; its first line must name it")
        names = [(row[COLUMN] or "").strip() for row in rows]
    found = list(dict.fromkeys(name for name in names if name))
    if not found:
        raise UserError(f"{path}: lists no recordings")
    if odd := [name for name in found if "\0" in name]:
        raise UserError(f"{path}: {odd[0]!r} is no path; correct the list")
    return found
