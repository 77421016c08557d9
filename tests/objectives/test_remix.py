from pathlib import Path

import numpy as np
import pytest
import torch
from asteroid.losses import MixITLossWrapper, PITLossWrapper, pairwise_neg_snr
from asteroid.losses.sdr import MultiSrcNegSDR
from hypothesis import given, settings
from hypothesis import strategies as st

from mixit_lightning.objectives import mixit, pit

from ..helpers.brute_force import leaky_sources, matrix_of, mixit_brute_force, pit_brute_force

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit.npz"
ENHANCEMENT = torch.tensor([[0, 0, 1], [0, 1, 0]])


@pytest.mark.parametrize("name", ["m4k2", "m8k2", "m6k3", "enhancement_m3k2"])
def test_mixit_equals_the_released_code(name):
    with np.load(GOLDEN) as arrays:
        mixtures, estimates, loss, matrix = (
            torch.from_numpy(arrays[f"{name}_{part}"]) for part in ("reference", "estimate", "loss", "mixing_matrix")
        )
    matched = mixit(estimates, mixtures, admissible=ENHANCEMENT if name.startswith("enhancement") else None)
    constant = (10 * torch.log10(mixtures.square().sum(-1) + 1e-8)).mean(-1)
    assert (matched.loss + constant - loss).abs().max() < 1e-3
    assert torch.equal(matched.mixing_matrix, matrix)


@pytest.mark.parametrize("num_mixtures", [2, 3])
@pytest.mark.parametrize("num_outputs", [1, 2, 3, 4, 5, 6])
def test_mixit_equals_brute_force_in_loss_matrix_and_gradient(num_outputs, num_mixtures):
    torch.manual_seed(num_outputs * 10 + num_mixtures)
    estimates, mixtures = leaky_sources(3, num_outputs, num_mixtures)
    ours, theirs = estimates.clone().requires_grad_(), estimates.clone().requires_grad_()
    matched = mixit(ours, mixtures)
    loss, losses, assignments = mixit_brute_force(theirs, mixtures)
    assert torch.allclose(matched.loss, loss, atol=1e-4)
    for example in range(3):
        best = assignments[losses[example].argmin()]
        assert torch.equal(matched.mixing_matrix[example], matrix_of(best, num_mixtures))
    matched.loss.sum().backward()
    loss.sum().backward()
    assert torch.allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@given(
    seed=st.integers(0, 10**6),
    num_outputs=st.integers(1, 5),
    num_mixtures=st.integers(2, 3),
    odd=st.sampled_from(["", "silent output", "silent mixture", "duplicate outputs", "all silent", "tiny", "huge"]),
)
@settings(max_examples=60, deadline=None)
def test_no_input_makes_the_search_worse_than_brute_force(seed, num_outputs, num_mixtures, odd):
    torch.manual_seed(seed)
    estimates, mixtures = leaky_sources(2, num_outputs, num_mixtures, length=100)
    if odd == "silent output":
        estimates[:, 0] = 0
    elif odd == "silent mixture":
        mixtures[:, -1] = 0
    elif odd == "duplicate outputs":
        estimates[:, -1] = estimates[:, 0]
    elif odd == "all silent":
        estimates, mixtures = torch.zeros_like(estimates), torch.zeros_like(mixtures)
    elif odd in ("tiny", "huge"):
        scale = {"tiny": 1e-4, "huge": 1e4}[odd]
        estimates, mixtures = estimates * scale, mixtures * scale
    estimates.requires_grad_()
    matched = mixit(estimates, mixtures)
    loss, losses, _ = mixit_brute_force(estimates, mixtures)
    assert torch.allclose(matched.loss, loss, atol=2e-3)
    assert torch.equal(matched.mixing_matrix.sum(1), torch.ones(2, num_outputs))  # every output goes to one mixture
    (gradient,) = torch.autograd.grad(matched.loss.sum(), estimates)
    assert gradient.isfinite().all()
    assert losses.shape[1] == num_mixtures**num_outputs


def test_ties_between_silent_or_equal_outputs_go_to_the_first_assignment():
    torch.manual_seed(0)
    source = torch.randn(1, 1, 200)
    silent = mixit(torch.cat([torch.zeros(1, 1, 200), source, -source], 1), torch.cat([source, -source], 1))
    assert silent.mixing_matrix[0, :, 0].tolist() == [1.0, 0.0]
    halves = mixit(torch.cat([source, source], 1) / 2, torch.cat([source / 2, source / 2], 1))
    assert halves.mixing_matrix[0].tolist() == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("snr", [40.0, 60.0, 80.0])
