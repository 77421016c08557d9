"""Outputs of a kind: which may go to which mixture or reference is written down."""

import itertools

import pytest
import torch

from mixit_lightning.objectives import negative_thresholded_snr, pit, silent_reference_loss

TYPED = torch.tensor([[0, 1, 2], [0, 2, 1]])
"""Output 1 is the first reference; one of the others is the second, one is silent."""


def loss_of(assignment, estimates, references, mixture):
    losses = []
    for output, target in enumerate(assignment):
        if target < len(references) and references[target].any():
            losses.append(negative_thresholded_snr(estimates[output], references[target]))
        else:
            losses.append(silent_reference_loss(estimates[output], mixture))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("silent", [False, True])
def test_pit_takes_the_best_of_the_assignments_it_is_given(silent):
    torch.manual_seed(0)
    references = torch.randn(20, 2, 300) * torch.tensor([1.0, 0.0 if silent else 0.5])[:, None]
    estimates = torch.randn(20, 3, 3) @ torch.cat([references, torch.randn(20, 1, 300)], 1)
    mixture = references.sum(1)
    matched = pit(estimates, references, admissible=TYPED)
    for example in range(20):
        signals = estimates[example], references[example], mixture[example]
        losses = [loss_of(assignment, *signals) for assignment in TYPED.tolist()]
        assert matched.loss[example].item() == pytest.approx(min(losses).item(), abs=1e-4)
        best = TYPED[int(torch.stack(losses).argmin())]
        expected = (best == torch.arange(2)[:, None]).float()
        assert torch.equal(matched.mixing_matrix[example], expected)
    free = [
        min(loss_of(p, *signals) for p in itertools.permutations(range(3)))
        for signals in zip(estimates, references, mixture, strict=True)
    ]
    assert (matched.loss > torch.stack(free) + 0.1).any()  # it is a restriction


def test_two_outputs_in_a_fixed_order():
    references = torch.randn(4, 2, 100)
    matched = pit(references.flip(1), references, admissible=torch.tensor([[0, 1]]))
    assert torch.equal(matched.mixing_matrix, torch.eye(2).expand(4, -1, -1))
    assert (matched.loss > 0).all() and (pit(references.flip(1), references).loss < -29).all()
