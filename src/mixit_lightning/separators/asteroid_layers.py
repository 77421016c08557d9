"""Asteroid's layers with the same parameters and values in fewer passes over the activations."""

import torch
from asteroid.masknn.convolutional import Conv1DBlock, TDConvNet
from asteroid.masknn.norms import GlobLN
from asteroid.models.sudormrf import _Padder
from torch import Tensor, nn
from torch.nn import functional

from mixit_lightning.separators import cpu

EPSILON = 1e-8
"""What asteroid's norm adds to the variance."""


def exchange_layers(network: nn.Module) -> None:
    """Let the layers of a network that this file knows compute their values its way.

    Only their class changes: parameters and their names stay, and a block whose layers have hooks calls them as ever.
    """
    for module in network.modules():
        if type(module) is GlobLN:
            module.__class__ = FusedGlobLN
        elif type(module) is Conv1DBlock and _fits(module):
            module.__class__ = FusedConv1DBlock
        elif type(module) is _Padder:
            module.__class__ = BranchlessPadder


def freeze_unused(network: nn.Module) -> None:
    """Freeze what the output does not depend on, as processes that train together wait for the gradients of the rest.

    With skip connections the last block of Conv-TasNet has a way to a next one, which there is not.
    """
    for module in network.modules():
        if type(module) is TDConvNet and module.skip_chan:
            *_, last = module.TCN.children()  # type: ignore[union-attr, operator]
            last.res_conv.requires_grad_(False)


class FusedGlobLN(GlobLN):
    """Asteroid's norm over channels and frames, by torch's fused norm of one group."""

    def forward(self, x: Tensor, EPS: float = EPSILON) -> Tensor:
        """Normalise (batch, channel, ...)."""
        return torch.group_norm(x, 1, self.gamma, self.beta, EPS)


class FusedConv1DBlock(Conv1DBlock):
    """Asteroid's block of Conv-TasNet, by `cpu.conv_block` where that suits."""

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Map (batch, channel, frame) to what goes to the next block, and to the masks if the network wants that."""
        widen, *layers = self.shared_block
        y = widen(x)
        if cpu.suits(y, layers):
            prelu1, norm1, conv, prelu2, norm2 = layers
            first = cpu.RectifiedNorm(prelu1.weight, norm1.gamma, norm1.beta)
            second = cpu.RectifiedNorm(prelu2.weight, norm2.gamma, norm2.beta)
            norm = cpu.Norm(over_channels=True, epsilon=EPSILON)
            y = cpu.conv_block(y, first, conv.weight, conv.bias, conv.dilation[0], second, norm)
        else:
            for layer in layers:
                y = layer(y)
        residual = self.res_conv(y)
        return (residual, self.skip_conv(y)) if self.skip_out_chan else residual


class BranchlessPadder(_Padder):
    """SuDoRM-RF's encoder behind zeros that fill its last stride, without a branch that an export cannot follow."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, time) to (batch, channel, frame)."""
        time = x.shape[-1]
        return self.encoder(functional.pad(x, (0, (time + self.lcm - 1) // self.lcm * self.lcm - time)))


def _fits(block: Conv1DBlock) -> bool:
    """Whether a block is made of the layers of `cpu.conv_block`, which a causal one, for instance, is not."""
    _, prelu1, norm1, conv, prelu2, norm2 = block.shared_block
    return (
        {type(norm1), type(norm2)} <= {GlobLN, FusedGlobLN}
        and type(prelu1) is type(prelu2) is nn.PReLU
        and prelu1.num_parameters == prelu2.num_parameters == 1
        and type(conv) is nn.Conv1d
        and (conv.kernel_size, conv.stride, conv.padding) == ((3,), (1,), conv.dilation)
    )
