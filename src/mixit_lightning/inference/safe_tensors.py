"""A network's weights and its description in one safetensors file, which cannot hold code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import UserError
from ..files import replacing
from ..training.checkpoints import check_weights

KEY = "description"
"""Metadata key of the description as JSON. It is the only key, as two would be written in any order."""


def write_safetensors(path: Path, weights: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write weights, and what they are."""
    plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    with replacing(path) as partial:
        partial.write_bytes(save(plain, {KEY: json.dumps(description)}))


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and description of a file.

    Raises:
        UserError: there is none, it is damaged, or does not describe itself.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); get it again") from error
    check_weights(weights, path)
    return weights, parse_description(metadata.get(KEY, "{}"), path)


def parse_description(text: str, path: Path) -> dict[str, Any]:
    """Parse an untrusted description in JSON.

    Raises:
        UserError: it is none.
    """
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: its description is not valid JSON ({error})") from error
    if not isinstance(description, dict):
        raise UserError(f"{path}: its description is not an object")
    return description
