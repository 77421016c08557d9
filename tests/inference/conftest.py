import pytest
import torch

from mixit_lightning.separators import TDCNpp

DESCRIBED = {
    "_target_": "mixit_lightning.separators.TDCNpp",
    "sample_rate": 8000,
    "num_outputs": 3,
    "bottleneck": 8,
    "conv_channels": 16,
    "repeats": 1,
    "dilations_per_repeat": 2,
}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return TDCNpp(**{name: value for name, value in DESCRIBED.items() if name != "_target_"})


@pytest.fixture
def save(tmp_path, network):
    """Save a checkpoint of the network that describes it, or something else."""

    def saved(described=DESCRIBED, **more):
        path = tmp_path / "best.ckpt"
        state = {f"separator.{name}": value for name, value in network.state_dict().items()}
        settings = {"separator": described, "sample_rate": 8000, "num_outputs": 3}
        torch.save({"state_dict": state, "settings": settings} | more, path)
        return path

    return saved
