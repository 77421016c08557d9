"""Writing files so that nothing half-written ever stands under a final name."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError


class CannotWrite(UserError):
    """A disk takes no more, so that nothing else can be done either."""


NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)
"""What a disk says when it takes no more, or nothing from us."""


@contextmanager
def replacing(path: Path, *, synchronise: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it takes the name only when the block ends without an error.

    Args:
        path: the final name.
        synchronise: wait until the disk has it, so that not even a power cut leaves a half-written file.

    Raises:
        CannotWrite: the disk is full, or must not be written to.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with written(path):
            yield partial
            if synchronise:
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
            os.replace(partial, path)  # noqa: PTH105 - atomic, which is the point
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Say it where a disk is full, or must not be written to.

    Args:
        path: for the message.

    Raises:
        CannotWrite: instead of the error of the system.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_PLACE:
            raise
        raise cannot_write(path, os.strerror(error.errno)) from error


def cannot_write(path: Path, reason: str) -> CannotWrite:
    """The error that says so."""
    return CannotWrite(
        f"{path}: cannot be written ({reason}); make room or give another place, and the same command goes on"
    )
