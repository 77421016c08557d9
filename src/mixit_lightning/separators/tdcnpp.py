"""TDCN++: a mask-based separator of dilated convolutions over time, as released with the MixIT paper."""

import torch
from torch import Tensor, nn

from mixit_lightning.separators import cpu
from mixit_lightning.separators.basis import LearnedBasis, STFTBasis
from mixit_lightning.separators.layers import Dense, DepthwiseConv, Norm, PReLU
from mixit_lightning.separators.mixture_consistency import check_kind, consistency_weights, mixture_consistency
from mixit_lightning.separators.precision import at_least_float32


class TDCNpp(nn.Module):
    """A separator: mixtures (batch, time) to estimates (batch, output, time) that add up to the mixture.

    The defaults are the released MixIT configuration for two speakers a mixture at 8 kHz; it has 8,793,601 parameters.
    No length is too short, from one sample on.

    Args:
        sample_rate: in hertz.
        num_outputs: number of outputs.
        basis: 'learned', or 'stft'.
        window_seconds: length of a frame.
        hop_seconds: distance between frames.
        num_coeffs: number of coefficients of the learned basis; None with 'stft', where the window determines it.
        magnitude_exponent: with 'stft', the power of the magnitude that the network reads; released: 1.
        bottleneck: channels between blocks.
        conv_channels: channels inside a block.
        dilations_per_repeat: blocks in a repeat, with dilations 1, 2, 4, ...
        repeats: number of repeats.
        skip_residual: whether the input of every repeat also goes to all later repeats.
        mixture_consistency: 'uniform', 'magsq' or 'pred_source', see `consistency_weights`.

    Raises:
        ValueError: if an argument makes no sense; the message says which and why.

    Source: Wisdom et al., "Unsupervised Sound Separation Using Mixture Invariant Training", NeurIPS 2020, arXiv
    2006.12701, and its released code; the network is from Kavalerov et al., "Universal Sound Separation", WASPAA 2019.
    """

    def __init__(
        self,
        *,
        sample_rate: int = 8000,
        num_outputs: int = 4,
        basis: str = "learned",
        window_seconds: float = 0.0025,
        hop_seconds: float = 0.00125,
        num_coeffs: int | None = 256,
        magnitude_exponent: float = 1.0,
        bottleneck: int = 256,
        conv_channels: int = 512,
        dilations_per_repeat: int = 8,
        repeats: int = 4,
        skip_residual: bool = False,
        mixture_consistency: str = "pred_source",
    ) -> None:
        super().__init__()
        self.sample_rate = _positive_integer("sample_rate", sample_rate)
        self.num_outputs = _positive_integer("num_outputs", num_outputs)
        self.mixture_consistency = check_kind(mixture_consistency)
        window, hop = round(window_seconds * sample_rate), round(hop_seconds * sample_rate)
        self.basis = _basis(basis, window, hop, num_coeffs, magnitude_exponent)
        self.initial = Dense(self.basis.num_coeffs, _positive_integer("bottleneck", bottleneck), bias=True, scale=1.0)
        self.tdcn = TDCN(
            bottleneck,
            _positive_integer("conv_channels", conv_channels),
            _positive_integer("dilations_per_repeat", dilations_per_repeat),
            _positive_integer("repeats", repeats),
            skip_residual,
        )
        self.mask = Dense(bottleneck, num_outputs * self.basis.num_coeffs)
        self.mix_weights = Dense(bottleneck, num_outputs) if mixture_consistency == "pred_source" else None

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate mixtures.

        Args:
            mixture: (batch, time).

        Returns:
            (batch, output, time), in float32 under autocast.

        Raises:
            ValueError: if the mixture is not (batch, time) or has no samples.
        """
        coefficients, activations = self._analyse(mixture)
        masked = self._masks(activations) * coefficients.unsqueeze(1)
        estimates = self.basis.decode(masked, mixture.shape[-1])
        weights = consistency_weights(self.mixture_consistency, estimates, self._predicted_weights(activations))
        return mixture_consistency(estimates, mixture, weights)

    def masks(self, mixture: Tensor) -> Tensor:
        """Masks (batch, output, coefficient, frame), between 0 and 1, for mixtures (batch, time)."""
        return self._masks(self._analyse(mixture)[1])

    def _analyse(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (batch, coefficient, frame) and last activations (batch, bottleneck, frame)."""
        if mixture.dim() != 2 or mixture.shape[-1] < 1:
            raise ValueError(f"mixture must be (batch, time) with samples in it, but has shape {tuple(mixture.shape)}")
        coefficients = self.basis.encode(mixture)
        return coefficients, self.tdcn(self.initial(self.basis.features(coefficients)))

    def _masks(self, activations: Tensor) -> Tensor:
        logits = self.mask(activations).unflatten(1, (self.num_outputs, self.basis.num_coeffs))
        return torch.sigmoid(at_least_float32(logits))

    def _predicted_weights(self, activations: Tensor) -> Tensor | None:
        if self.mix_weights is None:
            return None
        logits = self.mix_weights(at_least_float32(activations).mean(-1, keepdim=True)).squeeze(-1)
        return torch.softmax(at_least_float32(logits), -1)


