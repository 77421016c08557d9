"""Reverberant mixtures: each source is convolved, on the fly, with a room impulse response (RIR)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..errors import UserError
from ..rooms import RoomBank
from ..rooms.acoustics import LEAD
from .mixture import Margin, Mixture, Sources, generator


class DryMixture(NamedTuple):
    """Dry sources and the room impulse responses that they are still to be convolved with."""

    name: str
    sources: Tensor
    """`(source, before + time + LEAD)`, with what comes before and after in the recordings."""
    responses: Tensor
    """`(source, tap)`, the direct sound at tap `LEAD`."""
    target_responses: Tensor | None
    """Responses that the references are convolved with; None where these are `responses` themselves."""
    length: int
    """Samples of the mixture."""
    labelled: bool
    """Whether references are asked for."""

    def render(self) -> Mixture:
        """Convolve. The direct sound stays at the very sample of the dry source, and images add up to the mixture."""
        # A circular convolution of this length wraps around into the margin only.
        size = next_fast_len(self.sources.shape[-1], real=True)
        spectra = torch.fft.rfft(self.sources, size)
        images = spectra * torch.fft.rfft(self.responses, size)
        if not self.labelled:
            mixture = self.trim(images.sum(0), size)
            return Mixture(self.name, mixture, mixture.new_zeros(0, self.length))
        reverberant = references = self.trim(images, size)
        if self.target_responses is not None:
            references = self.trim(spectra * torch.fft.rfft(self.target_responses, size), size)
        return Mixture(self.name, reverberant.sum(0), references)

    def trim(self, spectra: Tensor, size: int) -> Tensor:
        """Back to waveforms `(..., time)` without the margin."""
        end = self.sources.shape[-1]
        return torch.fft.irfft(spectra, size)[..., end - self.length : end].contiguous()


class Rooms:
    """The rooms of one split of a bank.

    Responses have unit energy here: sources keep the levels that a recipe mixes them at, whatever their distance.

    Args:
        bank: of all splits.
        split: `train`, `valid` or `test`.
        early: ms after the direct sound that still belong to the targets; None is all of the reverberation.
        source: of the bank, for messages.

    Raises:
        UserError: no rooms in this split, or `early` is negative.
    """

    def __init__(self, bank: RoomBank, split: str, early: float | None = None, source: Path | str = "bank") -> None:
        self.source = source
        self.rooms = bank.rooms(split)
        if not self.rooms:
            raise UserError(f"{source}: holds no rooms for {split}; make it again with counts.{split} above 0")
        if early is not None and early < 0:
            raise UserError(f"early={early} must not be negative; early=null keeps all of the reverberation")
        self.responses = {}
        for number in np.concatenate(self.rooms):
            response = bank.responses[number][bank.table["direct"][number] - LEAD :]
            energy = np.linalg.norm(response)
            if not energy:
                raise UserError(f"{source}: response {number} is silent; make the bank again with `mixit rooms`")
            self.responses[number] = torch.from_numpy(response / energy)
        # Taps of the direct sound's whole filter and of the reflections that are kept after it.
        self.early = None if early is None else 2 * LEAD + 1 + round(early / 1000 * bank.sample_rate)
        self.margin = Margin(max(map(len, self.responses.values())) - 1 - LEAD, LEAD)

    @classmethod
    def load(cls, path: str, splits: tuple[str, ...], sample_rate: int, early: float | None) -> dict[str, Self]:
        """The rooms of some splits of a file, by split.

        Raises:
            UserError: no bank, one of another sample rate (Hz), or a split without rooms.
        """
        bank = RoomBank.load(Path(str(path)).expanduser())
        if bank.sample_rate != sample_rate:
            raise UserError(
                f"{path}: rooms at {bank.sample_rate} Hz where sample_rate={sample_rate}; "
                f"make them again with sample_rate={sample_rate}"
            )
        return {split: cls(bank, split, early, path) for split in splits}

    def draw(self, rng: np.random.Generator, num_sources: int) -> tuple[Tensor, Tensor | None]:
        """Responses at different source positions of a random room, `(source, tap)`, and those of the references."""
        room = self.rooms[rng.integers(len(self.rooms))]
        positions = rng.choice(room, num_sources, replace=False)
        responses = pad_sequence([self.responses[position] for position in positions], batch_first=True)
        return responses, None if self.early is None else responses[:, : self.early]


@dataclass
class ReverberantMixtures:
    """Mixtures convolved with rooms: endless ones for training, or a fixed list.

    Args:
        mixtures: dry, with `max_sources`; for training with `draw_sources`, as a list with `sources`.
        rooms: of the same split.
        seed: of the choice of rooms and source positions.

    Raises:
        UserError: a mixture may have more sources than a room has source positions.
    """

    mixtures: Any
    rooms: Rooms
    seed: int

    def __post_init__(self) -> None:
        if (most := self.mixtures.max_sources) > (positions := min(map(len, self.rooms.rooms))):
            raise UserError(
                f"{self.rooms.source}: {positions} source positions per room, but a mixture may have {most} sources; "
                f"make it again with num_sources={most}"
            )

    def draw(self, number: int, *, labelled: bool) -> DryMixture:
        """Mixture of that number, still dry: the caller decides where to convolve."""
        sources = self.mixtures.draw_sources(number, labelled=labelled, margin=self.rooms.margin)
        return self.in_room(sources, generator(self.seed, 4, number, labelled), labelled)

    def __len__(self) -> int:
        return len(self.mixtures)

    def __getitem__(self, number: int) -> Mixture:
        sources = self.mixtures.sources(number, self.rooms.margin)
        return self.in_room(sources, generator(self.seed, number, 1), True).render()

    def in_room(self, sources: Sources, rng: np.random.Generator, labelled: bool) -> DryMixture:
        """Sources with their margins, and the responses of a random room."""
        responses = self.rooms.draw(rng, len(sources.signals))
        return DryMixture(*sources, *responses, sources.signals.shape[-1] - sum(self.rooms.margin), labelled)
