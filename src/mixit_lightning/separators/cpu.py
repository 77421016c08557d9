"""What stands between the two dense layers of a convolution block, written out for the CPU.

There the dense layers run at the speed of the arithmetic, and everything else at the speed of memory. So rectifiers,
norms and convolution are done an example at a time, which the cache holds from one operation to the next, and of all
that lies between the two only the output of the convolution is kept for the backward pass. Torch's own derivatives of
rectifier and depthwise convolution are slow on the CPU besides.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mixit_lightning.separators.layers import DepthwiseConv, GlobalNorm, Norm, PReLU

RECTIFIERS, NORMS, CONVOLUTIONS = (PReLU, nn.PReLU), (Norm, GlobalNorm), (DepthwiseConv, nn.Conv1d)
KNOWN = (RECTIFIERS, NORMS, CONVOLUTIONS, RECTIFIERS, NORMS)
"""Classes of the layers that are computed in one go."""

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Where torch keeps the hooks of a layer, for which it has no public question."""


def sequential(x: Tensor, *layers: Any) -> Tensor:
    """What `nn.Sequential(*layers)` makes of (batch, channel, frame), on the CPU in one go where the layers are known.

    Known are rectifier, norm, depthwise convolution of three taps, rectifier, norm. The values are those of the layers
    up to rounding; second derivatives are refused.
    """
    if not (suits(x) and known(layers)):
        for layer in layers:
            x = layer(x)
        return x
    prelu1, norm1, conv, prelu2, norm2 = layers
    # The native norms read gains and offsets without looking at their strides.
    gamma1, beta1, gamma2, beta2 = (
        parameter.expand(x.shape[1]).contiguous() for norm in (norm1, norm2) for parameter in (norm.gamma, norm.beta)
    )
    (slope1,), (slope2,) = prelu1.parameters(), prelu2.parameters()
    parameters = slope1, gamma1, beta1, conv.weight, conv.bias, slope2, gamma2, beta2
    return _ConvBlock.apply(x.contiguous(), *parameters, conv.dilation[0], norm1, norm2)


def suits(x: Tensor) -> bool:
    """Whether activations can be computed in one go. A compiler and a tracer want to see the layers."""
    return (
        not (torch.compiler.is_compiling() or torch.jit.is_tracing())
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and x.shape[0] > 0
    )


def known(layers: Sequence[Any]) -> bool:
    """Whether layers are known, and have no hooks, which someone waits for, or which make the parameters."""
    if len(layers) != len(KNOWN) or any(type(one) not in kinds for one, kinds in zip(layers, KNOWN, strict=True)):
        return False
    prelu1, _, conv, prelu2, _ = layers
    return (
        all(getattr(prelu, "num_parameters", 1) == 1 for prelu in (prelu1, prelu2))
        and (conv.kernel_size, conv.stride, conv.padding, conv.padding_mode) == ((3,), (1,), conv.dilation, "zeros")
        and conv.groups == conv.in_channels == conv.out_channels
        and conv.bias is not None
        and not any(getattr(layer, hooks) for layer in layers for hooks in HOOKS)
    )


class _ConvBlock(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *others: Any) -> Tensor:
        slope1, gamma1, beta1, taps, bias, slope2, gamma2, beta2, dilation, norm1, norm2 = others
        convolved, y = torch.empty_like(x), torch.empty_like(x)
        moments = []
        for start, middle, end in zip(x, convolved, y, strict=True):
            normed, *_ = _norm(_rectified(start, slope1), gamma1, beta1, norm1)
            _convolve(normed, taps, dilation, out=middle).add_(bias.unsqueeze(-1))
            normed, *both = _norm(_rectified(middle, slope2), gamma2, beta2, norm2)
            end.copy_(normed)
            moments.append(both)
        ctx.save_for_backward(x, convolved, slope1, gamma1, beta1, taps, slope2, gamma2)
        ctx.dilation, ctx.norms, ctx.moments = dilation, (norm1, norm2), moments
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("cpu.sequential has no second derivatives; call backward without create_graph")
        of_y = gradients[0].contiguous()
        x, convolved, slope1, gamma1, beta1, taps, slope2, gamma2 = ctx.saved_tensors
        norm1, norm2 = ctx.norms
        earlier, later = slice(None, -ctx.dilation), slice(ctx.dilation, None)
        of_x, sums = torch.empty_like(x), []
        for start, middle, moments2, of_start, of_end in zip(x, convolved, ctx.moments, of_x, of_y, strict=True):
            of_middle, *of_norm2 = _norm_backward(of_end, _rectified(middle, slope2), moments2, gamma2, norm2)
            of_slope2 = _rectified_backward(of_middle, middle, slope2, out=of_middle)
            # Made again, which takes less time than to keep and fetch it.
            rectified = _rectified(start, slope1)
            normed, *moments1 = _norm(rectified, gamma1, beta1, norm1)
            of_taps = (
                (of_middle[:, later] * normed[:, earlier]).sum(-1),
                (of_middle * normed).sum(-1),
                (of_middle[:, earlier] * normed[:, later]).sum(-1),
            )
            of_normed = _convolve(of_middle, taps.flip(-1), ctx.dilation, out=normed)
            of_rectified, *of_norm1 = _norm_backward(of_normed, rectified, moments1, gamma1, norm1)
            of_slope1 = _rectified_backward(of_rectified, start, slope1, out=of_start)
            of_taps_and_bias = torch.stack(of_taps, -1).unsqueeze(1), of_middle.sum(-1)
            sums.append((of_slope1, *of_norm1, *of_taps_and_bias, of_slope2, *of_norm2))
        return of_x, *(sum(parts[1:], start=parts[0]) for parts in zip(*sums, strict=True)), None, None, None


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
