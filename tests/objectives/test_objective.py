import pytest
import torch

from mixit_lightning.objectives import Objective, mixit, pit


def batch(labelled, unlabelled, num_mixtures=2, length=300):
    torch.manual_seed(labelled * 10 + unlabelled)
    references = torch.randn(labelled, 2, length)
    return torch.cat([references.sum(1), torch.randn(unlabelled * num_mixtures, length)]), references


@pytest.mark.parametrize(("labelled", "unlabelled"), [(0, 4), (4, 0), (1, 3), (2, 2)])
@pytest.mark.parametrize("num_mixtures", [2, 3])
def test_a_batch_costs_what_its_parts_cost_apart(labelled, unlabelled, num_mixtures):
    mixtures, references = batch(labelled, unlabelled, num_mixtures)
    objective = Objective(labelled_share=labelled / (labelled + unlabelled), num_mixtures=num_mixtures)
    examples = objective.examples(mixtures, references)
    assert examples.inputs.shape == (labelled + unlabelled, 300)
    estimates = torch.randn(labelled + unlabelled, 4, 300, requires_grad=True)
    losses = objective(estimates, examples)
    expected = []
    for number in range(labelled):
        expected.append(pit(estimates[number][None], references[number][None]).loss)
    for number in range(unlabelled):
        first = labelled + number * num_mixtures
        group = mixtures[first : first + num_mixtures]
        assert torch.allclose(examples.inputs[labelled + number], group.sum(0), atol=1e-6)
        expected.append(mixit(estimates[labelled + number][None], group[None]).loss)
    expected = torch.cat(expected)
    assert torch.allclose(losses, expected, atol=1e-5)
    ours = torch.autograd.grad(losses.mean(), estimates, retain_graph=True)[0]
    theirs = torch.autograd.grad(expected.mean(), estimates)[0]
    assert torch.allclose(ours, theirs, atol=1e-8)


def test_noise_in_a_labelled_mixture_is_part_of_the_input():
    mixtures, references = batch(2, 0)
    noisy = mixtures + 0.1
    examples = Objective(labelled_share=1.0).examples(noisy, references)
    assert torch.equal(examples.inputs, noisy)


def test_unlabelled_mixtures_that_make_no_whole_example_are_refused():
    mixtures, references = batch(1, 2)
    with pytest.raises(ValueError, match="3"):
        Objective(labelled_share=0.3).examples(mixtures[:-1], references)


def test_typed_outputs_reach_mixit():
    objective = Objective(labelled_share=0.0, admissible=[[0, 0, 1], [0, 1, 0]])
    mixtures, references = batch(0, 3)
    examples = objective.examples(mixtures, references)
    estimates = torch.randn(3, 3, 300)
    expected = mixit(estimates, examples.mixtures, admissible=torch.tensor([[0, 0, 1], [0, 1, 0]])).loss
    assert torch.equal(objective(estimates, examples), expected)
    assert not torch.equal(expected, mixit(estimates, examples.mixtures).loss)


@pytest.mark.parametrize("settings", [{"labelled_share": 1.5}, {"labelled_share": 0.0, "num_mixtures": 1}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match="objective\\."):
        Objective(**settings)
