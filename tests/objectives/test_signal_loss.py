from pathlib import Path

import numpy as np
import pytest
import torch

from mixit_lightning.objectives import negative_thresholded_snr, silent_reference_loss

GOLDEN = Path(__file__).parents[1] / "golden" / "signal_loss.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def released_constant(references):
    """What the released code leaves out of the loss."""
    return 10 * torch.log10(references.square().sum(-1) + 1e-8)


@pytest.mark.parametrize("max_snr", [10.0, 30.0, 1e6])
def test_negative_thresholded_snr_equals_the_released_code(golden, max_snr):
    loss = negative_thresholded_snr(golden["estimate"], golden["reference"], max_snr)
    expected = golden[f"log_mse_max_snr_{max_snr:g}"] - released_constant(golden["reference"])
    assert (loss - expected).abs().max() < 1e-3


def test_silent_reference_loss_equals_the_released_code(golden):
    # Where the reference is silent, the released loss with a threshold on the mixture is the loss for silence.
    loss = silent_reference_loss(golden["estimate"], golden["mixture"], max_snr=20.0)[1, 2]
    expected = golden["log_mse_max_snr_20_bias_mixture"][1, 2] - released_constant(golden["mixture"])[1, 2]
    assert golden["reference"][1, 2].abs().max() == 0
    assert (loss - expected).abs() < 1e-3


@pytest.mark.parametrize("snr", [-5.0, 0.0, 17.0])
def test_it_is_the_snr_in_decibels_far_from_the_threshold(snr):
    torch.manual_seed(0)
    reference = torch.randn(8000)
    noise = torch.randn(8000)
    noise *= reference.norm() / noise.norm() * 10 ** (-snr / 20)
    assert negative_thresholded_snr(reference + noise, reference, max_snr=100.0).item() == pytest.approx(-snr, abs=1e-3)


def test_a_perfect_estimate_reaches_the_threshold_and_has_no_gradient():
    reference = torch.randn(3, 800)
    estimate = reference.clone().requires_grad_()
    loss = negative_thresholded_snr(estimate, reference, max_snr=30.0)
    loss.sum().backward()
    assert torch.allclose(loss, torch.tensor(-30.0), atol=1e-4)
    assert estimate.grad.abs().max() == 0


def test_silence_has_a_gradient_towards_silence():
    mixture = torch.randn(800)
    estimate = (0.5 * mixture).requires_grad_()
    silent_reference_loss(estimate, mixture).backward()
    assert torch.dot(estimate.grad, estimate.detach()) > 0
    assert silent_reference_loss(torch.zeros(800), mixture, 20.0).item() == pytest.approx(-20.0, abs=1e-4)


def test_half_precision_is_computed_in_float32():
    reference, estimate = 200 * torch.randn(2, 8000), 200 * torch.randn(2, 8000)
    half = negative_thresholded_snr(estimate.half(), reference.half())
    assert half.dtype == torch.float32
    assert torch.allclose(half, negative_thresholded_snr(estimate, reference), atol=1e-2)


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match="same shape"):
        negative_thresholded_snr(torch.zeros(2, 1, 8), torch.zeros(2, 3, 8))
