import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from mixit_lightning.separators import cpu
from mixit_lightning.separators.layers import DepthwiseConv, GlobalNorm, Norm, PReLU
from mixit_lightning.separators.tdcnpp import Block


@pytest.fixture
def calls(monkeypatch):
    """How often layers were known, and so computed in one go."""
    seen = []
    known = cpu.known
    monkeypatch.setattr(cpu, "known", lambda layers: known(layers) and not seen.append(1))
    return seen


def changed(layer):
    with torch.no_grad():
        for parameter in layer.parameters():  # gains of one and offsets of zero would hide a mix-up
            parameter += 0.1 * torch.randn_like(parameter)
    return layer.double()


@pytest.mark.parametrize(
    ("dilation", "time", "over_channels"), itertools.product([1, 4, 16], [1, 9, 40], [False, True])
)
def test_values_and_derivatives_are_those_of_torch(calls, dilation, time, over_channels):
    torch.manual_seed(0)
    rectifier, norm = (nn.PReLU, lambda: GlobalNorm(5)) if over_channels else (PReLU, Norm)
    layers = [rectifier(), norm(), DepthwiseConv(5, dilation), rectifier(), norm()]
    x = torch.randn(3, 5, time, dtype=torch.float64, requires_grad=True)
    inputs = [x, *(parameter for layer in layers for parameter in changed(layer).parameters())]
    (slope1,), (gamma1, beta1), (taps, bias), (slope2,), (gamma2, beta2) = (list(one.parameters()) for one in layers)

    def normed(x, gamma, beta):
        dims, epsilon = ((1, 2), 1e-8) if over_channels else (2, 1e-3)
        mean, variance = x.mean(dims, keepdim=True), x.var(dims, correction=0, keepdim=True)
        return gamma[:, None] * (x - mean) / (variance + epsilon).sqrt() + beta[:, None]

    y = normed(functional.prelu(x, slope1), gamma1, beta1)
    y = functional.conv1d(y, taps, bias, padding=dilation, dilation=dilation, groups=5)
    expected = normed(functional.prelu(y, slope2), gamma2, beta2)

    results = cpu.sequential(x, *layers)
    assert len(calls) == 1
    torch.testing.assert_close(results, expected)
    gradient = torch.randn_like(results)
    pairs = zip(*(torch.autograd.grad(y, inputs, gradient) for y in (results, expected)), strict=True)
    for our_gradient, their_gradient in pairs:
        torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-9, atol=1e-9)


def test_strides_do_not_matter():
    torch.manual_seed(0)
    layers = PReLU(), Norm(), DepthwiseConv(4, 2), PReLU(), Norm()
    x = torch.randn(2, 7, 4).mT
    torch.testing.assert_close(cpu.sequential(x, *layers), cpu.sequential(x.contiguous(), *layers), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("place", "layer"),
    [
        (0, nn.PReLU(6)),
        (1, nn.InstanceNorm1d(6)),
        (2, nn.Conv1d(6, 6, 5, padding=2, groups=6)),
        (2, nn.Conv1d(6, 6, 3, padding=1)),
        (2, nn.Conv1d(6, 6, 3, padding=1, groups=6, bias=False)),
        (2, nn.Conv1d(6, 6, 3, padding=1, groups=6, padding_mode="circular")),
        (2, nn.Conv1d(6, 6, 3, padding=2, groups=6)),
    ],
)
def test_other_layers_are_called(calls, place, layer):
    layers = [PReLU(), Norm(), DepthwiseConv(6, 1), PReLU(), Norm()]
    layers[place] = layer
    x = torch.randn(2, 6, 20)
    torch.testing.assert_close(cpu.sequential(x, *layers), nn.Sequential(*layers)(x))
    assert not calls


def make_block():
    torch.manual_seed(0)
    return changed(Block(4, 6, dilation=2, scale=0.9))


def values(block, x):
    y = block(x)
    return [y.detach(), *torch.autograd.grad(y.square().sum(), list(block.parameters()))]


def test_a_block_of_tdcnpp_is_computed_this_way_and_by_its_layers_alike(calls):
    block, x = make_block(), torch.randn(3, 4, 20, dtype=torch.float64)
    fast = values(block, x)
    assert len(calls) == 1
    seen = []
    block.norm1.register_forward_hook(lambda *arguments: seen.append(1))
    torch.testing.assert_close(fast, values(block, x))
    assert len(seen) == len(calls) == 1  # a hook is called, and so are the layers


def test_no_examples_have_no_gradients(calls):
    block = make_block()
    block(torch.zeros(0, 4, 20, dtype=torch.float64)).sum().backward()
    assert not calls


def test_second_derivatives_are_refused():
    x = torch.randn(1, 4, 20, dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.grad(make_block()(x).sum(), x, create_graph=True)


def test_a_tracer_sees_the_layers(calls):
    x = torch.randn(1, 4, 20, dtype=torch.float64)
    block = make_block()
    traced = torch.jit.trace(block, x, check_trace=False)
    assert not calls
    torch.testing.assert_close(traced(x), block(x))
