import itertools

import pytest
import torch
from torch.nn import functional

from mixit_lightning.separators import cpu
from mixit_lightning.separators.tdcnpp import Block


@pytest.mark.parametrize(
    ("dilation", "time", "over_channels"), itertools.product([1, 4, 16], [1, 9, 40], [False, True])
)
def test_values_and_derivatives_are_those_of_torch(dilation, time, over_channels):
    torch.manual_seed(0)
    norm = cpu.Norm(over_channels, 1e-3)
    shapes = (3, 5, time), (1,), (5,), (5,), (5, 1, 3), (5,), (1,), (5,), (5,)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def ours(x, slope1, gamma1, beta1, taps, bias, slope2, gamma2, beta2):
        first, second = cpu.RectifiedNorm(slope1, gamma1, beta1), cpu.RectifiedNorm(slope2, gamma2, beta2)
        return cpu.conv_block(x, first, taps, bias, dilation, second, norm)

    def written_out(x, slope1, gamma1, beta1, taps, bias, slope2, gamma2, beta2):
        y = normed(functional.prelu(x, slope1), gamma1, beta1)
        y = functional.conv1d(y, taps, bias, padding=dilation, dilation=dilation, groups=5)
        return normed(functional.prelu(y, slope2), gamma2, beta2)

    def normed(x, gamma, beta):
        dims = (1, 2) if over_channels else 2
        mean, variance = x.mean(dims, keepdim=True), x.var(dims, correction=0, keepdim=True)
        return gamma[:, None] * (x - mean) / (variance + norm.epsilon).sqrt() + beta[:, None]

    results, expected = ours(*inputs), written_out(*inputs)
    torch.testing.assert_close(results, expected)
    gradient = torch.randn_like(results)
    pairs = zip(*(torch.autograd.grad(y, inputs, gradient) for y in (results, expected)), strict=True)
    for our_gradient, their_gradient in pairs:
        torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-9, atol=1e-9)


def test_strides_do_not_matter():
    torch.manual_seed(0)
    x, taps, bias = torch.randn(2, 7, 4).mT, torch.randn(4, 1, 3), torch.randn(4)
    shared = cpu.RectifiedNorm(torch.tensor(0.2), torch.tensor([0.5]).expand(4), torch.tensor([0.1]).expand(4))
    copied = cpu.RectifiedNorm(*(parameter.clone(memory_format=torch.contiguous_format) for parameter in shared))
    norm = cpu.Norm(over_channels=False, epsilon=1e-3)
    torch.testing.assert_close(
        cpu.conv_block(x, shared, taps, bias, 2, shared, norm),
        cpu.conv_block(x.contiguous(), copied, taps, bias, 2, copied, norm),
        rtol=0,
        atol=0,
    )


def make_block():
    torch.manual_seed(0)
    block = Block(4, 6, dilation=2, scale=0.9)
    with torch.no_grad():
        for parameter in block.parameters():  # gains of one and offsets of zero would hide a mix-up
            parameter += 0.1 * torch.randn_like(parameter)
    return block.double()


def values(block, x):
    y = block(x)
    return [y.detach(), *torch.autograd.grad(y.square().sum(), list(block.parameters()))]


@pytest.fixture
def calls(monkeypatch):
    """How often a block was computed the fast way."""
    seen = []
    fast = cpu.conv_block
    monkeypatch.setattr(cpu, "conv_block", lambda *arguments: seen.append(1) or fast(*arguments))
    return seen


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
