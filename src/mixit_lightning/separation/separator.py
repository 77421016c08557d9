"""A trained separator, ready to use: what is in a checkpoint, behind one method."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from hydra.utils import instantiate
from torch import Tensor, nn

from ..data.audio import resample
from ..errors import UserError
from ..separators.mixture_consistency import consistency_weights, mixture_consistency
from ..training.checkpoints import load_checkpoint
from .windows import separate_windows

ALLOWED = re.compile(r"(mixit_lightning\.separators|asteroid\.models)\.[A-Z]\w*")
"""What a checkpoint may ask to be made: classes of networks and nothing else, as anyone may have written it."""


class Separator:
    """Separates waveforms of any length and rate into outputs that add up to them.

    Args:
        network: `(batch, time)` to `(batch, output, time)`.
        sample_rate: Hz, that the network was trained at.
        num_outputs: of the network.
        window: seconds that are separated at once.
        overlap: seconds that neighbouring windows share.
        device: where the network runs; None is a GPU where there is one.
    """

    def __init__(
        self,
        network: nn.Module,
        sample_rate: int,
        num_outputs: int,
        window: float = 30.0,
        overlap: float = 3.0,
        device: str | None = None,
    ) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network = network.to(self.device).eval()
        self.sample_rate = sample_rate
        self.num_outputs = num_outputs
        self.window = window
        self.overlap = overlap

    @classmethod
    def from_checkpoint(cls, path: str | Path, **settings: Any) -> "Separator":
        """Load what training left.

        Args:
            path: of a checkpoint, which says itself which network it holds; of one from before they did, the
                `config.yaml` of its run folder says so.
            settings: of the class.

        Raises:
            UserError: no checkpoint, a damaged one, one with pickled objects, or one that asks for more than a network.
        """
        path = Path(path)
        state = load_checkpoint(path)
        described = state.get("settings") or settings_beside(path)
        if not (isinstance(described, dict) and {"separator", "sample_rate", "num_outputs"} <= described.keys()):
            raise UserError(f"{path}: does not say which network it holds, and no config.yaml of its run is there")
        check_targets(described["separator"], path)
        try:
            network = instantiate(described["separator"])
            prefix = "separator."
            own = {name.removeprefix(prefix): value for name, value in state["state_dict"].items() if prefix in name}
            network.load_state_dict(own)
        except Exception as error:
            raise UserError(f"{path}: its weights do not fit the network that it describes") from error
        return cls(network, int(described["sample_rate"]), int(described["num_outputs"]), **settings)

    def separate(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Separate a waveform.

        Args:
            waveform: `(time,)` or `(channel, time)`.
            sample_rate: Hz, of the waveform.

        Returns:
            `(output, time)` or `(output, channel, time)`, float32 on the CPU, which add up to the waveform.

        Raises:
            ValueError: another shape, no samples, or samples that are not numbers.
        """
        waveform = torch.as_tensor(waveform, dtype=torch.float32).cpu()
        if waveform.ndim not in (1, 2) or not waveform.numel():
            raise ValueError(f"waveform must be (time,) or (channel, time), but has shape {tuple(waveform.shape)}")
        if not waveform.isfinite().all():
            raise ValueError("waveform holds samples that are not finite numbers")
        channels = waveform.view(-1, waveform.shape[-1])
        pieces = self.stream(lambda start, stop: channels[:, start:stop], channels.shape[-1], sample_rate)
        outputs = torch.cat(list(pieces), -1).transpose(0, 1)
        return outputs[:, 0] if waveform.ndim == 1 else outputs

    def stream(self, read: Callable[[int, int], Tensor], total: int, sample_rate: int) -> Iterator[Tensor]:
        """Separate a recording piece by piece.

        Args:
            read: samples `(channel, time)` from one place to another; places do not fall.
            total: its length in samples.
            sample_rate: Hz, of the recording.

        Yields:
            Pieces `(channel, output, time)` that follow each other.
        """
        window, overlap = (round(seconds * sample_rate) for seconds in (self.window, self.overlap))
        return separate_windows(
            lambda mixture: self.separate_at_once(mixture, sample_rate), read, total, window, overlap
        )

    @torch.inference_mode()
    def separate_at_once(self, mixture: Tensor, sample_rate: int) -> Tensor:
        """Outputs `(channel, output, time)` of a mixture `(channel, time)`.

        What the network cannot hear, at rates above its own, goes to the outputs by their power.
        """
        heard = resampled(mixture, sample_rate, self.sample_rate)
        found = self.network(heard.to(self.device)).cpu()
        outputs = resampled(found, self.sample_rate, sample_rate)[..., : mixture.shape[-1]]
        short = mixture.shape[-1] - outputs.shape[-1]
        outputs = torch.nn.functional.pad(outputs, (0, short))
        return mixture_consistency(outputs, mixture, consistency_weights("magsq", outputs)).clone()


def resampled(signals: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Signals `(..., time)` at another rate."""
    return torch.from_numpy(resample(signals.numpy(), from_rate, to_rate))


def settings_beside(checkpoint: Path) -> dict[str, Any] | None:
    """The config of the run folder that a checkpoint lies in."""
    path = checkpoint.resolve().parent.parent / "config.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None


def check_targets(described: Any, path: Path) -> None:
    """Refuse to make anything but a network.

    Raises:
        UserError: with what was asked for.
    """
    if isinstance(described, dict):
        target = described.get("_target_")
        if target is not None and not ALLOWED.fullmatch(str(target)):
            raise UserError(f"{path}: asks for {target}, which is no network of this package or asteroid's; not loaded")
        for part in described.values():
            check_targets(part, path)
    elif isinstance(described, list):
        for part in described:
            check_targets(part, path)
