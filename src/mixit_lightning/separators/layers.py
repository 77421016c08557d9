"""The layers that networks are made of. All of them keep the layout (batch, channel, frame)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mixit_lightning.separators.precision import without_autocast


class Dense(nn.Module):
    """The same linear map at every frame, optionally followed by one learnable scale: ``scale (W x + bias)``.

    Shapes: (batch, inputs, frame) to (batch, outputs, frame). Weights start Glorot uniform, the bias at zero.

    Args:
        inputs: number of channels that come in.
        outputs: number of channels that go out.
        bias: whether there is a bias.
        scale: where the learnable scale starts; None for no scale.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = False, scale: float | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(outputs, inputs)))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = nn.Parameter(torch.tensor(float(scale))) if scale is not None else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, frame) to (batch, outputs, frame)."""
        # The weights are scaled, not the activations: they are far fewer.
        weight = self.weight if self.scale is None else self.scale * self.weight
        y = torch.bmm(weight.expand(x.shape[0], -1, -1), x)
        if self.bias is None:
            return y
        bias = self.bias if self.scale is None else self.scale * self.bias
        return y + bias.to(y.dtype).unsqueeze(-1)


class DepthwiseConv(nn.Conv1d):
    """One filter of three dilated taps for each channel, with zeros beyond both ends.

    Shapes: (batch, channel, frame) to the same. Weights start Glorot uniform, the bias at zero.

    Args:
        channels: number of channels.
        dilation: distance between neighbouring taps, in frames.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels)

    def reset_parameters(self) -> None:
        """Start weights and bias; called while the layer is made."""
        # TensorFlow reads a kernel (3, 1, channel, 1) as 3 x channel inputs and 3 outputs; torch would count 3 and 3.
        limit = (6 / (3 * self.in_channels + 3)) ** 0.5
        nn.init.uniform_(self.weight, -limit, limit)
        assert self.bias is not None
        nn.init.zeros_(self.bias)


class PReLU(nn.Module):
    """Rectifier with one learnable slope for negative values, the same for all channels; it starts at 0.1."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Rectify a tensor of any shape."""
        return functional.prelu(x, self.slope.to(x.dtype).view(1))


class Norm(nn.Module):
    """Zero mean and unit variance, then one learnable gain γ and offset β for all channels.

    Shapes: (batch, channel, frame) to the same.

    Args:
        over_channels: False for mean and variance over the frames of each channel, True over frames and channels.
    """

    epsilon = 1e-3
    """What is added to the variance."""

    def __init__(self, *, over_channels: bool = False) -> None:
        super().__init__()
        self.over_channels = over_channels
        self.gamma = nn.Parameter(torch.ones(1))
        self.beta = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, channel, frame)."""
        channels = x.shape[1]
        gamma, beta = (parameter.to(x.dtype).expand(channels) for parameter in (self.gamma, self.beta))
        # One group a channel makes the fused group norm a norm over frames. Its statistics are float32 whatever it is
        # given, so that autocast need not widen the activations. functional.group_norm would refuse a single frame.
        with without_autocast(x):
            return torch.group_norm(x, 1 if self.over_channels else channels, gamma, beta, self.epsilon)


class GlobalNorm(Norm):
    """The same over frames and channels with a gain γ and an offset β for each channel: asteroid's `GlobLN`, fused.

    Shapes: (batch, channel, ...) to the same, under autocast as torch's group norm does.

    Args:
        channels: number of channels.
    """

    epsilon, over_channels = 1e-8, True

    def __init__(self, channels: int) -> None:
        super().__init__(over_channels=True)
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, channel, ...)."""
        return torch.group_norm(x, 1, self.gamma, self.beta, self.epsilon)
