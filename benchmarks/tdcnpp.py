"""How fast is TDCN++, forward and backward, against its direct translation, and how close to what the processor can do?

The direct translation is what one writes from the paper and the released code, a torch module for each layer and the
norm by mean and variance. Both have the same parameters. Outputs differ by less than 1e-5 of the largest output in
single precision. Gradients are compared in double precision, where they differ by less than 1e-9 of the largest: in
single precision those of both are some 1e-3 off, as rounding pushes activations over the kinks of 65 rectifiers in a
row; ours must not be further off than twice the translation's. The limit is all matrix products, forward and backward,
and one read and one write of every activation and its gradient, in memory that is there already.

    python benchmarks/tdcnpp.py [--quick] [--json]
"""

import copy
from collections.abc import Callable, Iterator

import torch
from harness import Row, Spread, in_turns, medians, run
from torch import Tensor, nn

from mixit_lightning.memory import keep_freed_memory
from mixit_lightning.separators import TDCNpp

BATCH, SAMPLE_RATE, OUTPUTS, COEFFICIENTS, BOTTLENECK, CHANNELS = 2, 8000, 4, 256, 256, 512
REPEATS, DILATIONS, WINDOW, HOP = 4, 8, 20, 10


class ScaledConv(nn.Conv1d):
    """A convolution of one tap and a learnable scale."""

    def __init__(self, inputs: int, outputs: int, bias: bool = False) -> None:
        super().__init__(inputs, outputs, 1, bias=bias)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, frame) to (batch, outputs, frame)."""
        return self.scale * super().forward(x)


class Norm(nn.Module):
    """Zero mean and unit variance over the frames, one gain and one offset."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, channel, frame)."""
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, correction=0, keepdim=True)
        return self.gamma * (x - mean) / torch.sqrt(variance + 1e-3) + self.beta


class Block(nn.Module):
    """Widen, convolve along time, narrow, and add to the input."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ScaledConv(BOTTLENECK, CHANNELS),
            nn.PReLU(),
            Norm(),
            nn.Conv1d(CHANNELS, CHANNELS, 3, padding=dilation, dilation=dilation, groups=CHANNELS),
            nn.PReLU(),
            Norm(),
            ScaledConv(CHANNELS, BOTTLENECK),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, bottleneck, frame) to the same shape."""
        return x + self.layers(x)


class DirectTDCNpp(nn.Module):
    """TDCN++ as released, layer by layer, for mixtures whose frames fill their length; parameters in the same order."""

    def __init__(self) -> None:
        super().__init__()
        self.analysis = nn.Conv1d(1, COEFFICIENTS, WINDOW, stride=HOP, bias=False)
        self.synthesis = nn.ConvTranspose1d(COEFFICIENTS, 1, WINDOW, stride=HOP, bias=False)
        self.initial = ScaledConv(COEFFICIENTS, BOTTLENECK, bias=True)
        self.blocks = nn.Sequential(*(Block(2**i) for _ in range(REPEATS) for i in range(DILATIONS)))
        self.mask = nn.Conv1d(BOTTLENECK, OUTPUTS * COEFFICIENTS, 1, bias=False)
        self.mix_weights = nn.Linear(BOTTLENECK, OUTPUTS, bias=False)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, time) into (batch, output, time)."""
        coefficients = torch.relu(self.analysis(mixture.unsqueeze(1)))
        activations = self.blocks(self.initial(coefficients))
        masks = torch.sigmoid(self.mask(activations)).unflatten(1, (OUTPUTS, COEFFICIENTS))
        masked = masks * coefficients.unsqueeze(1)
        estimates = self.synthesis(masked.flatten(0, 1)).view(len(mixture), OUTPUTS, -1)
        weights = torch.softmax(self.mix_weights(activations.mean(-1)), -1)
        return estimates + weights.unsqueeze(-1) * (mixture.unsqueeze(1) - estimates.sum(1, keepdim=True))

    def in_our_shapes(self, network: TDCNpp, values: list[Tensor]) -> list[Tensor]:
        """Parameters of this network, or their gradients, in the shapes of the other's; views of them."""
        turned = [
            value.squeeze(1).mT if parameter is self.synthesis.weight else value
            for parameter, value in zip(self.parameters(), values, strict=True)
        ]
        return [value.view(ours.shape) for value, ours in zip(turned, network.parameters(), strict=True)]

    @torch.no_grad()
    def copy_from(self, network: TDCNpp) -> "DirectTDCNpp":
        """Take over the parameters."""
        views = self.in_our_shapes(network, list(self.parameters()))
        for view, ours in zip(views, network.parameters(), strict=True):
            view.copy_(ours)
        return self


