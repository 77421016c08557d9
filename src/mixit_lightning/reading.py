"""Reading files of plain types that anyone may have written, with errors that name the file."""

import codecs
import errno
import json
import os
import stat
from io import BufferedReader, BytesIO, FileIO, TextIOWrapper
from pathlib import Path, PurePath
from typing import Any

import yaml

from .errors import UserError

MOST_BYTES = 2**26
"""Bytes of a text; a list, which includes CSV, can take ten times as much memory."""

LONGEST_NAME = 255
"""Bytes, of a file or folder."""


def read_text(path: Path, kind: str = "text") -> str:
    """A text in UTF-8, with or without a byte order mark, or in UTF-16 with one, as editors of other systems write it.

    Raises:
        UserError: it is none, is too large, or cannot be read.
    """
    try:
        with BufferedReader(open_regular(path)) as file:
            content = file.read(MOST_BYTES + 1)
            if len(content) > MOST_BYTES:
                size = os.fstat(file.fileno()).st_size
                raise UserError(f"{path}: has {size} bytes, more than {MOST_BYTES}; give the right file")
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return TextIOWrapper(BytesIO(content), encoding="utf-16" if wide else "utf-8-sig").read()  # whichever line ends
    except UnicodeError as error:
        raise UserError(f"{path}: not {kind} in UTF-8; give the right file, or make it again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def last_line(log: Path) -> str:
    """What a command said last, without its own name, by its log; empty where it said nothing."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("mixit: ") if lines else ""


def delimiter_of(text: str) -> str:
    """What parts the columns of a CSV file, by its first line: Excel writes what is usual in a country, or tabs."""
    return max(",;\t", key=text.partition("\n")[0].count)


def open_regular(path: Path) -> FileIO:
    """Open a file to be read, without a buffer, but nothing that may have no end: pipes are waited for, devices go on.

    Raises:
        OSError: it is one, or cannot be opened.
    """
    file = FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "no regular file", str(path))
    return file


def listed(name: str, where: str) -> str:
    """A path below a folder, as a list names it.

    Args:
        name: what stands there.
        where: for the message.

    Raises:
        UserError: it leads out of the folder, or cannot be one.
    """
    path = PurePath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise UserError(f"{where}: {name!r} is no path below the folder; correct the list")
    if max(len(part.encode(errors="replace")) for part in path.parts) > LONGEST_NAME:
        raise UserError(f"{where}: {name[:50]!r}... is longer than a name may be; correct the list")
    return name


def read_yaml(path: Path) -> Any:
    """Content of a YAML file, in plain types.

    Raises:
        UserError: it is not YAML.
    """
    text = read_text(path, "YAML")
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error


def read_json(path: Path, cure: str = "make it again") -> Any:
    """Content of a JSON file.

    Args:
        path: of the file.
        cure: for the message.

    Raises:
        UserError: it is not JSON.
    """
    text = read_text(path, "JSON")
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}): {cure}") from error
