"""What goes wrong around training and is nobody's setting: what happened, and what to do about it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..errors import UserError
from ..processes import together

SIGNS = {
    "DataLoader worker (pid": (
        "a loading process has ended ({}); it may have been killed for lack of memory: free some, or lower "
        "datamodule.num_workers or datamodule.batch_size"
    ),
    "no space left": "the disk is full ({}); make room",
}
"""What engines say, and what it means to whoever trains."""

SIGNS_OF_OTHERS = {
    "connection closed by peer": "another process of this training has ended ({}); see its message",
    "connection reset by peer": "another process of this training has ended ({}); see its message",
    "application timeout": "another process of this training does not answer ({}); see whether its machine is there",
    "timed out": "another process of this training does not answer ({}); see whether its machine is there",
    "not used in producing the loss": (
        "the loss does not depend on all parameters of the separator ({}); give "
        "+trainer.strategy.find_unused_parameters=true"
    ),
}
"""The same where several processes train together."""


@contextmanager
def explaining(folder: Path) -> Iterator[None]:
    """Say of an error in the block what it means to whoever trains, where that is known.

    Args:
        folder: of the run.

    Raises:
        UserError: instead of the error of an engine.
    """
    try:
        yield
    except (RuntimeError, OSError) as error:
        if meaning := meaning_of(error, folder):
            raise UserError(f"{folder}: {meaning}") from error
        raise


def meaning_of(error: RuntimeError | OSError, folder: Path) -> str | None:
    """What happened and what to do, None where nothing is known of it."""
    text = str(error)
    if text.startswith("Caught "):  # in a loading process: its traceback, with the error in the last line
        text = text.strip().rpartition("\n")[2]
    said = text.strip().partition("\n")[0]
    if isinstance(error, torch.OutOfMemoryError):
        return "the GPU is out of memory; lower datamodule.batch_size or datamodule.duration"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        said = f"no space left for {error.filename or folder}"
    for sign, meaning in (SIGNS | SIGNS_OF_OTHERS if together() else SIGNS).items():
        if sign.lower() in f"{text} {said}".lower():
            return f"{meaning.format(said)}; run the same command again to resume from the last checkpoint"
    return None
