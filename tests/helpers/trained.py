"""Networks of all kinds, small, and what is said of them."""

import json
from pathlib import Path

import torch

from mixit_lightning.inference.safe_tensors import write_safetensors
from mixit_lightning.inference.trained import make

LEARNED = {
    "_target_": "mixit_lightning.separators.TDCNpp",
    "sample_rate": 8000,
    "num_outputs": 3,
    "window_seconds": 0.0025,
    "hop_seconds": 0.001,  # of which the window is no multiple
    "num_coeffs": 16,
    "bottleneck": 8,
    "conv_channels": 16,
    "repeats": 2,
    "dilations_per_repeat": 2,
    "mixture_consistency": "pred_source",
}
STFT = LEARNED | {
    "basis": "stft",
    "window_seconds": 0.032,
    "hop_seconds": 0.012,
    "num_coeffs": None,
    "magnitude_exponent": 0.3,
    "skip_residual": True,
    "mixture_consistency": "magsq",
}
SMALL = {
    "ConvTasNet": {"n_blocks": 2, "n_repeats": 1, "bn_chan": 8, "hid_chan": 16, "skip_chan": 8, "n_filters": 32},
    "DPRNNTasNet": {"n_filters": 32, "bn_chan": 8, "hid_size": 8, "n_repeats": 1, "chunk_size": 20},
    "DPTNet": {"n_filters": 32, "ff_hid": 8, "n_repeats": 1, "chunk_size": 20, "n_heads": 4},
    "SuDORMRFNet": {"bn_chan": 8, "num_blocks": 1, "upsampling_depth": 3, "n_filters": 32},
    "SuDORMRFImprovedNet": {"bn_chan": 8, "num_blocks": 1, "upsampling_depth": 3, "n_filters": 32},
}
"""Networks of asteroid, with settings that make them quick."""


def asteroid(name):
    return {
        "_target_": "mixit_lightning.separators.AsteroidSeparator",
        "mixture_consistency": "uniform",
        "network": {"_target_": f"asteroid.models.{name}", "n_src": 3, "sample_rate": 8000} | SMALL[name],
    }


def network_of(described):
    """With weights that are all different from what they start from, and from each other."""
    torch.manual_seed(0)
    network = make(described).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return network


def settings_of(described):
    return {
        "recipe": "synthetic",
        "separator": described,
        "sample_rate": 8000,
        "num_outputs": 3,
        "seed": 7,
        "data_licence": "CC0-1.0",
        "objective": {"labelled_share": 0.25, "num_mixtures": 2},
        "datamodule": {"folders": ["/home/somebody/sounds"], "duration": 2.0},
    }


def make_network(folder: Path) -> Path:
    """A small separator in the layout of the Hugging Face Hub."""
    folder.mkdir()
    description = {"settings": settings_of(LEARNED), "provenance": {"commit": "abc"}, "global_step": 4}
    write_safetensors(folder / "model.safetensors", network_of(LEARNED).state_dict(), description)
    (folder / "config.json").write_text(json.dumps(description))
    return folder