def test_near_perfect_estimates_keep_their_matrix_and_loss(snr):
    torch.manual_seed(1)
    sources = torch.randn(4, 4, 32000)
    assignment = torch.tensor([0, 1, 1, 0])
    matrix = (assignment == torch.arange(2)[:, None]).float()
    noise = 10 ** (-snr / 20) * torch.randn_like(sources)
    mixtures = matrix @ sources
    matched = mixit(sources + noise, mixtures, max_snr=200.0)
    assert torch.equal(matched.mixing_matrix, matrix.expand(4, 2, 4))
    # What the Gram form would lose: the error itself, which only the waveforms give.
    error = (matrix.double() @ noise.double()).square().sum(-1) / mixtures.double().square().sum(-1)
    assert torch.allclose(matched.loss.double(), 10 * error.log10().mean(-1), atol=0.02)


def test_an_output_90_decibels_down_is_not_lost_in_rounding():
    # Single precision keeps seven digits of a Gram matrix: an output of 1e-9 of the energy would go anywhere.
    torch.manual_seed(4)
    sources = torch.randn(16, 4, 32000)
    sources[:, 3] *= 10 ** (-90 / 20)
    matrix = (torch.tensor([0, 1, 0, 1]) == torch.arange(2)[:, None]).float()
    mixtures = (matrix.double() @ sources.double()).float()
    assert torch.equal(mixit(sources, mixtures, max_snr=200.0).mixing_matrix, matrix.expand(16, 2, 4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_choose_the_same_matrix(dtype):
    torch.manual_seed(2)
    estimates, mixtures = leaky_sources(8, 4, 2, length=4000)
    matched = mixit(estimates.to(dtype), mixtures.to(dtype))
    assert torch.equal(matched.mixing_matrix.float(), mixit(estimates, mixtures).mixing_matrix)
    assert matched.loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.allclose(matched.loss.float(), mixit(estimates, mixtures).loss, atol=0.2)


def test_autocast_does_not_reach_the_search():
    torch.manual_seed(3)
    estimates, mixtures = leaky_sources(4, 4, 2)
    with torch.autocast("cpu", torch.bfloat16):
        matched = mixit(estimates, mixtures)
    expected = mixit(estimates, mixtures)
    assert torch.equal(matched.loss, expected.loss)
    assert torch.equal(matched.mixing_matrix, expected.mixing_matrix)


@pytest.mark.parametrize("num_outputs", [2, 3, 4, 6])
def test_mixit_equals_asteroid(num_outputs):
    torch.manual_seed(num_outputs)
    estimates, mixtures = leaky_sources(3, num_outputs, 2, sound_everywhere=True)  # asteroid's SNR knows no silence
    ours, theirs = estimates.clone().requires_grad_(), estimates.clone().requires_grad_()
    wrapper = MixITLossWrapper(MultiSrcNegSDR("snr", zero_mean=False, EPS=1e-12), generalized=True)
    loss, remixes = wrapper(theirs, mixtures, return_est=True)
    matched = mixit(ours, mixtures, max_snr=1e6)  # asteroid has no threshold
    assert matched.loss.mean().item() == pytest.approx(loss.item(), abs=1e-3)
    assert torch.allclose(matched.mixing_matrix @ ours, remixes, atol=1e-5)
    matched.loss.mean().backward()
    loss.backward()
    assert torch.allclose(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("num_sources", [1, 2, 3, 4])
def test_pit_equals_asteroid(num_sources):
    torch.manual_seed(num_sources)
    references = torch.randn(4, num_sources, 300)
    estimates = references[:, torch.randperm(num_sources)] + 0.5 * torch.randn(4, num_sources, 300)
    ours, theirs = estimates.clone().requires_grad_(), estimates.clone().requires_grad_()
    loss, ordered = PITLossWrapper(pairwise_neg_snr)(theirs - theirs.mean(-1, keepdim=True), references, True)
    # asteroid removes means, so both are given signals without.
    centred = references - references.mean(-1, keepdim=True)
    matched = pit(ours - ours.mean(-1, keepdim=True), centred, max_snr=1e6)
    assert matched.loss.mean().item() == pytest.approx(loss.item(), abs=1e-3)
    assert torch.allclose(matched.mixing_matrix @ (ours - ours.mean(-1, keepdim=True)), ordered, atol=1e-6)
    matched.loss.mean().backward()
    loss.backward()
    assert torch.allclose(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("num_references", "num_outputs"), [(1, 1), (1, 3), (2, 3), (2, 4), (3, 4), (4, 4)])
def test_pit_pads_with_silence(num_references, num_outputs):
    torch.manual_seed(num_outputs)
    references = torch.randn(3, num_references, 200)
    estimates = torch.randn(3, num_outputs, 200) * torch.rand(3, num_outputs, 1)
    matched = pit(estimates, references)
    assert matched.mixing_matrix.shape == (3, num_references, num_outputs)
    assert torch.equal(matched.mixing_matrix.sum(-1), torch.ones(3, num_references))
    assert matched.mixing_matrix.sum(1).max() == 1
    assert torch.allclose(matched.loss, pit_brute_force(estimates, references), atol=1e-4)


def test_twelve_outputs_are_given_back_to_their_references():
    torch.manual_seed(6)
    references = torch.randn(2, 12, 300)
    order = torch.randperm(12)
    matched = pit(references[:, order] + 0.3 * torch.randn(2, 12, 300), references)
    assert torch.equal(matched.mixing_matrix, torch.eye(12)[order].T.expand(2, 12, 12))


def test_outputs_that_diverged_have_no_finite_loss_and_do_not_stop_the_search():
    estimates = torch.randn(2, 3, 50)
    estimates[1, 0, 7] = torch.nan
    for matched in (pit(estimates, torch.randn(2, 2, 50)), mixit(estimates, torch.randn(2, 2, 50))):
        assert matched.loss.isfinite().tolist() == [True, False]


@pytest.mark.parametrize("loss", [mixit, pit])
def test_second_derivatives_are_refused(loss):
    weight = torch.randn(3, 2, requires_grad=True)
    total = loss(weight @ torch.randn(1, 2, 50), torch.randn(1, 2, 50)).loss.sum()
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.grad(total, weight, create_graph=True)


@pytest.mark.parametrize("loss", [mixit, pit])
def test_signals_of_two_types_are_compared_in_the_better_one(loss):
    estimates, targets = torch.randn(2, 3, 50), torch.randn(2, 2, 50)
    expected = loss(estimates.double(), targets.double())
    for matched in (loss(estimates.double(), targets), loss(estimates, targets.double())):
        assert matched.loss.dtype == torch.float64
        assert torch.allclose(matched.loss, expected.loss)
        assert torch.equal(matched.mixing_matrix, expected.mixing_matrix)


@pytest.mark.parametrize("loss", [mixit, pit])
def test_no_examples_have_no_losses(loss):
    matched = loss(torch.zeros(0, 3, 50), torch.zeros(0, 2, 50))
    assert matched.loss.shape == (0,)
    assert matched.mixing_matrix.shape == (0, 2, 3)


def test_a_silent_reference_trains_its_output_to_be_silent():
    torch.manual_seed(7)
    references = torch.randn(2, 2, 200)
    references[1, 1] = 0
    estimates = torch.randn(2, 3, 200).requires_grad_()
    matched = pit(estimates, references)
    assert torch.allclose(matched.loss, pit_brute_force(estimates, references), atol=1e-4)
    matched.loss.sum().backward()
    assert estimates.grad.isfinite().all()
    assert (estimates.grad.abs().sum(-1) > 0).all()  # SNR alone leaves outputs of silence without gradient


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_typed_outputs_stay_with_their_mixture(seed):
    torch.manual_seed(seed)
    estimates, mixtures = torch.randn(2, 3, 50), torch.randn(2, 2, 50)
    matched = mixit(estimates, mixtures, admissible=ENHANCEMENT)
    loss, _, _ = mixit_brute_force(estimates, mixtures, assignments=ENHANCEMENT.tolist())
    assert torch.allclose(matched.loss, loss, atol=1e-4)
    assert matched.mixing_matrix[:, 1, 0].max() == 0  # speech never goes to the noise recording


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mixit(torch.zeros(1, 3, 9), torch.zeros(1, 2, 8)), "time"),
        (lambda: mixit(torch.zeros(1, 3, 9), torch.zeros(1, 1, 9)), "at least two"),
        (lambda: mixit(torch.zeros(1, 24, 9), torch.zeros(1, 2, 9)), "16777216"),
        (lambda: mixit(torch.zeros(1, 3, 9), torch.zeros(1, 2, 9), admissible=torch.tensor([[0, 1]])), "2 outputs"),
        (lambda: mixit(torch.zeros(1, 2, 9), torch.zeros(1, 2, 9), admissible=torch.tensor([[0, 2]])), "0 to 1"),
        (lambda: mixit(torch.zeros(1, 2, 9), torch.zeros(1, 2, 9), admissible=torch.zeros(1, 2)), "integer tensor"),
        (lambda: pit(torch.zeros(1, 2, 9), torch.zeros(1, 3, 9)), "3 references"),
        (lambda: mixit(torch.zeros(1, 2, 9), torch.zeros(1, 2, 9, requires_grad=True)), "detach"),
        (lambda: pit(torch.zeros(1, 2, 9), torch.zeros(1, 2, 9, requires_grad=True)), "detach"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
