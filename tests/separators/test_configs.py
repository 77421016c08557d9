from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

CONFIGS = sorted((Path(__file__).parents[2] / "conf" / "separator").glob("*.yaml"))


def separator(path: Path, sample_rate: int = 8000, num_outputs: int = 3) -> torch.nn.Module:
    root = OmegaConf.create({"sample_rate": sample_rate, "num_outputs": num_outputs})
    return instantiate(OmegaConf.merge(root, {"separator": OmegaConf.load(path)}).separator)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_makes_a_separator(path):
    network = separator(path)
    assert (network.sample_rate, network.num_outputs) == (8000, 3)
    mixture = torch.randn(1, 1601)
    with torch.no_grad():
        estimates = network.eval()(mixture)
    assert estimates.shape == (1, 3, 1601)
    torch.testing.assert_close(estimates.sum(1), mixture, rtol=0, atol=1e-4)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_says_what_it_is_and_where_it_is_from(path):
    first, second, *_ = path.read_text().splitlines()
    assert first.startswith("# ") and second.startswith("# Source: ")


def test_the_released_config_is_the_released_network():
    (path,) = (path for path in CONFIGS if path.stem == "tdcnpp")
    assert sum(parameter.numel() for parameter in separator(path, num_outputs=4).parameters()) == 8_793_601
