import json

import pytest
import torch

from mixit_lightning.inference.trained import make

from ..helpers.trained import LEARNED, network_of, settings_of

DESCRIBED = {
    "_target_": "mixit_lightning.separators.TDCNpp",
    "sample_rate": 8000,
    "num_outputs": 3,
    "bottleneck": 8,
    "conv_channels": 16,
    "repeats": 1,
    "dilations_per_repeat": 2,
}


def small_network():
    torch.manual_seed(0)
    return make(DESCRIBED)


def write_checkpoint(path):
    """A checkpoint of the network, and its path."""
    state = {f"separator.{name}": value for name, value in small_network().state_dict().items()}
    torch.save({"state_dict": state, "settings": {"separator": DESCRIBED, "sample_rate": 8000, "num_outputs": 3}}, path)
    return path


@pytest.fixture
def network():
    return small_network()


@pytest.fixture
def save(tmp_path):
    """Write a checkpoint of the network."""
    return lambda: write_checkpoint(tmp_path / "best.ckpt")


@pytest.fixture
def save_trained(tmp_path):
    """Save a checkpoint in a run folder, of a network or of whatever else is said of it, and its results."""

    def saved(described=LEARNED, weights=None, results=None, **settings):
        path = tmp_path / "run" / "checkpoints" / "best.ckpt"
        path.parent.mkdir(parents=True, exist_ok=True)
        weights = network_of(LEARNED).state_dict() if weights is None else weights
        state = {
            "state_dict": {f"separator.{name}": value for name, value in weights.items()},
            "settings": settings_of(described) | settings,
            "provenance": {"commit": "abc", "versions": {"torch": "2.11.0"}, "hardware": {"cpu": "a CPU"}},
            "global_step": 1000,
        }
        torch.save(state, path)
        if results is not None:
            (tmp_path / "run" / "results.json").write_text(json.dumps(results))
        return path

    return saved