def forward_and_backward(network: nn.Module, mixture: Tensor) -> Callable[[], Tensor]:
    """A call leaves gradients and returns the estimates."""
    torch.manual_seed(1)
    direction = torch.randn(BATCH, OUTPUTS, mixture.shape[-1]).to(mixture)

    def call() -> Tensor:
        network.zero_grad()
        estimates = network(mixture)
        estimates.backward(direction)
        return estimates.detach()

    return call


def assert_equal(ours: TDCNpp, direct: DirectTDCNpp, mixture: Tensor) -> None:
    """Outputs and gradients are those of the translation."""
    (results, gradients), (expected, their_gradients) = results_of(ours, direct, mixture)
    assert apart([results], [expected]) < 1e-5
    wide = copy.deepcopy(ours).double(), copy.deepcopy(direct).double(), mixture.double()
    (results, exact_gradients), (expected, exact) = results_of(*wide)
    assert apart([results], [expected]) < 1e-9
    assert apart(exact_gradients, exact) < 1e-9
    assert apart(gradients, exact) < 2 * apart(their_gradients, exact)


def results_of(ours: TDCNpp, direct: DirectTDCNpp, mixture: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
    """Estimates and gradients of both, the gradients in our shapes."""
    estimates = [forward_and_backward(network, mixture)() for network in (ours, direct)]
    gradients = [[parameter.grad for parameter in network.parameters()] for network in (ours, direct)]
    return list(zip(estimates, (gradients[0], direct.in_our_shapes(ours, gradients[1])), strict=True))


def apart(results: list[Tensor], expected: list[Tensor]) -> float:
    """Largest difference, as a share of the largest value."""
    pairs = zip(results, expected, strict=True)
    return max((one - other).abs().max().item() for one, other in pairs) / max(
        value.abs().max().item() for value in expected
    )


def limit(time: int) -> Callable[[], None]:
    """Products of all layers, forward and backward, and the traffic of activations."""
    frames = (time - WINDOW) // HOP + 1
    layers = [(COEFFICIENTS, BOTTLENECK)] + [(BOTTLENECK, CHANNELS), (CHANNELS, BOTTLENECK)] * (REPEATS * DILATIONS)
    layers += [(BOTTLENECK, OUTPUTS * COEFFICIENTS)]
    weights = {size: torch.randn(BATCH, *reversed(size)) for size in layers}
    products = {size: torch.empty(BATCH, *reversed(size)) for size in layers}
    activations = {size: torch.randn(BATCH, size, frames) for pair in layers for size in pair}
    others = {size: torch.empty_like(activation) for size, activation in activations.items()}

    def call() -> None:
        for inputs, outputs in layers:
            weight = weights[inputs, outputs]
            torch.bmm(weight, activations[inputs], out=others[outputs])
            torch.bmm(weight.mT, activations[outputs], out=others[inputs])
            torch.bmm(activations[outputs], activations[inputs].mT, out=products[inputs, outputs])
            for _ in ("activation", "gradient"):
                torch.mul(activations[outputs], 2, out=others[outputs])

    return call


def measure(quick: bool) -> Iterator[Row]:
    """The row of the table."""
    keep_freed_memory()  # as training does; the translation gains as well
    seconds = 1 if quick else 4
    torch.manual_seed(0)
    ours, mixture = TDCNpp(), 0.1 * torch.randn(BATCH, seconds * SAMPLE_RATE)
    direct = DirectTDCNpp().copy_from(ours)
    assert_equal(ours, direct, mixture[:, : SAMPLE_RATE // 2])
    sides = {
        "TDCNpp": forward_and_backward(ours, mixture),
        "limit": limit(mixture.shape[-1]),
        "direct translation": forward_and_backward(direct, mixture),
    }
    times = in_turns(sides, 4 if quick else 6, warm_up=1)
    least = Spread.ratio(times["direct translation"], times["limit"])
    yield Row(
        f"TDCN++ forward and backward, B={BATCH}, {seconds} s at 8 kHz, M={OUTPUTS}",
        "direct translation",
        Spread.ratio(times["direct translation"], times["TDCNpp"]),
        1.5,
        limit=f"all products, one read and one write of every activation and gradient: {least.median:.2f} times",
        distance=Spread.ratio(times["TDCNpp"], times["limit"]),
        seconds=medians(times),
    )


if __name__ == "__main__":
    run(measure, __doc__)
