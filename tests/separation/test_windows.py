import itertools

import pytest
import torch

from mixit_lightning.separation.windows import order_by, separate_windows, spectra_of, window_starts


@pytest.mark.parametrize("total", [1, 99, 100, 101, 190, 191, 1000, 12345])
def test_windows_of_one_length_cover_everything_and_share_enough(total):
    *starts, length = window_starts(total, 100, 10)
    assert starts[0] == 0
    assert starts[-1] + length == total
    assert length <= 100
    assert all(10 <= one + length - other < 100 for one, other in itertools.pairwise(starts))


def test_an_overlap_as_long_as_the_window_is_refused():
    with pytest.raises(ValueError, match="overlap of 100"):
        window_starts(1000, 100, 100)


def bands(mixture):
    """A separator that is perfect for sounds in the lower, the middle and the upper third of the spectrum."""
    spectrum = torch.fft.rfft(mixture)
    edges = [0, spectrum.shape[-1] // 3, 2 * spectrum.shape[-1] // 3, spectrum.shape[-1]]
    parts = [torch.zeros_like(spectrum) for _ in range(3)]
    for part, low, high in zip(parts, edges, edges[1:], strict=False):
        part[..., low:high] = spectrum[..., low:high]
    return torch.stack([torch.fft.irfft(part, mixture.shape[-1]) for part in parts], 1)


class Shuffled:
    """The same, with its outputs in another order in every window and channel."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(3)

    def __call__(self, mixture):
        orders = [torch.randperm(3, generator=self.generator) for _ in mixture]
        return torch.stack([outputs[order] for outputs, order in zip(bands(mixture), orders, strict=True)])


def separated(separate, waveform, window=2000, overlap=200):
    pieces = separate_windows(
        separate, lambda start, stop: waveform[:, start:stop], waveform.shape[-1], window, overlap
    )
    return torch.cat(list(pieces), -1)


@pytest.mark.parametrize("channels", [1, 2])
def test_outputs_keep_their_order_in_all_windows_and_channels(channels):
    torch.manual_seed(0)
    waveform = torch.randn(1, 20000) * torch.linspace(1, 0.5, channels)[:, None]
    found = separated(Shuffled(), waveform)
    assert found.shape == (channels, 3, 20000)
    whole = bands(waveform)
    # One order, whichever the first window had, for all channels and the whole length.
    order = torch.cdist(whole[0], found[0]).argmin(1)
    assert sorted(order.tolist()) == [0, 1, 2]
    error = (found[:, order] - whole).square().sum((0, 2)) / whole.square().sum((0, 2))
    assert error.max() < 0.02  # the filters' ends


def test_outputs_add_up_to_the_recording_across_windows():
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


def test_no_more_than_a_window_is_read_at_once():
    asked = []

    def read(start, stop):
        asked.append((start, stop))
        return torch.zeros(1, stop - start)

    list(separate_windows(bands, read, 100_000, 2000, 200))
    assert max(stop - start for start, stop in asked) <= 2000
    assert asked == sorted(asked)
