"""Coordinates keep what metrics depend on, to more digits than single precision has."""

import numpy as np
import pytest
import torch

from mixit_lightning.metrics import separation_scores, si_snr
from mixit_lightning.metrics.coordinates import EXAMPLES, coordinates


def signals(*counts, batch=2 * EXAMPLES + 3, length=701):
    torch.manual_seed(0)
    return [torch.randn(batch, count, length) + 0.1 for count in counts]


def decibels(estimate, reference):
    """SI-SNR in long double precision."""
    estimate, reference = (signal.numpy().astype(np.longdouble) for signal in (estimate, reference))
    target = (estimate @ reference) / (reference @ reference) * reference
    noise = estimate - target
    return float(10 * np.log10((target @ target) / (noise @ noise)))


def test_inner_products_are_kept_whatever_the_batch():
    groups = signals(4, 2, 1)
    found = torch.cat(coordinates(*groups), 1)
    together = torch.cat(groups, 1).double()
    assert found.shape == (2 * EXAMPLES + 3, 7, 7) and found.dtype == torch.float64
    torch.testing.assert_close(found @ found.mT, together @ together.mT, rtol=1e-12, atol=1e-10)
    alone = torch.cat(coordinates(*(group[-1:] for group in groups)), 1)
    torch.testing.assert_close(alone @ alone.mT, (found @ found.mT)[-1:], rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize(("snr", "tolerance"), [(0, 1e-9), (30, 1e-9), (60, 1e-6), (100, 1e-3)])
@pytest.mark.parametrize("level", [1.0, 1e-6])
def test_si_snr_keeps_its_digits_for_good_estimates_and_for_faint_ones(snr, tolerance, level):
    (references,) = signals(2)
    references = references.double()
    estimates = level * (references + 10 ** (-snr / 20) * torch.randn_like(references))
    found = si_snr(*coordinates(estimates, references))
    for example in range(3):
        for place in range(2):
            expected = decibels(estimates[example, place], references[example, place])
            assert found[example, place].item() == pytest.approx(expected, abs=tolerance)


def test_silence_at_the_end_changes_nothing():
    groups = signals(4, 2)
    padded = [torch.nn.functional.pad(group, (0, 999)) for group in groups]
    for one, other in zip(coordinates(*groups), coordinates(*padded), strict=True):
        torch.testing.assert_close(one @ one.mT, other @ other.mT, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_output_that_diverged_scores_as_silence_and_spoils_no_other(value):
    estimates, references = signals(4, 2)
    estimates[:, :2] = references + 0.1 * estimates[:, :2]
    silent = estimates.clone()
    silent[:, 0] = 0
    estimates[:, 0, 5] = value
    found, expected = (separation_scores(outputs, references, references.sum(1)) for outputs in (estimates, silent))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, equal_nan=True, rtol=1e-9, atol=1e-9)
    assert (found.si_snr < 0).all()


def test_no_signals_of_a_kind():
    estimates, references, mixtures = signals(3, 0, 1)
    scores = separation_scores(estimates, references, mixtures[:, 0])
    assert scores.num_references.tolist() == [0] * len(estimates) and scores.si_snr.isnan().all()
