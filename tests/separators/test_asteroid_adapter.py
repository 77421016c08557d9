import copy
import subprocess
import sys

import asteroid.models
import pytest
import torch
from asteroid.masknn.norms import GlobLN
from torch import nn

from mixit_lightning.separators import AsteroidSeparator, cpu
from mixit_lightning.separators.layers import GlobalNorm

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


@pytest.mark.parametrize("name", NETWORKS)
def test_exchanged_layers_compute_what_asteroid_computes(name):
    torch.manual_seed(1)
    theirs = network(name).eval()  # no dropout
    with torch.no_grad():
        for parameter in theirs.parameters():  # gains of one and offsets of zero would hide a mix-up
            parameter += 0.1 * torch.randn_like(parameter)
    ours = AsteroidSeparator(copy.deepcopy(theirs), "none").eval()
    assert list(ours.network.state_dict()) == list(theirs.state_dict())
    ours.requires_grad_()  # what is frozen has no gradient in theirs
    mixture = torch.randn(2, 1203)
    results, expected = ours(mixture), theirs(mixture)
    torch.testing.assert_close(results, expected, rtol=0, atol=1e-5 * expected.abs().max().item())
    direction = torch.randn_like(expected)
    gradients = [
        torch.autograd.grad((y * direction).sum(), list(module.parameters()), allow_unused=True)
        for y, module in ((results, ours), (expected, theirs))
    ]
    largest = max(gradient.abs().max().item() for gradient in gradients[1] if gradient is not None)
    for our_gradient, their_gradient in zip(*gradients, strict=True):
        torch.testing.assert_close(our_gradient, their_gradient, rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("name", NETWORKS)
def test_all_that_is_trained_has_a_gradient(name):
    """As processes that train together wait for the gradients of all parameters."""
    separator = AsteroidSeparator(network(name))
    separator(torch.randn(2, 1203)).square().sum().backward()
    trained = {key: parameter for key, parameter in separator.named_parameters() if parameter.requires_grad}
    assert [key for key, parameter in trained.items() if parameter.grad is None] == []
    frozen = separator.state_dict().keys() - trained.keys()
    assert all("res_conv" in key for key in frozen if key in dict(separator.named_parameters()))


@pytest.mark.parametrize(
    ("change", "blocks", "norms"),
    [
        ({}, 2, 5),
        ({"skip_chan": 0}, 2, 5),
        ({"causal": True}, 0, 0),
        ({"norm_type": "cLN"}, 0, 0),
        ({"conv_kernel_size": 5}, 0, 5),
    ],
)
def test_blocks_of_other_layers_stay_as_they_are(monkeypatch, change, blocks, norms):
    seen = []
    known = cpu.known
    monkeypatch.setattr(cpu, "known", lambda layers: known(layers) and not seen.append(1))
    torch.manual_seed(0)
    config = {**NETWORKS["ConvTasNet"], **change}
    theirs = asteroid.models.ConvTasNet(n_src=2, sample_rate=8000, **config)
    mixture = torch.randn(1, 801)
    expected = theirs(mixture)
    separator = AsteroidSeparator(theirs, "none")
    torch.testing.assert_close(separator(mixture), expected, rtol=0, atol=1e-5)
    assert len(seen) == blocks
    assert sum(isinstance(module, GlobalNorm) for module in separator.modules()) == norms


def test_layers_that_someone_changed_are_called():
    class Shifted(GlobLN):
        def forward(self, x, EPS=1e-8):
            return super().forward(x, EPS) + 1

    class Absolute(nn.PReLU):
        def forward(self, x):
            return x.abs()

    for place, layer in ((2, Shifted(16)), (1, Absolute())):
        theirs = network()
        for block in theirs.masker.TCN:
            block.shared_block[place] = layer
        expected = theirs(torch.ones(1, 801))
        torch.testing.assert_close(AsteroidSeparator(theirs, "none")(torch.ones(1, 801)), expected)


def test_a_weight_that_a_hook_makes_is_trained():
    separator = AsteroidSeparator(network())
    convolution = nn.utils.spectral_norm(separator.network.masker.TCN[0].shared_block[3])
    for _ in range(2):
        separator(torch.randn(1, 801)).square().sum().backward()
    assert convolution.weight_orig.grad.abs().sum() > 0


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
