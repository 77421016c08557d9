import itertools

import pytest
import torch
from torchmetrics.functional import scale_invariant_signal_distortion_ratio

from mixit_lightning.metrics import MoMi, ScoreMean, SeparationScoring, momi, separation_scores, si_snr


def test_si_snr_equals_torchmetrics():
    torch.manual_seed(0)
    estimates, references = torch.randn(4, 3, 900) + 0.2, torch.randn(4, 3, 900) - 0.1
    expected = scale_invariant_signal_distortion_ratio(estimates, references, zero_mean=False)
    assert torch.allclose(si_snr(estimates, references).float(), expected, atol=1e-3)


@pytest.mark.parametrize("snr", [-10.0, 0.0, 25.0])
def test_si_snr_of_a_known_mixture(snr):
    time = torch.arange(8000) / 8000
    reference, noise = torch.sin(2 * torch.pi * 100 * time), torch.sin(2 * torch.pi * 250 * time)  # orthogonal
    assert si_snr(0.3 * (reference + 10 ** (-snr / 20) * noise), reference).item() == pytest.approx(snr, abs=1e-3)


def noisy_outputs(num_outputs=4, num_references=2, batch=5, length=500):
    torch.manual_seed(num_outputs)
    references = torch.randn(batch, num_references, length)
    leak = torch.rand(batch, num_outputs, num_references)
    return leak @ references + 0.3 * torch.randn(batch, num_outputs, length), references, references.sum(1)


@pytest.mark.parametrize(("num_outputs", "num_references"), [(2, 2), (4, 2), (4, 3)])
def test_scores_equal_a_loop_over_choices(num_outputs, num_references):
    estimates, references, mixtures = noisy_outputs(num_outputs, num_references)
    scores = separation_scores(estimates, references, mixtures)
    for example in range(len(estimates)):
        before = si_snr(mixtures[example], references[example]).mean()
        choices = list(itertools.permutations(range(num_outputs), num_references))
        values = [si_snr(estimates[example, list(choice)], references[example]).mean() for choice in choices]
        best = max(range(len(choices)), key=lambda number: values[number])
        assert scores.si_snr[example].item() == pytest.approx(values[best].item(), abs=1e-6)
        assert scores.si_snri[example].item() == pytest.approx((values[best] - before).item(), abs=1e-6)
        assert scores.mixing_matrix[example].argmax(-1).tolist() == list(choices[best])
        remixes = []
        for assignment in itertools.product(range(num_references), repeat=num_outputs):
            rows = [
                estimates[example, [output for output in range(num_outputs) if assignment[output] == place]].sum(0)
                for place in range(num_references)
            ]
            remixes.append(si_snr(torch.stack(rows), references[example]).mean())
        oracle = scores.si_snri_oracle_remix[example].item()
        assert oracle == pytest.approx((max(remixes) - before).item(), abs=1e-6)


def test_one_source_and_silent_references_are_scored_apart():
    estimates, references, mixtures = noisy_outputs()
    references[0, 0] = 0
    references[3] = 0
    mixtures = references.sum(1)
    scores = separation_scores(estimates, references, mixtures)
    assert scores.num_references.tolist() == [1, 2, 2, 0, 2]
    assert scores.si_snri.isnan().tolist() == [True, False, False, True, False]
    assert scores.one_source.isnan().tolist() == [False, True, True, True, True]
    best = max(si_snr(estimates[0, output], references[0, 1]).item() for output in range(4))
    assert scores.one_source[0].item() == pytest.approx(best)
    assert scores.mixing_matrix[0, 0].abs().sum() == 0
    assert scores.mixing_matrix[0, 1].sum() == 1


def test_perfect_and_silent_estimates_stay_finite():
    _, references, mixtures = noisy_outputs()
    perfect = separation_scores(references, references, mixtures)
    assert (perfect.si_snr > 100).all()
    silent = separation_scores(torch.zeros(5, 4, 500), references, mixtures)
    assert silent.si_snr.isfinite().all()
    assert (silent.si_snr < -100).all()


def test_momi_of_known_estimates():
    torch.manual_seed(1)
    sources = torch.randn(3, 4, 800)
    mixtures = torch.stack([sources[:, 0] + sources[:, 2], sources[:, 1] + sources[:, 3]], 1)
    noise = 0.1 * torch.randn_like(sources)
    rebuilt = torch.stack([(sources + noise)[:, [0, 2]].sum(1), (sources + noise)[:, [1, 3]].sum(1)], 1)
    expected = (si_snr(rebuilt, mixtures) - si_snr(mixtures.sum(1, keepdim=True), mixtures)).mean(-1)
    assert torch.allclose(momi(sources + noise, mixtures), expected)
    assert (expected > 10).all()


def test_torchmetrics_are_means_of_the_functions_whatever_the_batches():
    estimates, references, mixtures = noisy_outputs(batch=7)
    references[2, 1] = 0
    mixtures = references.sum(1)
    scores = separation_scores(estimates, references, mixtures)
    for column in ("si_snri", "one_source", "si_snri_oracle_remix"):
        metric = ScoreMean(column, "")
        for part in (slice(0, 3), slice(3, 4), slice(4, 7)):
            metric.update(separation_scores(estimates[part], references[part], mixtures[part]))
        assert metric.compute().item() == pytest.approx(getattr(scores, column).nanmean().item())
    mom = MoMi()
    mom.update(estimates[:2], references[:2])
    mom.update(estimates[3:], references[3:])
    both = torch.cat([momi(estimates[:2], references[:2]), momi(estimates[3:], references[3:])])
    assert mom.compute().item() == pytest.approx(both.mean().item())


def test_msi_weighs_references_and_si_snri_weighs_inputs():
    torch.manual_seed(3)
    three = torch.randn(1, 3, 500)
    two = torch.cat([torch.randn(1, 2, 500), torch.zeros(1, 1, 500)], 1)
    references = torch.cat([three, two])
    estimates = torch.cat([references + 0.1 * torch.randn(2, 3, 500), torch.zeros(2, 1, 500)], 1)
    scores = separation_scores(estimates, references, references.sum(1))
    metrics = SeparationScoring().metrics()
    by_input, by_reference = metrics["si_snri"], metrics["msi"]
    for metric in (by_input, by_reference):
        metric.update(scores)
    first, second = scores.si_snri.tolist()
    assert by_input.compute().item() == pytest.approx((first + second) / 2)
    assert by_reference.compute().item() == pytest.approx((3 * first + 2 * second) / 5)


def test_nothing_seen_is_not_a_number():
    assert MoMi().compute().isnan()


def test_forty_outputs_are_matched_with_four_references():
    torch.manual_seed(8)
    references = torch.randn(2, 4, 400)
    estimates = 0.1 * torch.randn(2, 40, 400)
    places = torch.tensor([31, 2, 17, 8])
    estimates[:, places] += references
    scores = separation_scores(estimates, references, references.sum(1))
    assert torch.equal(scores.mixing_matrix, torch.eye(40)[places].expand(2, 4, 40))
    assert torch.allclose(scores.si_snr, si_snr(estimates[:, places], references).mean(-1))
    assert scores.si_snri_oracle_remix.isnan().all()  # 4 ** 40 ways


def test_more_references_than_outputs_are_refused():
    with pytest.raises(ValueError, match=r"3 references .* 2 outputs"):
        separation_scores(torch.randn(1, 2, 50), torch.randn(1, 3, 50), torch.randn(1, 50))
