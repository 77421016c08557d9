"""Plain loops over assignments on waveforms, which the search must equal, and signals to try it on."""

import itertools
import math

import torch

from mixit_lightning.objectives import negative_thresholded_snr, silent_reference_loss


def mixit_brute_force(estimates, mixtures, max_snr=30.0, assignments=None):
    """Loss `(batch,)` with gradient, all losses `(batch, assignment)`, all assignments."""
    num_outputs, num_mixtures = estimates.shape[1], mixtures.shape[1]
    if assignments is None:
        assignments = list(itertools.product(range(num_mixtures), repeat=num_outputs))
    losses = []
    for assignment in assignments:
        rows = []
        for mixture in range(num_mixtures):
            chosen = [estimates[:, output] for output in range(num_outputs) if assignment[output] == mixture]
            remix = sum(chosen) if chosen else torch.zeros_like(mixtures[:, mixture])
            rows.append(negative_thresholded_snr(remix, mixtures[:, mixture], max_snr))
        losses.append(torch.stack(rows).mean(0))
    losses = torch.stack(losses, dim=1)
    return losses.min(1).values, losses, assignments


def pit_brute_force(estimates, references, max_snr=30.0, silent_max_snr=20.0):
    """Loss `(batch,)`, with references padded with silence to the number of outputs; one example at a time."""
    num_outputs = estimates.shape[1]
    mixture = references.sum(1)
    best = []
    for example in range(len(estimates)):
        least = math.inf
        for permutation in itertools.permutations(range(num_outputs)):
            total = 0.0
            for place, output in enumerate(permutation):
                estimate = estimates[example, output]
                if place < references.shape[1] and references[example, place].abs().max() > 0:
                    total += negative_thresholded_snr(estimate, references[example, place], max_snr)
                else:
                    total += silent_reference_loss(estimate, mixture[example], silent_max_snr)
            least = min(least, total / num_outputs)
        best.append(least)
    return torch.stack(best)


def matrix_of(assignment, num_targets):
    """Mixing matrix `(target, output)` of an assignment."""
    return torch.tensor([[float(target == place) for target in assignment] for place in range(num_targets)])


def leaky_sources(batch, num_outputs, num_mixtures, length=400, leak=0.3, sound_everywhere=False):
    """Estimates that are sources with cross-leakage, and the mixtures of a random assignment of them."""
    sources = torch.randn(batch, num_outputs, length) * torch.rand(batch, num_outputs, 1)
    assignment = torch.randint(num_mixtures, (batch, num_outputs))
    if sound_everywhere:
        assignment[:, :num_mixtures] = torch.arange(num_mixtures)
    matrix = (assignment[:, None] == torch.arange(num_mixtures)[:, None]).float()
    leakage = torch.eye(num_outputs) + leak * torch.randn(batch, num_outputs, num_outputs)
    return leakage @ sources, matrix @ sources
