"""The search at the sizes that loops over waveforms cannot reach, and what it may cost there."""

import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mixit_lightning.objectives import mixit, pit
from mixit_lightning.objectives.admissible import UNDIVIDED, as_admissible_set, mixit_set
from mixit_lightning.objectives.search import best_permutation

from ..helpers.brute_force import matrix_of, mixit_brute_force

CPU = torch.device("cpu")


class Watch(TorchDispatchMode):
    """Every operation below autograd: how many, and the largest tensor that one of them made."""

    def __init__(self):
        super().__init__()
        self.count, self.largest = 0, 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        made = function(*arguments, **(options or {}))
        self.count += 1
        known = {t.untyped_storage().data_ptr() for t in arguments if isinstance(t, torch.Tensor)}
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in known:
                self.largest = max(self.largest, tensor.untyped_storage().nbytes() // tensor.element_size())
        return made


def watch(loss, outputs, targets, time, batch=2):
    """Watch forward and backward of a loss."""
    torch.manual_seed(0)
    estimates = torch.randn(batch, outputs, time).requires_grad_()
    signals = torch.randn(batch, targets, time)
    with Watch() as seen:
        loss(estimates, signals).loss.sum().backward()
    return seen


@pytest.mark.parametrize("num_mixtures", [2, 3])
def test_operations_do_not_grow_with_the_assignments(num_mixtures):
    sizes = (2, 5, UNDIVIDED), (UNDIVIDED + 1, 12, 15 if num_mixtures == 2 else 11)
    for number_of_outputs in sizes:  # halves cost a few operations more, whatever their size
        for outputs in number_of_outputs:
            mixit_set(outputs, num_mixtures, CPU)  # which is made once, with an operation or so for each output
        counts = {outputs: watch(mixit, outputs, num_mixtures, 50).count for outputs in number_of_outputs}
        assert len(set(counts.values())) == 1, counts


def test_operations_of_pit_do_not_grow_with_the_permutations():
    assert watch(pit, 4, 4, 50).count == watch(pit, 7, 7, 50).count


@pytest.mark.parametrize(("outputs", "num_mixtures"), [(8, 2), (12, 2), (9, 3)])
def test_nothing_as_long_as_assignments_times_time_is_allocated(outputs, num_mixtures):
    batch, time, assignments = 2, 3000, num_mixtures**outputs
    mixit_set.cache_clear()  # so that the set, too, is made under the eyes of the test
    largest = watch(mixit, outputs, num_mixtures, time, batch).largest
    assert largest <= max(batch * outputs * time, batch * num_mixtures * assignments)
    assert largest < assignments * time / 10


@pytest.mark.parametrize(("num_outputs", "num_mixtures"), [(9, 2), (11, 2), (9, 3)])
def test_halves_equal_brute_force(num_outputs, num_mixtures):
    torch.manual_seed(num_outputs)
    sources = torch.randn(2, num_outputs, 60)
    goes_to = torch.randint(num_mixtures, (2, num_outputs))
    matrix = (goes_to[:, None] == torch.arange(num_mixtures)[:, None]).float()
    estimates = sources + 0.5 * torch.randn(2, num_outputs, 60)
    estimates[:, 3] *= 0.01
    mixtures = matrix @ sources
    matched = mixit(estimates, mixtures)
    loss, losses, assignments = mixit_brute_force(estimates, mixtures)
    assert torch.allclose(matched.loss, loss, atol=1e-4)
    for example in range(2):
        best = assignments[losses[example].argmin()]
        assert torch.equal(matched.mixing_matrix[example], matrix_of(best, num_mixtures))


def test_sixteen_outputs_are_put_back_where_they_came_from():
    torch.manual_seed(1)
    sources = torch.randn(3, 16, 2000) * torch.logspace(0, -3, 16)[:, None]  # down to -60 dB
    matrix = (torch.randint(2, (3, 1, 16)) == torch.arange(2)[:, None]).float()
    assert torch.equal(mixit(sources, matrix @ sources, max_snr=200.0).mixing_matrix, matrix)


@pytest.mark.parametrize(("num_outputs", "num_mixtures"), [(1, 2), (4, 2), (6, 3), (9, 2), (2, 5)])
def test_the_mixit_set_is_all_matrices_in_the_order_of_their_digits(num_outputs, num_mixtures):
    allowed = mixit_set(num_outputs, num_mixtures, CPU)
    expected = [
        matrix_of(digits, num_mixtures) for digits in itertools.product(range(num_mixtures), repeat=num_outputs)
    ]
    assert torch.equal(allowed.mixing_matrices(torch.arange(len(expected))).float(), torch.stack(expected))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_best_permutation_is_that_of_a_loop_over_all(size):
    torch.manual_seed(size)
    costs = torch.randn(4, size, size).double()
    permutations = list(itertools.permutations(range(size)))
    totals = torch.stack([costs[:, range(size), order].sum(-1) for order in permutations], -1)
    expected = torch.stack([torch.eye(size)[list(permutations[n])] for n in totals.argmin(-1)])
    assert torch.equal(best_permutation(costs).float(), expected)


def test_a_written_set_keeps_its_order():
    assignments = torch.tensor([[0, 1, 1], [0, 0, 1], [1, 0, 1]])
    matrices = as_admissible_set(assignments, 3, 2).mixing_matrices(torch.arange(3))
    assert torch.equal(matrices.float(), torch.stack([matrix_of(row, 2) for row in assignments.tolist()]))
