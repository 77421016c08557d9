"""Recordings of any length in bounded memory: overlapping chunks, whose outputs keep their order throughout.

In the overlap one chunk fades into the next. As the outputs of either add up to the input there, so does what they
fade into.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..objectives.search import RowEnergies, best_permutation

BANDS = 32
"""Bands of the spectra that tracks are recognised by."""

FRAME = 512
"""Samples of the frames of these spectra."""

SPECTRUM = 0.05
"""Weight of the difference of spectra against that of samples in the overlap: it decides where these are silent."""


def chunk_starts(total: int, chunk: int, overlap: int) -> list[int]:
    """First samples of chunks of one length, `chunk` at most, that cover `total` samples; and that length, last.

    Raises:
        ValueError: the overlap is not positive, or not shorter than the chunk.
    """
    if not 0 < overlap < chunk:
        raise ValueError(f"the overlap of {overlap} samples must be positive and less than the chunk's {chunk}")
    if total <= chunk:
        return [0, total]
    count = -(-(total - overlap) // (chunk - overlap))
    length = -(-(total - overlap) // count) + overlap
    return [*(number * (total - length) // (count - 1) for number in range(count)), length]


def separate_chunks(
    separate: Callable[[Tensor], Tensor], read: Callable[[int, int], Tensor], total: int, chunk: int, overlap: int
) -> Iterator[Tensor]:
    """Separate a recording chunk by chunk.

    Args:
        separate: `(channel, time)` to `(channel, output, time)`, which add up to it.
        read: samples `(channel, time)` from a start to a stop; the starts do not decrease.
        total: length of the recording.
        chunk: samples that are separated at once, at most.
        overlap: samples that neighbouring chunks share, at least.

    Yields:
        Chunks `(channel, output, time)` that follow each other.
    """
    *starts, length = chunk_starts(total, chunk, overlap)
    tail = spectra = torch.zeros(0)
    for number, start in enumerate(starts):
        outputs = align_channels(separate(read(start, start + length)))
        own = spectra_of(outputs)
        if number:
            shared = tail.shape[-1]
            order = order_by(tail, outputs[..., :shared], spectra, own)
            outputs, own = outputs[:, order], own[order]
            fade = torch.linspace(0, 1, shared + 2, dtype=outputs.dtype)[1:-1]
            outputs[..., :shared] = (1 - fade) * tail + fade * outputs[..., :shared]
        spectra = spectra + own if number else own
        end = starts[number + 1] - start if number + 1 < len(starts) else length
        tail = outputs[..., end:].clone()
        yield outputs[..., :end]


def align_channels(outputs: Tensor) -> Tensor:
    """Bring the outputs `(channel, output, time)` of all channels into the order of the first channel's."""
    first = outputs[:1].expand_as(outputs)
    matrices = best_permutation(RowEnergies.of_outputs(outputs, first).error)
    orders = matrices.argmax(-1)
    return outputs.gather(1, orders[:, :, None].expand_as(outputs)) if len(outputs) > 1 else outputs


def order_by(tail: Tensor, head: Tensor, spectra: Tensor, own: Tensor) -> Tensor:
    """Index of the output that continues each track: it differs least in the overlap, and in spectrum from before.

    Args:
        tail: `(channel, output, time)`, of the tracks.
        head: the same of the outputs of the next chunk.
        spectra: `(output, band)`, of the tracks so far.
        own: the same of the outputs.
    """
    errors = RowEnergies.of_outputs(head.transpose(0, 1).flatten(1)[None], tail.transpose(0, 1).flatten(1)[None]).error
    energy = tail.square().sum() + head.square().sum()
    spectra, own = (part / part.norm().clamp_min(1e-12) for part in (spectra, own))
    costs = errors[0] / energy.clamp_min(1e-12) + SPECTRUM * torch.cdist(spectra, own).square()
    return best_permutation(costs[None])[0].argmax(-1)


def spectra_of(outputs: Tensor) -> Tensor:
    """Amplitudes `(output, band)` of outputs `(channel, output, time)`."""
    short = FRAME - outputs.shape[-1]
    if short > 0:
        outputs = torch.nn.functional.pad(outputs, (0, short))
    frames = outputs.unfold(-1, FRAME, FRAME) * torch.hann_window(FRAME)
    power = torch.fft.rfft(frames).abs().square().sum((0, 2))[:, 1:]
    return power.view(len(power), BANDS, -1).sum(-1).double().sqrt()
