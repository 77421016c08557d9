import itertools

import pytest
import torch

from mixit_lightning.inference.chunks import chunk_starts, order_by, separate_chunks, spectra_of


@pytest.mark.parametrize("total", [1, 99, 100, 101, 190, 191, 1000, 12345])
def test_chunks_of_one_length_cover_everything_and_share_enough(total):
    *starts, length = chunk_starts(total, 100, 10)
    assert starts[0] == 0
    assert starts[-1] + length == total
    assert length <= 100
    assert all(10 <= one + length - other < 100 for one, other in itertools.pairwise(starts))


def test_an_overlap_as_long_as_the_chunk_is_refused():
    with pytest.raises(ValueError, match="overlap of 100"):
        chunk_starts(1000, 100, 100)


def bands(mixture):
    """A separator that is perfect for sounds in the lower, the middle and the upper third of the spectrum."""
    spectrum = torch.fft.rfft(mixture)
    edges = [0, spectrum.shape[-1] // 3, 2 * spectrum.shape[-1] // 3, spectrum.shape[-1]]
    parts = [torch.zeros_like(spectrum) for _ in range(3)]
    for part, low, high in zip(parts, edges, edges[1:], strict=False):
        part[..., low:high] = spectrum[..., low:high]
    return torch.stack([torch.fft.irfft(part, mixture.shape[-1]) for part in parts], 1)


class Shuffled:
    """The same, with its outputs in another order in every chunk and channel."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(3)

    def __call__(self, mixture):
        orders = [torch.randperm(3, generator=self.generator) for _ in mixture]
        return torch.stack([outputs[order] for outputs, order in zip(bands(mixture), orders, strict=True)])


def separated(separate, waveform, chunk=2000, overlap=200):
    chunks = separate_chunks(separate, lambda start, stop: waveform[:, start:stop], waveform.shape[-1], chunk, overlap)
    return torch.cat(list(chunks), -1)


@pytest.mark.parametrize("channels", [1, 2])
def test_outputs_keep_their_order_in_all_chunks_and_channels(channels):
    torch.manual_seed(0)
    waveform = torch.randn(1, 20000) * torch.linspace(1, 0.5, channels)[:, None]
    found = separated(Shuffled(), waveform)
    assert found.shape == (channels, 3, 20000)
    whole = bands(waveform)
    # One order, whichever the first chunk had, for all channels and the whole length.
    order = torch.cdist(whole[0], found[0]).argmin(1)
    assert sorted(order.tolist()) == [0, 1, 2]
    error = (found[:, order] - whole).square().sum((0, 2)) / whole.square().sum((0, 2))
    assert error.max() < 0.02  # the filters' ends


def test_outputs_add_up_to_the_recording_across_chunks():
    torch.manual_seed(1)
    waveform = torch.randn(2, 7777)
    assert torch.allclose(separated(Shuffled(), waveform).sum(1), waveform, atol=1e-5)


def test_a_silent_overlap_is_bridged_by_the_spectrum():
    torch.manual_seed(2)
    low, _, high = bands(torch.randn(1, 4000))[0]
    tail = head = torch.zeros(1, 2, 200)
    tracks, outputs = spectra_of(torch.stack([low, high])[None]), spectra_of(torch.stack([high, low])[None])
    assert order_by(tail, head, tracks, outputs).tolist() == [1, 0]
    assert order_by(tail, head, tracks, tracks).tolist() == [0, 1]


def test_no_more_than_a_chunk_is_read_at_once():
    asked = []

    def read(start, stop):
        asked.append((start, stop))
        return torch.zeros(1, stop - start)

    list(separate_chunks(bands, read, 100_000, 2000, 200))
    assert max(stop - start for start, stop in asked) <= 2000
    assert asked == sorted(asked)


def test_one_chunk_fades_into_the_next():
    levels = iter([1.0, 3.0, 2.0])

    def separate(mixture):
        level = next(levels) * torch.ones_like(mixture)
        return torch.stack([level, mixture - level], 1)

    found = separated(separate, torch.zeros(1, 2 * 900 + 200), chunk=800, overlap=200)[0, 0]
    steps = found.diff()
    assert steps.abs().max() < 2.1 / 200  # no jump anywhere
    assert {round(value, 3) for value in found.tolist()} >= {1.0, 3.0, 2.0}


def test_spectra_of_all_chunks_so_far_tell_the_tracks():
    torch.manual_seed(4)
    low, _, high = bands(torch.randn(1, 3000))[0]
    silence = torch.zeros(1000)
    # Both are active in the first chunk, only one in the second, and the other alone in the third.
    parts = iter([(low[:1000], high[:1000]), (low[1000:2000], silence), (high[1000:2000], silence)])

    def separate(mixture):
        outputs = torch.stack(next(parts))[None].clone()
        outputs[..., :100] = outputs[..., -100:] = 0  # silent overlaps
        return outputs

    found = separated(separate, torch.zeros(1, 3 * 900 + 100), chunk=1000, overlap=100)[0]
    third = found[:, 1900:].square().sum(-1)
    assert third[1] > 100 * third[0]
