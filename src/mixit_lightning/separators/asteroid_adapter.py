"""The separation networks of asteroid, behind the same interface as TDCN++."""

from torch import Tensor, nn

from mixit_lightning.separators.mixture_consistency import check_kind, consistency_weights, mixture_consistency
from mixit_lightning.separators.precision import at_least_float32


class AsteroidSeparator(nn.Module):
    """A network of `asteroid.models` with mixture consistency: (batch, time) to (batch, output, time).

    The network is not copied, and some of its layers get a faster class with the same values, see `exchange_layers`;
    its parameters and their names stay, and those that do nothing are frozen, see `freeze_unused`.

    Args:
        network: such as ``asteroid.models.ConvTasNet(n_src=4, sample_rate=8000)``.
        mixture_consistency: 'uniform', 'magsq' or 'none'. Asteroid's networks predict no weights for 'pred_source'.

    Raises:
        ValueError: if the network does not say its sample rate and number of outputs, or the kind of mixture
            consistency is unknown or 'pred_source'.
    """

    def __init__(self, network: nn.Module, mixture_consistency: str = "uniform") -> None:
        super().__init__()
        if mixture_consistency == "pred_source":
            raise ValueError(
                "mixture_consistency 'pred_source' needs weights that the network predicts, which asteroid's networks "
                "do not; use 'uniform', 'magsq' or 'none'"
            )
        self.mixture_consistency = check_kind(mixture_consistency, ("uniform", "magsq", "none"))
        self.num_outputs = _positive_integer_of(network, "masker.n_src", "number of outputs")
        self.sample_rate = _positive_integer_of(network, "sample_rate", "sample rate")
        from mixit_lightning.separators import asteroid_layers  # asteroid takes seconds to import

        asteroid_layers.exchange_layers(network)
        asteroid_layers.freeze_unused(network)
        self.network = network

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate mixtures.

        Args:
            mixture: (batch, time).

        Returns:
            (batch, output, time), in float32 under autocast.

        Raises:
            ValueError: if the mixture is not (batch, time).
        """
        if mixture.dim() != 2:
            raise ValueError(f"mixture must be (batch, time), but has shape {tuple(mixture.shape)}")
        estimates = at_least_float32(self.network(mixture))
        if self.mixture_consistency == "none":
            return estimates
        weights = consistency_weights(self.mixture_consistency, estimates)
        return mixture_consistency(estimates, mixture, weights)


def _positive_integer_of(network: nn.Module, attribute: str, meaning: str) -> int:
    value: object = network
    for name in attribute.split("."):
        value = getattr(value, name, None)
    if not isinstance(value, int | float) or value < 1 or value != int(value):
        raise ValueError(
            f"{type(network).__name__} must say its {meaning} in its attribute {attribute!r}, but has {value!r} there"
        )
    return int(value)