class TDCN(nn.Module):
    """Repeats of dilated convolution blocks: (batch, bottleneck, frame) to the same. Arguments as in `TDCNpp`."""

    def __init__(
        self, bottleneck: int, conv_channels: int, dilations_per_repeat: int, repeats: int, skip_residual: bool
    ) -> None:
        super().__init__()
        # Later blocks start quieter: their last scale is 0.9 to the power of their number over all repeats.
        self.repeats = nn.ModuleList(
            nn.Sequential(
                *(
                    Block(bottleneck, conv_channels, dilation=2**i, scale=0.9 ** (repeat * dilations_per_repeat + i))
                    for i in range(dilations_per_repeat)
                )
            )
            for repeat in range(repeats)
        )
        self.skips = nn.ModuleList(
            SkipResidual(bottleneck, repeat if skip_residual else 0) for repeat in range(repeats)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, bottleneck, frame) to the same shape."""
        inputs: list[Tensor] = []
        for repeat, skip in zip(self.repeats, self.skips, strict=True):
            inputs.append(skip(x, inputs))
            x = repeat(inputs[-1])
        return x


class SkipResidual(nn.Module):
    """Add what dense layers make of the inputs of earlier repeats to the input of a repeat.

    Args:
        bottleneck: number of channels.
        num_earlier: number of earlier repeats to read; 0 to leave the input as it is.
    """

    def __init__(self, bottleneck: int, num_earlier: int) -> None:
        super().__init__()
        self.from_repeat = nn.ModuleList(
            Dense(bottleneck, bottleneck, bias=True, scale=1.0) for _ in range(num_earlier)
        )

    def forward(self, x: Tensor, earlier: list[Tensor]) -> Tensor:
        """Map (batch, bottleneck, frame), and the earlier inputs of the same shape, to the same shape."""
        for dense, source in zip(self.from_repeat, earlier, strict=False):
            x = x + dense(source)
        return x


class Block(nn.Module):
    """Widen, convolve along time, narrow, and add to the input: (batch, bottleneck, frame) to the same."""

    def __init__(self, bottleneck: int, conv_channels: int, *, dilation: int, scale: float) -> None:
        super().__init__()
        self.widen = Dense(bottleneck, conv_channels, scale=1.0)
        self.prelu1, self.norm1 = PReLU(), Norm()
        self.conv = DepthwiseConv(conv_channels, dilation)
        self.prelu2, self.norm2 = PReLU(), Norm()
        self.narrow = Dense(conv_channels, bottleneck, scale=scale)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, bottleneck, frame) to the same shape."""
        y = self.widen(x)
        y = cpu.sequential(y, self.prelu1, self.norm1, self.conv, self.prelu2, self.norm2)
        return x + self.narrow(y)


def _basis(
    kind: str, window: int, hop: int, num_coeffs: int | None, magnitude_exponent: float
) -> LearnedBasis | STFTBasis:
    if hop < 1:
        raise ValueError(f"hop_seconds must be at least one sample, but rounds to {hop}")
    if window < hop:
        raise ValueError(
            f"window_seconds must not be shorter than hop_seconds, but they are {window} and {hop} samples"
        )
    if kind == "learned":
        if num_coeffs is None:
            raise ValueError("basis 'learned' needs num_coeffs, the number of coefficients of a frame")
        if magnitude_exponent != 1:
            raise ValueError("basis 'learned' has no magnitude; leave magnitude_exponent at 1")
        return LearnedBasis(window, hop, _positive_integer("num_coeffs", num_coeffs))
    if kind == "stft":
        if num_coeffs is not None:
            raise ValueError(f"basis 'stft' takes num_coeffs from its window; set it to null instead of {num_coeffs}")
        return STFTBasis(window, hop, magnitude_exponent)
    raise ValueError(f"basis must be 'learned' or 'stft', but is {kind!r}")


def _positive_integer(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a positive integer, but is {value!r}")
    return value
