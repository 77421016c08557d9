import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mixit_lightning.separators import TDCNpp
from mixit_lightning.separators.basis import STFTBasis, _overlap_add
from mixit_lightning.separators.reference_parameters import load_reference_parameters, reference_parameters

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = ["separator_learned_8k_m4", "separator_learned_16k_m8_skip", "separator_stft_16k_m4_skip"]
TINY = {"bottleneck": 4, "conv_channels": 6, "dilations_per_repeat": 2, "repeats": 2}
LEARNED = {**TINY, "num_coeffs": 5}
STFT = {**TINY, "basis": "stft", "window_seconds": 0.004, "hop_seconds": 0.001, "num_coeffs": None}
STFT_SKIP = {**STFT, "skip_residual": True, "mixture_consistency": "magsq"}


def golden_network(name: str) -> tuple[TDCNpp, dict, dict[str, np.ndarray]]:
    config = json.loads((GOLDEN / f"{name}.json").read_text())
    about = {key: config.pop(key) for key in ("parameters", "initial")}
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return TDCNpp(**config), about, dict(arrays)


def variables(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key.removeprefix("param/"): array for key, array in arrays.items() if key.startswith("param/")}


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_the_released_code(name):
    network, _, arrays = golden_network(name)
    load_reference_parameters(network, variables(arrays))
    mixture = torch.from_numpy(arrays["mixture"])
    with torch.no_grad():
        masks, estimates = network.masks(mixture).mT.unsqueeze(2), network(mixture)
    for ours, theirs in ((masks, arrays["mask"]), (estimates, arrays["estimate"])):
        torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=0, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("name", NAMES)
