"""Checkpoints: plain types only, whole or not at all."""

import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ..config import first_line
from ..errors import UserError
from ..files import replacing

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
"""The checkpoint that a run resumes from, and the one before it."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the final name, flushes, then renames; reads plain types only.

    Lightning's own writes to the system's temporary folder first, which may be another disk: then a kill while it is
    copied leaves a broken file.

    Args:
        described: plain types that go into every checkpoint, so that it says by itself what it is.
    """

    def __init__(self, described: Mapping[str, Any]) -> None:
        super().__init__()
        self.described = dict(described)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Save under a temporary name, then rename; the last one but one is kept too.

        Raises:
            CannotWrite: the disk is full, or must not be written to; what was saved before is whole.
        """
        path, memory = Path(path), BytesIO()
        torch.save(checkpoint | self.described, memory)  # whose own writer does not say that a disk is full
        with replacing(path) as partial:
            with partial.open("wb") as file:
                file.write(memory.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            if path.name == LAST and path.exists():
                path.replace(path.with_name(PREVIOUS))

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Load tensors and plain types; a pickled object is refused."""
        return load_checkpoint(Path(path))


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that a run resumes from: its last one, or the one before where that is damaged or missing.

    Raises:
        UserError: neither can be loaded.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    if not last.exists():
        return previous if previous.exists() else None
    try:
        load_checkpoint(last)
    except UserError as error:
        if not previous.exists():
            raise
        print(f"{error}; resuming from {previous.name}", flush=True)
        return previous
    return last


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint on the CPU.

    Raises:
        UserError: there is none, it is damaged, not of a run, or holds pickled objects.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; train first, or give the path of another")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # whose message says how to load it all the same
        raise UserError(
            f"{path}: not a checkpoint of plain tensors (it is damaged, or holds objects, which may be code)"
        ) from error
    except Exception as error:
        raise UserError(f"{path}: not a checkpoint of plain tensors ({first_line(error)})") from error
    if not (isinstance(state, dict) and isinstance(state.get("state_dict"), dict)):
        raise UserError(f"{path}: not a checkpoint of a run, it has no state_dict")
    if not (isinstance(step := state.get("global_step", 0), int) and step >= 0):
        raise UserError(f"{path}: not a checkpoint of a run, it is of step {str(step)[:50]}")
    check_weights(state["state_dict"], path)
    return state


def check_weights(weights: dict[Any, Any], path: Path) -> None:
    """Refuse weights that are none.

    Raises:
        UserError: something else is among them, they are larger than the file, or not finite.
    """
    for name, weight in weights.items():
        if not (isinstance(name, str) and isinstance(weight, torch.Tensor) and weight.layout is torch.strided):
            raise UserError(f"{path}: {str(name)[:100]} of its state_dict is no plain tensor; not loaded")
    # One number can pose as a tensor of any shape.
    if sum(weight.numel() * weight.element_size() for weight in weights.values()) > path.stat().st_size:
        raise UserError(f"{path}: its weights are larger than the file; not loaded")
    if spoiled := [name for name, weight in weights.items() if not weight.isfinite().all()]:
        raise UserError(f"{path}: {spoiled[0]} holds numbers that are not finite; give another checkpoint")
