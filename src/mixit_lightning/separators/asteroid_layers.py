"""Layers of asteroid's networks, exchanged for those of this package that compute the same values faster."""

from asteroid.masknn.convolutional import Conv1DBlock, TDConvNet
from asteroid.masknn.norms import GlobLN
from asteroid.models import SuDORMRFImprovedNet, SuDORMRFNet
from torch import Tensor, nn
from torch.nn import functional

from mixit_lightning.separators import cpu
from mixit_lightning.separators.layers import GlobalNorm


def exchange_layers(network: nn.Module) -> None:
    """Let the layers of a network that this file knows compute their values its way.

    Only their class changes: they keep their parameters, the names of these, and hooks.
    """
    for module in network.modules():
        if type(module) is GlobLN:
            module.__class__ = GlobalNorm
        elif type(module) is Conv1DBlock:
            module.shared_block.__class__ = FastSequential
        elif isinstance(module, SuDORMRFNet | SuDORMRFImprovedNet):
            module.encoder.__class__ = PaddedEncoder


def freeze_unused(network: nn.Module) -> None:
    """Freeze what the output does not depend on, as processes that train together wait for the gradients of the rest.

    With skip connections the last block of Conv-TasNet has a way to a next one, which there is not.
    """
    for module in network.modules():
        if type(module) is TDConvNet and module.skip_chan:
            *_, last = module.TCN.children()  # type: ignore[union-attr, operator]
            last.res_conv.requires_grad_(False)


class FastSequential(nn.Sequential):
    """The layers of a block of Conv-TasNet up to its last dense ones; see `cpu.sequential`."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, frame)."""
        widen, *layers = self
        return cpu.sequential(widen(x), *layers)


class PaddedEncoder(nn.Module):
    """SuDoRM-RF's encoder behind zeros that fill its last stride, without a branch that an export cannot follow."""

    encoder: nn.Module
    lcm: int

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, time) to (batch, channel, frame)."""
        time = x.shape[-1]
        return self.encoder(functional.pad(x, (0, (time + self.lcm - 1) // self.lcm * self.lcm - time)))