def test_starts_as_the_released_code_does(name):
    torch.manual_seed(0)
    network, about, _ = golden_network(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == about["parameters"]
    ours = reference_parameters(network)
    assert ours.keys() == about["initial"].keys()
    for key, (mean, std, shape) in about["initial"].items():
        assert list(ours[key].shape) == shape, key
        # Both sides are samples: five standard errors of a difference of means, and of uniform standard deviations.
        error = 5 * std * math.sqrt(2 / ours[key].numel())
        assert ours[key].mean().item() == pytest.approx(mean, abs=error + 1e-6), key
        assert ours[key].std(correction=0).item() == pytest.approx(std, abs=0.45 * error + 1e-6), key


def test_defaults_are_the_released_network():
    network = TDCNpp()
    assert sum(parameter.numel() for parameter in network.parameters()) == 8_793_601
    assert (network.sample_rate, network.num_outputs) == (8000, 4)


@pytest.mark.parametrize("config", [LEARNED, STFT, STFT_SKIP], ids=["learned", "stft", "stft_skip"])
@pytest.mark.parametrize("time", [1, 7, 8, 33, 250])
def test_outputs_of_any_length_add_up_to_the_mixture(config, time):
    torch.manual_seed(0)
    mixture = torch.randn(1, time)
    estimates = TDCNpp(**config, num_outputs=3)(mixture)
    assert estimates.shape == (1, 3, time)
    torch.testing.assert_close(estimates.sum(1), mixture, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", [LEARNED, STFT, STFT_SKIP], ids=["learned", "stft", "stft_skip"])
def test_examples_of_a_batch_do_not_touch_each_other(config):
    torch.manual_seed(0)
    network, mixture = TDCNpp(**config), torch.randn(3, 300)
    alone = torch.cat([network(example[None]) for example in mixture])
    torch.testing.assert_close(network(mixture), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [LEARNED, STFT, STFT_SKIP], ids=["learned", "stft", "stft_skip"])
def test_silence_gives_finite_estimates_and_gradients(config):
    network = TDCNpp(**config)
    mixture = torch.zeros(2, 200, requires_grad=True)
    estimates = network(mixture)
    (estimates - 1).square().sum().backward()
    assert estimates.isfinite().all() and mixture.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("config", [LEARNED, STFT_SKIP], ids=["learned", "stft_skip"])
def test_gradients(config):
    torch.manual_seed(0)
    network = TDCNpp(**config, num_outputs=2).double()
    parameters = dict(network.named_parameters())
    mixture = torch.randn(1, 40, dtype=torch.float64, requires_grad=True)

    def separate(mixture, *values):
        return torch.func.functional_call(network, dict(zip(parameters, values, strict=True)), (mixture,))

    assert torch.autograd.gradcheck(separate, (mixture, *parameters.values()), fast_mode=True)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_stays_close_and_adds_up(name):
    network, _, arrays = golden_network(name)
    load_reference_parameters(network, variables(arrays))
    mixture = torch.from_numpy(arrays["mixture"])
    exact = network(mixture)
    with torch.autocast("cpu", torch.bfloat16):
        estimates = network(mixture)
    estimates.square().sum().backward()
    assert estimates.dtype == torch.float32
    assert (estimates - exact).abs().max() < 0.03 * exact.abs().max()
    torch.testing.assert_close(estimates.sum(1), mixture, rtol=0, atol=1e-5)
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_same_input_same_bits():
    torch.manual_seed(0)
    network, mixture = TDCNpp(**LEARNED), torch.randn(2, 500)
    results = []
    for _ in range(2):
        network.zero_grad()
        estimates = network(mixture)
        estimates.square().sum().backward()
        results.append([estimates, *(parameter.grad for parameter in network.parameters())])
    assert all(torch.equal(first, second) for first, second in zip(*results, strict=True))


def test_parameters_may_be_named_with_their_output_number():
    network, _, arrays = golden_network(NAMES[0])
    given = variables(arrays)
    load_reference_parameters(network, {f"{name}:0": array for name, array in given.items()})
    for name, view in reference_parameters(network).items():
        np.testing.assert_array_equal(view.numpy(), given[name])


@pytest.mark.parametrize("fault", ["missing", "unknown", "misshapen"])
def test_parameters_that_do_not_fit_are_refused_altogether(fault):
    network, _, arrays = golden_network(NAMES[1])
    given = variables(arrays)
    name = "improved_tdcn/res_dense_0_to_3/dense/kernel" if fault != "unknown" else "global_step"
    if fault == "missing":
        del given[name]
    else:
        given[name] = np.zeros((3, 2))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=f"{fault}: {name}"):
        load_reference_parameters(network, given)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sample_rate": 0}, "sample_rate must be a positive integer, but is 0"),
        ({"sample_rate": 8000.0}, "sample_rate must be a positive integer"),
        ({"num_outputs": -1}, "num_outputs must be a positive integer"),
        ({"num_outputs": True}, "num_outputs must be a positive integer"),
        ({"bottleneck": 0}, "bottleneck must be a positive integer"),
        ({"conv_channels": 1.5}, "conv_channels must be a positive integer"),
        ({"dilations_per_repeat": 0}, "dilations_per_repeat must be a positive integer"),
        ({"repeats": 0}, "repeats must be a positive integer"),
        ({"basis": "wavelet"}, "basis must be 'learned' or 'stft', but is 'wavelet'"),
        ({"window_seconds": 0.001}, "window_seconds must not be shorter than hop_seconds"),
        ({"hop_seconds": 0.00001}, "hop_seconds must be at least one sample"),
        ({"num_coeffs": None}, "basis 'learned' needs num_coeffs"),
        ({"num_coeffs": 0}, "num_coeffs must be a positive integer"),
        ({"basis": "stft"}, "basis 'stft' takes num_coeffs from its window"),
        ({"mixture_consistency": "none"}, "mixture_consistency must be one of"),
    ],
)
def test_refuses_what_makes_no_sense(change, reason):
    with pytest.raises(ValueError, match=reason):
        TDCNpp(**{**LEARNED, **change})


def test_refuses_an_stft_without_overlap():
    with pytest.raises(ValueError, match="window must be longer than its hop"):
        TDCNpp(**{**STFT, "hop_seconds": 0.004})


@pytest.mark.parametrize("shape", [(8,), (1, 1, 8), (2, 0)])
def test_refuses_mixtures_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"mixture must be \(batch, time\)"):
        TDCNpp(**LEARNED)(torch.zeros(shape))


@pytest.mark.parametrize(("window", "hop"), [(8, 2), (8, 4), (8, 3), (7, 1)])
def test_stft_there_and_back(window, hop):
    torch.manual_seed(0)
    basis, mixture = STFTBasis(window, hop).double(), torch.randn(2, 50, dtype=torch.float64)
    back = basis.decode(basis.encode(mixture)[:, None], 50)[:, 0]
    # The windows are kept in float32; samples with fewer frames at the beginning and the end come back faded.
    inner = slice(window, 50 - window)
    torch.testing.assert_close(back[:, inner], mixture[:, inner], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("window", "hop"), [(8, 2), (8, 3), (5, 5)])
def test_overlap_add_is_a_sum_of_shifted_frames(window, hop):
    frames = torch.randn(2, window, 6)
    expected = torch.zeros(2, 5 * hop + window)
    for i in range(6):
        expected[:, i * hop : i * hop + window] += frames[..., i]
    torch.testing.assert_close(_overlap_add(frames, hop, 12), expected[:, :12])
