"""Writing files so that nothing half-written ever stands under a final name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, *, synchronise: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it takes the name only when the block ends without an error.

    Args:
        path: the final name.
        synchronise: wait until the disk has it, so that not even a power cut leaves a half-written file.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        if synchronise:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(partial, path)  # noqa: PTH105 - atomic, which is the point
    finally:
        partial.unlink(missing_ok=True)
