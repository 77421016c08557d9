"""Folders with the layout of the Hugging Face Hub, uploads and downloads.

Only uploading uses `ModelHubMixin`: to download, it would read an untrusted config before anything has checked it.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..config import first_line
from ..errors import UserError
from .extra import share_packages
from .model_card import model_card
from .safe_tensors import write_safetensors
from .trained import CONFIG, WEIGHTS

with share_packages():
    from huggingface_hub import ModelCard, ModelHubMixin, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError


class HubSeparator(ModelHubMixin):
    """A separator as the Hub's library saves and pushes it.

    Raises:
        UserError: nothing is known of where it is from.
    """

    def __init__(self, network: nn.Module, description: Mapping[str, Any]) -> None:
        if "settings" not in description:
            raise UserError("this separator does not say what it is; load it by Separator.from_checkpoint")
        self.network, self.description = network, dict(description)

    def _save_pretrained(self, save_directory: Path) -> None:
        write_safetensors(save_directory / WEIGHTS, self.network.state_dict(), self.description)
        (save_directory / CONFIG).write_text(json.dumps(self.description, indent=2) + "\n", encoding="utf-8")

    def generate_model_card(self, *args: object, **kwargs: object) -> ModelCard:
        """The card of this separator."""
        return ModelCard(model_card(self.description))


def save(network: nn.Module, description: Mapping[str, Any], folder: Path) -> None:
    """Write a folder, whole or not at all.

    Raises:
        UserError: it is there already, where a card of other weights may be.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder}: is there already; move it away, or give another folder")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        HubSeparator(network, description).save_pretrained(partial)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def download(repo_id: str, revision: str | None = None, token: str | bool | None = None) -> Path:
    """Fetch description and weights of a repository of the Hub into its cache, and return their folder.

    Raises:
        UserError: there is no such repository, or no way to the Hub.
    """
    try:
        return Path(snapshot_download(repo_id, revision=revision, token=token, allow_patterns=[CONFIG, WEIGHTS]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"{repo_id}: no such folder, and not to be had from the Hugging Face Hub ({first_line(error)})"
        ) from error
