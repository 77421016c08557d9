import subprocess
import sys

import asteroid.models
import pytest
import torch
from torch import nn

from mixit_lightning.separators import AsteroidSeparator

NETWORKS = {
    "ConvTasNet": {"n_blocks": 2, "n_repeats": 1, "bn_chan": 8, "hid_chan": 16, "skip_chan": 8, "n_filters": 16},
    "DPRNNTasNet": {"n_filters": 8, "bn_chan": 8, "hid_size": 8, "chunk_size": 20, "n_repeats": 1, "kernel_size": 16},
    "DPTNet": {"n_filters": 16, "ff_hid": 8, "chunk_size": 20, "n_repeats": 1},
    "SuDORMRFNet": {"bn_chan": 8, "num_blocks": 1, "upsampling_depth": 3, "n_filters": 16, "kernel_size": 21},
    "SuDORMRFImprovedNet": {"bn_chan": 8, "num_blocks": 1, "upsampling_depth": 3, "n_filters": 16, "kernel_size": 21},
}


def network(name: str = "ConvTasNet", num_outputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return getattr(asteroid.models, name)(n_src=num_outputs, sample_rate=8000, **NETWORKS[name])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("time", [1003, 1600])
def test_every_network_keeps_the_length_and_adds_up(name, time):
    separator = AsteroidSeparator(network(name))
    assert (separator.num_outputs, separator.sample_rate) == (3, 8000)
    mixture = torch.randn(2, time)
    estimates = separator(mixture)
    assert estimates.shape == (2, 3, time)
    torch.testing.assert_close(estimates.sum(1), mixture, rtol=0, atol=1e-4)
    estimates.square().sum().backward()
    gradients = [parameter.grad for parameter in separator.parameters() if parameter.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)


def test_kinds_of_mixture_consistency():
    plain = network()
    mixture = torch.randn(2, 801)
    raw = plain(mixture)
    torch.testing.assert_close(AsteroidSeparator(plain, "none")(mixture), raw)
    missing = mixture[:, None] - raw.sum(1, keepdim=True)
    torch.testing.assert_close(AsteroidSeparator(plain, "uniform")(mixture), raw + missing / 3)
    power = raw.square().mean(-1, keepdim=True) + 1e-8
    torch.testing.assert_close(AsteroidSeparator(plain, "magsq")(mixture), raw + missing * power / power.sum(1, True))


def test_autocast_gives_float32_that_adds_up():
    separator, mixture = AsteroidSeparator(network()), torch.randn(2, 801)
    with torch.autocast("cpu", torch.bfloat16):
        estimates = separator(mixture)
    assert estimates.dtype == torch.float32
    torch.testing.assert_close(estimates.sum(1), mixture, rtol=0, atol=1e-4)


def test_refusals():
    with pytest.raises(ValueError, match="needs weights that the network predicts"):
        AsteroidSeparator(network(), "pred_source")
    with pytest.raises(ValueError, match="must be one of 'uniform', 'magsq', 'none'"):
        AsteroidSeparator(network(), "power")
    with pytest.raises(ValueError, match=r"Linear must say its number of outputs in its attribute 'masker\.n_src'"):
        AsteroidSeparator(nn.Linear(2, 2))
    without_rate = nn.Module()
    without_rate.masker = nn.Module()
    without_rate.masker.n_src = 2
    with pytest.raises(ValueError, match="must say its sample rate in its attribute 'sample_rate'"):
        AsteroidSeparator(without_rate)
    with pytest.raises(ValueError, match=r"mixture must be \(batch, time\)"):
        AsteroidSeparator(network())(torch.zeros(1, 1, 800))


def test_asteroid_is_imported_only_by_those_who_use_it():
    code = "import sys, mixit_lightning.separators; sys.exit('asteroid' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
