"""How tasks are scored, against cases computed by hand."""

import math

import numpy as np
import pesq
import pystoi
import pytest
import torch

from mixit_lightning.errors import UserError
from mixit_lightning.metrics import FussScoring, SeparationScoring, SpeechScoring, momi, separation_scores

BLOCK = 100


def block(place, amplitude=1.0):
    """A constant in one of five segments: signals in different segments are orthogonal."""
    signal = torch.zeros(5 * BLOCK)
    signal[place * BLOCK : (place + 1) * BLOCK] = amplitude
    return signal


def example(amplitudes, outputs):
    """References with these amplitudes, padded to four, and eight outputs, most of them silent."""
    references = torch.zeros(4, 5 * BLOCK)
    for place, amplitude in enumerate(amplitudes):
        references[place] = block(place, amplitude)
    estimates = torch.zeros(8, 5 * BLOCK)
    for place, output in outputs.items():
        estimates[place] = output
    return estimates, references


CASES = [
    # One source, 20 dB, and nothing else.
    example([1.0], {3: block(0) + block(4, 0.1)}),
    # Two sources, 20 dB each, and a third output at -18.4 dB of the quieter one: over-separation.
    example(
        [1.0, 0.5],
        {6: block(0) + block(4, 0.1), 1: block(1, 0.5) + block(4, 0.05), 2: block(4, 0.06)},
    ),
    # Three sources, of which the quietest was not found: under-separation.
    example([1.0, 1.0, 0.2], {0: block(1) + block(4, 0.1), 7: 3 * block(0) + 3 * block(4, 0.1)}),
    # Four sources, 20 dB each.
    example([1.0] * 4, {5 - place: block(place) + block(4, 0.1) for place in range(4)}),
]


def decibels(ratio):
    return 10 * math.log10(ratio)


def scored(scoring, cases):
    """Metrics over single examples and over a batch of all, which must agree."""
    alone, together = scoring.metrics(), scoring.metrics()
    for estimates, references in cases:
        for metric in alone.values():
            metric.update(scoring.scores(estimates[None], references[None], references.sum(0)[None], final=True))
    estimates, references = (torch.stack(parts) for parts in zip(*cases, strict=True))
    for name, metric in together.items():
        metric.update(scoring.scores(estimates, references, references.sum(1), final=True))
        torch.testing.assert_close(metric.compute(), alone[name].compute(), equal_nan=True)
    return {name: metric.compute().item() for name, metric in together.items()}


def test_fuss_evaluation_of_a_case_computed_by_hand():
    two = [20 - decibels(4), 20 + decibels(4)]
    three = [20 + decibels(1.04)] * 2  # the one that was not found does not count
    four = [20 + decibels(3)] * 4
    values = scored(FussScoring(), CASES)
    expected = {
        "one_source": 20,
        "msi_2": sum(two) / 2,
        "msi_3": three[0],
        "msi_4": four[0],
        "msi": sum([*two, *three, *four]) / 8,
        "under_separation": 1 / 4,
        "equal_separation": 2 / 4,
        "over_separation": 1 / 4,
    }
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=1e-3)
    # Without the rule of the released evaluation, silence in the place of a source is a very bad estimate.
    assert values["si_snri"] < values["msi"] - 10


def test_counts_and_shares_of_the_same_case():
    estimates, references = (torch.stack(parts) for parts in zip(*CASES, strict=True))
    scores = separation_scores(estimates, references, references.sum(1))
    assert scores.num_references.tolist() == [1, 2, 3, 4]
    assert scores.num_active_outputs.tolist() == [1, 3, 2, 4]
    assert scores.num_found.tolist() == [1, 2, 2, 4]
    total = 1.01 + 0.2525 + 0.0036
    assert scores.energy_shares[1].tolist() == pytest.approx(
        [0, 0.2525 / total, 0.0036 / total, 0, 0, 0, 1.01 / total, 0], abs=1e-6
    )


@pytest.mark.parametrize(("amplitude", "active"), [(0.051, 3), (0.049, 2)])
def test_an_output_is_active_above_20_db_below_the_quietest_reference(amplitude, active):
    estimates, references = example([1.0, 0.5], {0: block(0), 1: block(1, 0.5), 2: block(4, amplitude)})
    scores = separation_scores(estimates[None], references[None], references.sum(0)[None])
    assert scores.num_active_outputs.item() == active
    values = scored(SeparationScoring(), [(estimates, references)])
    assert values["over_separation"] == float(active == 3)


