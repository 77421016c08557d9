"""Writing files so that nothing half-written ever stands under a final name."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError


class CannotWrite(UserError):
    """A file cannot be written where it should be."""


class DiskFull(CannotWrite):
    """A disk takes no more, so that nothing else can be written either."""


FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says when a disk takes no more."""

REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)
"""What it says when a file must not be written, or not under this name."""


@contextmanager
def replacing(path: Path, *, synchronise: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it takes the name only when the block ends without an error.

    Args:
        path: the final name.
        synchronise: wait until the disk has it, so that not even a power cut leaves a half-written file.

    Raises:
        CannotWrite: the disk is full, or the file must not be written.
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
        if error.errno in FULL:
            raise disk_full(path) from error
        if error.errno in REFUSED:
            raise CannotWrite(f"{path}: cannot be written ({os.strerror(error.errno)}); give another path") from error
        raise


def disk_full(path: Path) -> DiskFull:
    """The error that says so."""
    return DiskFull(
        f"{path}: cannot be written ({os.strerror(errno.ENOSPC)}); make room, and run the same command again to resume"
    )


def lock(descriptor: int) -> bool:
    """Lock an open file until all processes that have it open as it is have closed it; False where another has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
