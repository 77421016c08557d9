"""Reading files of plain types that anyone may have written: within limits, and with errors that name the file."""

import codecs
import errno
import itertools
import json
import os
import stat
import zipfile
from collections.abc import Iterator
from io import BufferedReader, BytesIO, FileIO, TextIOWrapper
from pathlib import Path, PurePath
from typing import Any

import yaml

from .errors import UserError
from .limits import limit, limits

LONGEST_NAME = 255
"""Bytes, of a file or folder."""


def read_text(path: Path, kind: str = "text") -> str:
    """A text in UTF-8, with or without a byte order mark, or in UTF-16 with one, as editors of other systems write it.

    Raises:
        UserError: it is none, is too large, or cannot be read.
    """
    most = getattr(limits(), name := f"{kind.lower()}_bytes")
    try:
        with BufferedReader(open_regular(path)) as file:
            content = file.read(most + 1)
            if len(content) > most:
                size = os.fstat(file.fileno()).st_size
                raise UserError(f"{path}: has {size} bytes, more than {limit(name)}; give the right file, or raise it")
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return TextIOWrapper(BytesIO(content), encoding="utf-16" if wide else "utf-8-sig").read()  # whichever line ends
    except UnicodeError as error:
        raise UserError(f"{path}: not {kind} in UTF-8; give the right file, or make it again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


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


def check_archive(path: Path) -> None:
    """Refuse an archive whose parts would be larger than the file: nobody who should write it compresses anything.

    Raises:
        ValueError: one would.
        zipfile.BadZipFile: it is no archive.
    """
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise ValueError("its parts are larger than the file")


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
        UserError: it is not YAML, or stands for more than it should.
    """
    text = read_text(path, "YAML")
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())[:500]})") from error
    check_values(content, path)
    return content


def check_values(content: Any, path: Path) -> None:
    """Refuse plain types that stand for more than they should.

    Raises:
        UserError: they do.
    """
    if next(itertools.islice(values(content), limits().values, None), None) is not None:
        raise UserError(
            f"{path}: stands for more values than {limit('values')}, perhaps by aliases; give another, or raise it"
        )


def values(content: Any) -> Iterator[bool]:
    """A word for every value in plain types, however often it is there."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        yield True
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple | set):
            waiting += value


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
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error}): {cure}") from error
