import pytest
import torch

from mixit_lightning.inference import Separator


@pytest.mark.parametrize(("shape", "rate"), [((24000,), 8000), ((2, 30000), 44100), ((5000,), 6000), ((1,), 8000)])
def test_outputs_have_the_waveforms_rate_and_add_up_to_it(save, shape, rate):
    torch.manual_seed(0)
    waveform = torch.randn(shape)
    outputs = Separator.from_checkpoint(save(), window=1.0, overlap=0.1).separate(waveform, rate)
    assert outputs.shape == (3, *shape)
    assert torch.allclose(outputs.sum(0), waveform, atol=1e-4)


def test_one_window_at_its_rate_is_what_the_network_says(save, network):
    torch.manual_seed(1)
    waveform = torch.randn(8000)
    with torch.no_grad():
        expected = network.eval()(waveform[None])[0]
    assert torch.allclose(Separator.from_checkpoint(save()).separate(waveform, 8000), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (torch.zeros(1, 1, 8), "has shape"),
        (torch.zeros(0), "has shape"),
        (torch.tensor([0.0, torch.nan]), "finite"),
        (torch.zeros(8000, 2), r"waveform\.T"),
        (torch.full((80,), 1e25), "beyond"),
    ],
)
def test_what_is_no_waveform_is_refused(save, waveform, message):
    with pytest.raises(ValueError, match=message):
        Separator.from_checkpoint(save()).separate(waveform, 8000)
