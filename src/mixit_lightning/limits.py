"""Limits on untrusted files, so that a few bytes of them cannot take all memory or time.

`mixit COMMAND limits.NAME=VALUE` changes a limit for the command and all processes that it starts, the environment
variable MIXIT_LIMITS, "NAME=VALUE NAME=VALUE", for a machine. A settings file cannot, as it is untrusted too.
"""

import difflib
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cache

from .errors import UserError

VARIABLE = "MIXIT_LIMITS"
PREFIX = "limits."


@dataclass(frozen=True)
class Limits:
    """Each a whole number, the largest that is taken, but for `lowest_rate`."""

    lowest_rate: int = 1000
    """Hz, of audio."""
    highest_rate: int = 2_000_000
    """Hz, of audio, and of what a network was trained on."""
    channels: int = 256
    """Of an audio file."""
    samples_at_once: int = 2**28
    """Of an audio file, of all channels, where it is read whole: a gigabyte, an hour and a half at 48 kHz."""
    window_samples: int = 2**26
    """Of all channels, separated at once: 30 s of eleven channels at 192 kHz."""
    yaml_bytes: int = 2**18
    """Of a file of settings."""
    values: int = 100_000
    """In one, or in a checkpoint beside its tensors, with all that aliases stand for: a few lines can stand for
    thousands of millions."""
    json_bytes: int = 2**24
    """Of a JSON file, which can take twenty times as much memory, and of the description in a safetensors file."""
    text_bytes: int = 2**26
    """Of a list, which includes CSV, and can take ten times as much memory."""
    network_size: int = 10_000
    """Number that is given to the network of a checkpoint, unless its weights have such a size."""


def limits() -> Limits:
    """Those of this process.

    Raises:
        UserError: the environment variable is not understood.
    """
    return parse_limits(os.environ.get(VARIABLE, ""))


@cache
def parse_limits(text: str) -> Limits:
    """Limits as the environment variable has them; what it does not name is as above.

    Raises:
        UserError: a name that is none, with the nearest, or a value that is no positive whole number.
    """
    names = [field.name for field in fields(Limits)]
    given: dict[str, int] = {}
    for word in text.split():
        name, _, value = word.removeprefix(PREFIX).partition("=")
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1) or names
            raise UserError(f"{PREFIX}{name}: there is no such limit; there are: {', '.join(close)}")
        if not (value.isascii() and value.isdigit() and len(value) < 19 and int(value)):
            raise UserError(f"{PREFIX}{name}={value}: must be a whole number, 1 or more")
        given[name] = int(value)
    return Limits(**given)


def take_limits(words: Iterable[str]) -> list[str]:
    """Set the limits that are among the words of a command, here and for processes that are started.

    Returns:
        The other words.

    Raises:
        UserError: as `parse_limits`.
    """
    words = list(words)
    if own := [word for word in words if word.startswith(PREFIX)]:
        text = " ".join([*os.environ.get(VARIABLE, "").split(), *own])
        parse_limits(text)
        os.environ[VARIABLE] = text
    return [word for word in words if word not in own]


def changed_limits() -> list[str]:
    """The limits that are not as above, as words of a command; for one that another machine runs."""
    usual = asdict(Limits())
    return [f"{PREFIX}{name}={value}" for name, value in asdict(limits()).items() if value != usual[name]]


def limit(name: str) -> str:
    """End of a message: the limit that was exceeded, and its name."""
    return f"{PREFIX}{name}={getattr(limits(), name)}"
