"""Trained weights and their description, from any of three kinds of file, all untrusted.

The description is the same in all of them, in plain types: `settings`, the run's config without absolute paths;
`provenance`, commit, versions and hardware of the training; `global_step`; and `results`, what the evaluation of these
very weights wrote into `results.json`, where there was one.
"""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import all_lines
from ..errors import UserError
from ..reading import read_text
from ..records import read_results
from ..training.checkpoints import load_checkpoint
from .safe_tensors import parse_description, read_safetensors

ALLOWED = re.compile(r"(mixit_lightning\.separators|asteroid\.models)\.[A-Z]\w*")
"""Targets that a description may name: classes of networks only, as descriptions are untrusted."""

CONFIG, WEIGHTS = "config.json", "model.safetensors"
"""Files in a folder with the layout of the Hugging Face Hub: description and weights."""

PREFIX = "separator."
"""Prefix of the network's weights in a checkpoint."""


@dataclass(frozen=True)
class Trained:
    """Weights by the network's own names, and what is said of them."""

    weights: Mapping[str, Tensor]
    description: Mapping[str, Any]
    path: Path
    """File that they are from, for messages."""

    def network(self) -> nn.Module:
        """Make the network, in no more memory than its weights take.

        Raises:
            UserError: the description asks for anything but a network, or for another than these weights are of.
        """
        settings = self.description.get("settings")
        if not (isinstance(settings, dict) and {"separator", "sample_rate", "num_outputs"} <= settings.keys()):
            raise UserError(f"{self.path}: does not say which network it holds; give a checkpoint of a run")
        try:
            with torch.device("meta"):  # shapes without memory
                make(settings["separator"]).load_state_dict(self.weights, assign=True)
            network = make(settings["separator"])
            network.load_state_dict(self.weights)
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from error
        except Exception as error:
            reason = all_lines(error)[:300]
            raise UserError(f"{self.path}: its weights do not fit the network that it describes ({reason})") from error
        return network


def load_trained(path: Path) -> Trained:
    """Load a checkpoint, a `.safetensors` file, or a folder with the layout of the Hugging Face Hub.

    Raises:
        UserError: there is none, it is damaged, or holds pickled objects.
    """
    if path.is_dir():
        if not (path / CONFIG).is_file():
            raise UserError(f"{path}: no {CONFIG} there; give a checkpoint, or a folder that mixit export made")
        weights, _ = read_safetensors(path / WEIGHTS)
        return Trained(weights, parse_description(read_text(path / CONFIG, "JSON"), path / CONFIG), path)
    if path.suffix == ".safetensors":
        return Trained(*read_safetensors(path), path)
    state = load_checkpoint(path)
    weights = {name.removeprefix(PREFIX): w for name, w in state["state_dict"].items() if name.startswith(PREFIX)}
    settings = without_paths(state.get("settings"))
    description = {"settings": settings, "provenance": state.get("provenance"), "global_step": state.get("global_step")}
    return Trained(weights, description | results_beside(path, description), path)


def make(described: Any) -> Any:
    """Make the networks of a description. Hydra would resolve `${...}` in it, which could run code.

    Args:
        described: plain types, with a class for `_target_` and its arguments.

    Raises:
        UserError: it asks for anything but networks of this package and asteroid's.
    """
    if isinstance(described, list):
        return [make(entry) for entry in described]
    if not isinstance(described, dict):
        return described
    arguments = {name: make(entry) for name, entry in described.items() if name != "_target_"}
    if (target := described.get("_target_")) is None:
        return arguments
    module, _, name = str(target).rpartition(".")
    kind = getattr(importlib.import_module(module), name, None) if ALLOWED.fullmatch(str(target)) else None
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise UserError(f"asks for {target}, which is no network of this package or asteroid's; not loaded")
    return kind(**arguments)


def weights_file(path: Path) -> Path:
    """The file that weights are in, of what `load_trained` takes."""
    return path / WEIGHTS if path.is_dir() else path


def without_paths(value: Any) -> Any:
    """Plain types without absolute paths, which would only tell who trained where."""
    if isinstance(value, dict):
        return {name: without_paths(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [without_paths(entry) for entry in value]
    return "${place}" if isinstance(value, str) and Path(value).is_absolute() else value


def results_beside(checkpoint: Path, description: Mapping[str, Any]) -> dict[str, Any]:
    """`results` of the run folder that a checkpoint lies in, if they are those of this very checkpoint."""
    path = checkpoint.resolve().parent.parent / "results.json"
    if not path.is_file():
        return {}
    results = read_results(path)
    own = (results.get("checkpoint"), results.get("steps")) == (checkpoint.name, description["global_step"])
    return {"results": {key: value for key, value in results.items() if key != "note"}} if own else {}