def test_silence_finds_nothing_and_says_nothing():
    estimates, references = example([1.0, 1.0], {})
    values = scored(FussScoring(), [(estimates, references)])
    assert values["under_separation"] == 1 and math.isnan(values["msi"]) and math.isnan(values["msi_2"])


def test_a_mixture_that_gets_no_output_counts_as_not_improved():
    mixtures = torch.stack([block(0), block(1, 0.001)])[None]
    estimates = torch.stack([mixtures[0].sum(0), torch.zeros(5 * BLOCK)])[None]
    assert momi(estimates, mixtures).item() == pytest.approx(0, abs=1e-6)


@pytest.fixture
def speech():
    """Three noisy mixtures of something like speech, three outputs of which the second is the best."""
    rng = np.random.default_rng(0)
    time = np.arange(2 * 16000) / 16000
    voice = np.stack(
        [
            sum(np.sin(2 * np.pi * k * f0 * time + k) / k for k in range(1, 20)) * (np.sin(2 * np.pi * 3 * time) > -0.3)
            for f0 in (110, 150, 200)
        ]
    )
    noise = rng.standard_normal(voice.shape)
    references = torch.from_numpy(np.stack([voice, noise], 1)).float()
    outputs = [references[:, 0] + level * references[:, 1] for level in (0.5, 0.01, 2.0)]
    return torch.stack(outputs, 1), references, references.sum(1)


def test_the_speech_is_the_first_output_even_where_another_is_better(speech):
    scores = SpeechScoring(16000).scores(*speech, final=False)
    assert scores.si_snri.tolist() == pytest.approx([decibels(4)] * 3, abs=0.2)
    assert scores.mixing_matrix[:, :, 0].tolist() == [[1, 0]] * 3 and scores.mixing_matrix.sum() == 3
    assert scores.estoi.isnan().all() and scores.pesq.isnan().all()


@pytest.mark.parametrize(("sample_rate", "mode"), [(16000, "wb"), (8000, "nb")])
def test_perceptual_scores_are_those_of_the_packages(speech, sample_rate, mode):
    scores = SpeechScoring(sample_rate).scores(*speech, final=True)
    for number, (outputs, references, mixture) in enumerate(zip(*speech, strict=True)):
        for prefix, signal in (("input_", mixture), ("", outputs[0])):
            pair = references[0].numpy(), signal.numpy()
            estoi = getattr(scores, f"{prefix}estoi")[number].item()
            assert estoi == pytest.approx(pystoi.stoi(*pair, sample_rate, extended=True), abs=1e-6)
            quality = getattr(scores, f"{prefix}pesq")[number].item()
            assert quality == pytest.approx(pesq.pesq(sample_rate, *pair, mode), abs=1e-6)
    assert (scores.estoi > scores.input_estoi).all()


def test_speech_that_is_perfect_silent_short_or_unknown(speech):
    _, references, mixtures = speech
    perfect = SpeechScoring(16000).scores(references, references, mixtures, final=True)
    assert (perfect.estoi > 0.999).all() and (perfect.pesq > 4.6).all() and (perfect.si_snr > 100).all()
    silent = SpeechScoring(16000).scores(torch.zeros_like(references), references, mixtures, final=True)
    assert (silent.pesq == 1).all() and (silent.si_snr < -100).all()
    short = SpeechScoring(16000).scores(*(part[..., :2000] for part in speech), final=True)
    assert short.estoi.isnan().all() and short.pesq.isnan().all() and short.input_pesq.isnan().all()
    assert short.si_snri.isfinite().all()
    alone = references * torch.tensor([1.0, 0.0])[:, None]
    assert SpeechScoring(16000).scores(alone, alone, alone.sum(1), final=False).si_snri.isnan().all()
    unknown = SpeechScoring(16000).scores(references, references[:, :0], mixtures, final=True)
    assert unknown.num_references.tolist() == [0] * 3 and unknown.si_snri.isnan().all() and unknown.pesq.isnan().all()


def test_a_rate_that_pesq_does_not_know_is_refused():
    with pytest.raises(UserError, match="sample_rate=44100"):
        SpeechScoring(44100)
