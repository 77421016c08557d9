import pytest
import torch

from mixit_lightning.objectives import Objective, mixit
from mixit_lightning.objectives.least_squares import least_squares_mixing_matrix
from mixit_lightning.objectives.search import Products

from ..helpers.brute_force import leaky_sources


def by_lapack(estimates, mixtures):
    """The definition, on waveforms: solve, then the largest weight of every output; one example at a time."""
    matrices = []
    for signals, targets in zip(estimates.double(), mixtures.double(), strict=True):
        weights = torch.linalg.lstsq(signals.T, targets.T).solution  # (output, mixture)
        matrices.append(torch.nn.functional.one_hot(weights.argmax(1), targets.shape[0]).T)
    return torch.stack(matrices).float()


@pytest.mark.parametrize("num_mixtures", [2, 3])
@pytest.mark.parametrize("num_outputs", [3, 4, 8, 20])
@pytest.mark.parametrize("leak", [0.1, 1.0])
def test_it_equals_the_solution_on_waveforms(num_outputs, num_mixtures, leak):
    torch.manual_seed(num_outputs)
    estimates, mixtures = leaky_sources(6, num_outputs, num_mixtures, leak=leak, sound_everywhere=True)
    assert torch.equal(
        least_squares_mixing_matrix(Products.of(estimates, mixtures)).float(), by_lapack(estimates, mixtures)
    )


def test_it_does_miss_the_best_matrix_where_outputs_leak():
    torch.manual_seed(0)
    estimates, mixtures = leaky_sources(200, 4, 2, leak=1.0)
    exact, approximate = (mixit(estimates, mixtures, search=search) for search in ("exact", "least_squares"))
    differ = (exact.mixing_matrix != approximate.mixing_matrix).flatten(1).any(1)
    assert 0.2 < differ.float().mean() < 1
    assert (approximate.loss - exact.loss)[differ].mean() > 0.1
    assert torch.equal(exact.loss[~differ], approximate.loss[~differ])


def every_output_goes_to_one_mixture(matrix):
    return torch.equal(matrix.sum(1), torch.ones_like(matrix[:, 0])) and set(matrix.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("num_silent", [1, 3, 4])
def test_a_silent_output_goes_to_one_mixture_only(num_silent):
    torch.manual_seed(0)
    estimates, mixtures = leaky_sources(5, 4, 2, sound_everywhere=True)
    estimates[:, 4 - num_silent :] = 0
    matrix = least_squares_mixing_matrix(Products.of(estimates, mixtures)).float()
    assert every_output_goes_to_one_mixture(matrix)
    kept = 4 - num_silent
    if kept:
        assert torch.equal(
            matrix[:, :, :kept], least_squares_mixing_matrix(Products.of(estimates[:, :kept], mixtures)).float()
        )


@pytest.mark.parametrize("case", ["duplicates", "sum of others", "more outputs than samples", "all silent"])
def test_outputs_that_depend_on_each_other_have_a_solution(case):
    torch.manual_seed(0)
    estimates, mixtures = leaky_sources(5, 6, 2, leak=0.0, length=4 if case == "more outputs than samples" else 400)
    if case == "duplicates":
        estimates[:, 1] = estimates[:, 0]
    elif case == "sum of others":
        estimates[:, 5] = estimates[:, :5].sum(1)
    elif case == "all silent":
        estimates[:] = 0
    matched = mixit(estimates.requires_grad_(), mixtures, search="least_squares")
    assert every_output_goes_to_one_mixture(matched.mixing_matrix)
    matched.loss.sum().backward()
    assert matched.loss.isfinite().all() and estimates.grad.isfinite().all()
    if case == "duplicates":
        assert torch.equal(matched.mixing_matrix[:, :, 0], matched.mixing_matrix[:, :, 1])


def test_a_faint_output_is_not_a_silent_one():
    torch.manual_seed(0)
    sources = torch.randn(8, 4, 400).double() * torch.tensor([1.0, 1.0, 1e-9, 1e-9])[:, None]
    mixtures = torch.stack([sources[:, 0] + sources[:, 3], sources[:, 1] + sources[:, 2]], 1)
    expected = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 0]]).double().expand(8, -1, -1)
    assert torch.equal(least_squares_mixing_matrix(Products.of(sources, mixtures)).float(), expected)


def test_a_mixture_left_silent_gets_no_output():
    torch.manual_seed(0)
    estimates, mixtures = leaky_sources(50, 6, 2, leak=1.0, sound_everywhere=True)
    mixtures[:25, 0], mixtures[25:, 1] = 0, 0
    matrix = least_squares_mixing_matrix(Products.of(estimates, mixtures)).float()
    assert (matrix[:25, 0] == 0).all() and (matrix[25:, 1] == 0).all() and every_output_goes_to_one_mixture(matrix)


def test_outputs_that_are_no_numbers_show_in_the_loss():
    estimates, mixtures = leaky_sources(2, 4, 2)
    estimates[0, 1] = torch.nan
    loss = mixit(estimates, mixtures, search="least_squares").loss
    assert loss[0].isnan() and loss[1].isfinite()


def test_forty_outputs_are_not_too_many():
    estimates, mixtures = leaky_sources(2, 40, 2)
    assert mixit(estimates, mixtures, search="least_squares").loss.shape == (2,)
    with pytest.raises(ValueError, match="1048576"):
        mixit(estimates, mixtures)
    Objective(0.0, search="least_squares").check_outputs(40)
    with pytest.raises(ValueError, match=r"objective\.search=least_squares"):
        Objective(0.0).check_outputs(40)


def test_an_objective_takes_it_by_name():
    torch.manual_seed(0)
    estimates, mixtures = leaky_sources(30, 4, 2, leak=1.0)
    losses = {
        search: Objective(0.0, search=search).unsupervised(estimates, mixtures) for search in ("exact", "least_squares")
    }
    assert torch.equal(losses["least_squares"], mixit(estimates, mixtures, search="least_squares").loss)
    assert not torch.equal(losses["least_squares"], losses["exact"])


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match=r"objective\.search=best.*exact, least_squares"):
        Objective(0.0, search="best")
    with pytest.raises(ValueError, match="assignments"):
        Objective(0.0, admissible=[[0, 1]], search="least_squares")
