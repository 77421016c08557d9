"""A trained separator, ready to use."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..audio.opening import HIGHEST
from ..audio.resampling import resample
from ..separators.mixture_consistency import consistency_weights, mixture_consistency
from .chunks import separate_chunks
from .trained import load_trained


class Separator:
    """Separates waveforms of any length and rate into outputs that add up to them.

    Args:
        network: `(batch, time)` to `(batch, output, time)`.
        sample_rate: Hz, that the network was trained at.
        num_outputs: of the network.
        window: seconds of a chunk, which is separated at once.
        overlap: seconds that neighbouring chunks share.
        device: where the network runs; None is a GPU where there is one.
        description: of what was trained, see `inference.trained`.
    """

    def __init__(
        self,
        network: nn.Module,
        sample_rate: int,
        num_outputs: int,
        window: float = 30.0,
        overlap: float = 3.0,
        device: str | None = None,
        description: Mapping[str, Any] | None = None,
    ) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network = network.to(self.device).eval()
        self.sample_rate = sample_rate
        self.num_outputs = num_outputs
        self.window = window
        self.overlap = overlap
        self.description = dict(description or {})

    @classmethod
    def from_checkpoint(cls, path: str | Path, **settings: Any) -> "Separator":
        """Load a trained separator from a checkpoint or what `mixit export` made of it.

        Args:
            path: of a checkpoint, a `.safetensors` file or a folder with the layout of the Hugging Face Hub, which say
                themselves which network they hold.
            settings: of the class.

        Raises:
            UserError: no such file, a damaged one, one with pickled objects, or one that asks for more than a network.
        """
        trained = load_trained(Path(path))
        network: Any = trained.network()
        return cls(network, network.sample_rate, network.num_outputs, description=trained.description, **settings)

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, revision: str | None = None, token: str | bool | None = None, **settings: Any
    ) -> "Separator":
        """Load from a folder with the layout of the Hugging Face Hub, or from the Hub itself.

        Args:
            name_or_path: the folder, or the name of a repository, such as `user/separator`.
            revision: of the repository; None is the latest.
            token: of the Hub; None is that of `hf auth login`.
            settings: of the class.

        Raises:
            UserError: see `from_checkpoint`; nor is it on the Hub, or `huggingface_hub` is missing.
        """
        if not Path(name_or_path).is_dir():
            from .hub import download

            name_or_path = download(str(name_or_path), revision, token)
        return cls.from_checkpoint(name_or_path, **settings)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder with the layout of the Hugging Face Hub: weights, description and model card.

        Raises:
            UserError: it is there already, or `huggingface_hub` is missing.
        """
        from .hub import save

        save(self.network, self.description, Path(folder))

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Write the same into a repository of the Hub, and return the address of the commit.

        Args:
            repo_id: such as `user/separator`.
            options: of `huggingface_hub.ModelHubMixin.push_to_hub`.

        Raises:
            UserError: `huggingface_hub` is missing.
        """
        from .hub import HubSeparator

        return HubSeparator(self.network, self.description).push_to_hub(repo_id, **options)

    def separate(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Separate a waveform.

        Args:
            waveform: `(time,)` or `(channel, time)`.
            sample_rate: Hz, of the waveform.

        Returns:
            `(output, time)` or `(output, channel, time)`, float32 on the CPU, which add up to the waveform.

        Raises:
            ValueError: another shape, more channels than samples, no samples, or samples that no recording has.
        """
        waveform = torch.as_tensor(waveform, dtype=torch.float32).cpu()
        if waveform.ndim not in (1, 2) or not waveform.numel():
            raise ValueError(f"waveform must be (time,) or (channel, time), but has shape {tuple(waveform.shape)}")
        if waveform.ndim == 2 and waveform.shape[0] > waveform.shape[1]:
            raise ValueError(
                f"waveform has {waveform.shape[0]} channels of {waveform.shape[1]} samples; if it is (time, channel), "
                "as soundfile reads it, give waveform.T"
            )
        if not waveform.isfinite().all():
            raise ValueError("waveform holds samples that are not finite numbers")
        if waveform.abs().max() > HIGHEST:
            raise ValueError(f"waveform holds samples beyond {HIGHEST:g}, full scale being 1; scale it down")
        channels = waveform.reshape(-1, waveform.shape[-1])
        chunks = self.stream(lambda start, stop: channels[:, start:stop], channels.shape[-1], sample_rate)
        outputs = torch.cat(list(chunks), -1).transpose(0, 1)
        return outputs[:, 0] if waveform.ndim == 1 else outputs

    def stream(self, read: Callable[[int, int], Tensor], total: int, sample_rate: int) -> Iterator[Tensor]:
        """Separate a recording chunk by chunk.

        Args:
            read: samples `(channel, time)` from a start to a stop; the starts do not decrease.
            total: its length in samples.
            sample_rate: Hz, of the recording.

        Yields:
            Chunks `(channel, output, time)` that follow each other.
        """
        chunk, overlap = (round(seconds * sample_rate) for seconds in (self.window, self.overlap))
        return separate_chunks(lambda mixture: self.separate_at_once(mixture, sample_rate), read, total, chunk, overlap)

    @torch.inference_mode()
    def separate_at_once(self, mixture: Tensor, sample_rate: int) -> Tensor:
        """Outputs `(channel, output, time)` of a mixture `(channel, time)`.

        Frequencies beyond the network's sample rate are shared among the outputs by their power.
        """
        network_input = resampled(mixture, sample_rate, self.sample_rate)
        found = self.network(network_input.to(self.device)).cpu()
        outputs = resampled(found, self.sample_rate, sample_rate)[..., : mixture.shape[-1]]
        short = mixture.shape[-1] - outputs.shape[-1]
        outputs = torch.nn.functional.pad(outputs, (0, short))
        return mixture_consistency(outputs, mixture, consistency_weights("magsq", outputs)).clone()


def resampled(signals: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Signals `(..., time)` at another rate."""
    return torch.from_numpy(resample(signals.numpy(), from_rate, to_rate))
