"""Reading files of plain types that anyone may have written: within limits, and with errors that name the file."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import yaml

from .errors import UserError
from .limits import limit, limits

LONGEST_NAME = 255
"""Bytes, of a file or folder."""


def read_text(path: Path, kind: str = "text") -> str:
    """A text in UTF-8.

    Raises:
        UserError: it is none, is too large, or cannot be read.
    """
    try:
        if (size := path.stat().st_size) > getattr(limits(), name := f"{kind.lower()}_bytes"):
            raise UserError(f"{path}: has {size} bytes, more than {limit(name)}; give the right file, or raise it")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not {kind} in UTF-8; give the right file, or make it again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


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
    if next(itertools.islice(values(content), limits().yaml_values, None), None) is not None:
        raise UserError(
            f"{path}: its aliases stand for more values than {limit('yaml_values')}; write it without them, or raise it"
        )
    return content


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
