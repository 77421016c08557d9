"""What stands between the two dense layers of a convolution block, written out for the CPU.

There the dense layers run at the speed of the arithmetic, and everything else at the speed of memory. So rectifiers,
norms and convolution are done an example at a time, which the cache holds from one operation to the next, and of all
that lies between the two only the output of the convolution is kept for the backward pass. Torch's own derivatives of
rectifier and depthwise convolution are slow on the CPU besides.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class RectifiedNorm(NamedTuple):
    """Parameters of a rectifier and the norm behind it."""

    slope: Tensor
    """One element: of the rectifier, for negative values."""
    gamma: Tensor
    """(channel,): gain of the norm."""
    beta: Tensor
    """(channel,): offset of the norm."""


class Norm(NamedTuple):
    """What a norm takes mean and variance over, besides the frames, and what it adds to the variance."""

    over_channels: bool
    epsilon: float


def suits(x: Tensor, layers: Iterable[nn.Module]) -> bool:
    """Whether activations are better given to `conv_block` than to these layers, which then are not called.

    So they must have no hooks, which someone waits for, or which make the parameters. A compiler and a tracer want to
    see the layers.
    """
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and x.shape[0] > 0
        and not (torch.compiler.is_compiling() or torch.jit.is_tracing())
        and not any(getattr(layer, hooks) for layer in layers for hooks in HOOKS)
    )


def conv_block(
    x: Tensor, first: RectifiedNorm, taps: Tensor, bias: Tensor, dilation: int, second: RectifiedNorm, norm: Norm
) -> Tensor:
    """Rectifier, norm, depthwise convolution with zeros beyond both ends, rectifier, norm.

    The values are those of torch's layers up to rounding. Second derivatives are refused.

    Args:
        x: (batch, channel, frame).
        first: before the convolution.
        taps: (channel, 1, 3), of the convolution.
        bias: (channel,), of the convolution.
        dilation: distance between neighbouring taps, in frames.
        second: after the convolution.
        norm: what both norms are.

    Returns:
        (batch, channel, frame).
    """
    # The native norms read gains and offsets without looking at their strides.
    first, second = (RectifiedNorm(*(parameter.contiguous() for parameter in part)) for part in (first, second))
    return _ConvBlock.apply(x.contiguous(), *first, taps, bias, *second, dilation, norm)


class _ConvBlock(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *others: Any) -> Tensor:
        slope1, gamma1, beta1, taps, bias, slope2, gamma2, beta2, dilation, norm = others
        convolved, y = torch.empty_like(x), torch.empty_like(x)
        moments = []
        for start, middle, end in zip(x, convolved, y, strict=True):
            normed, *_ = _norm(_rectified(start, slope1), gamma1, beta1, norm)
            _convolve(normed, taps, dilation, out=middle).add_(bias.unsqueeze(-1))
            normed, *both = _norm(_rectified(middle, slope2), gamma2, beta2, norm)
            end.copy_(normed)
            moments.append(both)
        ctx.save_for_backward(x, convolved, slope1, gamma1, beta1, taps, slope2, gamma2)
        ctx.dilation, ctx.norm, ctx.moments = dilation, norm, moments
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("cpu.conv_block has no second derivatives; call backward without create_graph")
        of_y = gradients[0].contiguous()
        x, convolved, slope1, gamma1, beta1, taps, slope2, gamma2 = ctx.saved_tensors
        earlier, later = slice(None, -ctx.dilation), slice(ctx.dilation, None)
        of_x, sums = torch.empty_like(x), []
        for start, middle, moments2, of_start, of_end in zip(x, convolved, ctx.moments, of_x, of_y, strict=True):
            of_middle, *of_norm2 = _norm_backward(of_end, _rectified(middle, slope2), moments2, gamma2, ctx.norm)
            of_slope2 = _rectified_backward(of_middle, middle, slope2, out=of_middle)
            # Made again, which takes less time than to keep and fetch it.
            rectified = _rectified(start, slope1)
            normed, *moments1 = _norm(rectified, gamma1, beta1, ctx.norm)
            of_taps = (
                (of_middle[:, later] * normed[:, earlier]).sum(-1),
                (of_middle * normed).sum(-1),
                (of_middle[:, earlier] * normed[:, later]).sum(-1),
            )
            of_normed = _convolve(of_middle, taps.flip(-1), ctx.dilation, out=normed)
            of_rectified, *of_norm1 = _norm_backward(of_normed, rectified, moments1, gamma1, ctx.norm)
            of_slope1 = _rectified_backward(of_rectified, start, slope1, out=of_start)
            of_taps_and_bias = torch.stack(of_taps, -1).unsqueeze(1), of_middle.sum(-1)
            sums.append((of_slope1, *of_norm1, *of_taps_and_bias, of_slope2, *of_norm2))
        return of_x, *(sum(parts[1:], start=parts[0]) for parts in zip(*sums, strict=True)), None, None


def _rectified(x: Tensor, slope: Tensor) -> Tensor:
    return functional.leaky_relu(x, slope.item())


def _rectified_backward(gradient: Tensor, x: Tensor, slope: Tensor, out: Tensor) -> Tensor:
    """Write the gradient of the input into `out`, which may be `gradient`, and return that of the slope."""
    of_slope = torch.dot(gradient.view(-1), x.clamp_max(0).view(-1))
    torch.ops.aten.leaky_relu_backward.grad_input(gradient, x, slope.item(), False, grad_input=out)
    return of_slope.view_as(slope)


def _norm(x: Tensor, gamma: Tensor, beta: Tensor, norm: Norm) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise (channel, frame); with mean and inverse standard deviation, which the gradient needs."""
    channels, frames = x.shape
    groups = 1 if norm.over_channels else channels
    y, mean, scale = torch.native_group_norm(x[None], gamma, beta, 1, channels, frames, groups, norm.epsilon)
    return y[0], mean, scale


def _norm_backward(
    gradient: Tensor, x: Tensor, moments: list[Tensor], gamma: Tensor, norm: Norm
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input, gain and offset."""
    channels, frames = x.shape
    groups = 1 if norm.over_channels else channels
    of_x, of_gamma, of_beta = torch.ops.aten.native_group_norm_backward(
        gradient[None], x[None], *moments, gamma, 1, channels, frames, groups, [True, True, True]
    )
    return of_x[0], of_gamma, of_beta


def _convolve(x: Tensor, taps: Tensor, dilation: int, out: Tensor) -> Tensor:
    """Convolve every channel of (channel, frame) with its own three taps."""
    before, now, after = taps.unbind(-1)
    torch.mul(x, now, out=out)
    out[:, dilation:].addcmul_(x[:, :-dilation], before)
    out[:, :-dilation].addcmul_(x[:, dilation:], after)
    return out
