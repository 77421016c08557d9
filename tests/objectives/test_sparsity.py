import pytest
import torch

from mixit_lightning.objectives import Objective, mixit
from mixit_lightning.objectives.sparsity import output_sparsity


def test_one_loud_output_costs_least_and_equal_ones_most():
    signal = torch.randn(2000)
    one = torch.stack([signal, *[torch.zeros(2000)] * 3])
    equal = signal.expand(4, -1)
    assert output_sparsity(torch.stack([one, equal])).tolist() == pytest.approx([1 / 4, 1 / 2], abs=1e-3)


def test_levels_of_known_sounds():
    time = torch.arange(8000) / 8000
    tones = torch.stack([3.0 * torch.sin(2 * torch.pi * 100 * time), 4.0 * torch.sin(2 * torch.pi * 200 * time)])
    assert output_sparsity(tones[None]).item() == pytest.approx((3 + 4) / (5 * 2), abs=1e-4)


def test_silence_has_a_finite_gradient():
    estimates = torch.zeros(1, 4, 100, requires_grad=True)
    output_sparsity(estimates).sum().backward()
    assert estimates.grad.isfinite().all()


def test_it_is_added_to_mixit_alone_with_its_weight():
    torch.manual_seed(0)
    references = torch.randn(1, 2, 300)
    objective, plain = Objective(0.5, sparsity=7.0), Objective(0.5)
    examples = objective.examples(torch.cat([references.sum(1), torch.randn(2, 300)]), references)
    estimates = torch.randn(2, 4, 300)
    labelled, unlabelled = objective(estimates, examples)
    assert labelled == plain(estimates, examples)[0]
    expected = mixit(estimates[1:], examples.mixtures).loss + 7.0 * output_sparsity(estimates[1:])
    assert unlabelled.item() == pytest.approx(expected.item(), abs=1e-5)


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match=r"objective\.sparsity"):
        Objective(0.0, sparsity=-1.0)
