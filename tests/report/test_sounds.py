"""Examples to listen to: their levels, their matches, and which of several runs are the same."""

import base64
import io
import json

import numpy as np
import pytest
import soundfile
from PIL import Image

from mixit_lightning.errors import UserError
from mixit_lightning.report.page import write_report
from mixit_lightning.report.sounds import fit, read_card, read_entries

from ..helpers.runs import HOSTILE, LABELS, SAMPLE_RATE, Page, make_page, make_runs, write_json


def rewrite(path, change):
    """Change a sound file."""
    samples, _ = soundfile.read(path)
    soundfile.write(path, change(samples), SAMPLE_RATE)


def listing(run):
    return json.loads((run / "examples" / "examples.json").read_text())


def played(page):
    """Samples of every player, by its name."""
    return {
        attributes["aria-label"]: soundfile.read(io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2])))[0]
        for attributes in page.all("audio")
    }


@pytest.fixture
def runs(tmp_path):
    """Runs without curves, for drawing is what takes time."""
    runs = make_runs(tmp_path)
    for run in runs:
        (run / "metrics.csv").unlink()
    return runs


def test_sounds_keep_their_level_unless_they_would_clip(runs):
    loud, _ = soundfile.read(runs[0] / "examples" / "one" / "mixture.wav")
    for name, gain in {"mixture": 1.0, "reference_1": 8.0 / np.abs(loud).max()}.items():
        path = runs[0] / "examples" / "two" / f"{name}.wav"
        soundfile.write(path, loud * gain, SAMPLE_RATE, subtype="FLOAT")
    page = Page(write_report(runs[0]))
    sounds, gain = played(page), 0.999 / 8.0
    np.testing.assert_allclose(sounds[f"Mixture of {HOSTILE}"], loud * gain, atol=1e-4)  # turned down with the others
    assert np.abs(sounds[f"Reference 1 of {HOSTILE}"]).max() == pytest.approx(0.999, abs=1e-3)
    np.testing.assert_allclose(sounds["Mixture of b"], loud, atol=1e-4)  # as written
    assert "played at 0.12 of their level" in page.text


def test_samples_that_are_not_numbers_are_named(runs):
    path = runs[0] / "examples" / "one" / "output_1.wav"
    soundfile.write(path, np.full(4000, np.nan), SAMPLE_RATE, subtype="FLOAT")
    assert Page(write_report(runs[0])).text.count("samples that are not numbers") == 1


def test_a_run_may_keep_two_examples_of_one_name(runs):
    entries = [entry | {"name": "same"} for entry in listing(runs[0])]
    write_json(runs[0] / "examples" / "examples.json", entries)
    assert len(Page(write_report(runs[0])).all("audio")) == (1 + 2 + 4) + (1 + 1 + 2)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "0.folder"),
        ({"folder": "../..", "name": "a"}, "outside"),
        ({"folder": "none", "name": "a"}, r"mixture\.wav is missing"),
        ({"folder": "one", "name": "a", "matched": {"1": 9}}, "an output of its own"),
        ({"folder": "two", "name": "a", "matched": {"1": 1, "2": 1}}, "an output of its own"),
        ({"folder": "one", "name": "a", "matched": {"x": "y"}}, "0.matched.x"),
        ({"folder": "one", "name": "a", "matched": [1]}, "0.matched"),
    ],
)
def test_an_example_that_does_not_fit_its_files_is_refused(runs, entry, message):
    write_json(runs[0] / "examples" / "examples.json", [entry])
    with pytest.raises(UserError, match=message):
        write_report(runs[0])


def test_outputs_of_a_run_are_its_own(runs):
    rewrite(runs[1] / "examples" / "two" / "output_3.wav", lambda samples: samples[::-1])
    samples, _ = soundfile.read(runs[0] / "examples" / "two" / "output_3.wav")
    sounds = played(make_page(runs))
    np.testing.assert_allclose(sounds[f"Output 3 of first, {HOSTILE}"], samples, atol=1e-4)
    np.testing.assert_allclose(sounds[f"Output 3 of {LABELS[1]}, {HOSTILE}"], samples[::-1], atol=1e-4)


def test_outputs_are_matched_by_their_own_run(runs):
    entries = listing(runs[1])
    entries[0]["matched"] = {"2": 4}
    write_json(runs[1] / "examples" / "examples.json", entries)
    page = make_page(runs)
    assert f"{LABELS[1]}: no output matched to reference 1." in page.text
    beside = [attributes["aria-label"].partition(" of ")[0] for attributes in page.all("audio")[:8]]
    assert beside[:4] == ["Mixture", "Reference 1", "Output 3", "Output 3"]
    assert beside[4:] == ["Reference 2", "Output 1", "Output 4", "Output 1"]


def test_a_run_that_was_turned_down_is_turned_up_again(runs):
    """Each run writes an example at its own gain; the mixture says at which."""
    for path in (runs[1] / "examples" / "two").glob("*.wav"):
        rewrite(path, lambda samples: 0.25 * samples)
    sounds = played(make_page(runs))
    first, second = (sounds[f"Output 3 of {label}, {HOSTILE}"] for label in LABELS[:2])
    np.testing.assert_allclose(second, first, atol=1e-3)


def test_all_sounds_of_an_example_share_colour_scale_and_gain(runs):
    def brightness(page, name):
        tag = next(tag for tag in page.all("img") if tag["alt"].startswith(f"Spectrogram of {name}"))
        image = Image.open(io.BytesIO(base64.b64decode(tag["src"].partition(",")[2])))
        return np.asarray(image, dtype=float).mean()

    before = make_page(runs[:1] * 2)
    loud = 4 * np.sin(np.arange(4000))
    soundfile.write(runs[1] / "examples" / "two" / "output_1.wav", loud, SAMPLE_RATE, subtype="FLOAT")
    after = make_page(runs)
    assert brightness(after, "output 3 of first") < 0.8 * brightness(before, "output 3 of first")
    assert "played at 0.25 of their level" in after.text
    name = f"Output 3 of first, {HOSTILE}"
    np.testing.assert_allclose(played(after)[name], 0.25 * played(before)[name], atol=1e-3)


def test_examples_that_only_some_kept_are_counted_and_others_of_the_same_name_refused(runs):
    entries = listing(runs[0])
    write_json(runs[0] / "examples" / "examples.json", entries[:1])
    page = make_page(runs)
    assert f"0 of first, 1 of {LABELS[1]}, 1 of third." in page.text
    assert len(page.all("audio")) == 15
    rewrite(runs[2] / "examples" / "two" / "mixture.wav", lambda samples: np.roll(samples, 7))
    page = make_page(runs)
    assert "not shown, as other sounds have this name in third." in page.text and not page.all("audio")
    write_json(runs[0] / "examples" / "examples.json", [entries[0] | {"name": "another"}])
    assert not make_page(runs).all("audio")


def test_sounds_of_other_lengths_rates_or_sources_do_not_fit(runs):
    def card(run, name="two"):
        folder = run / "examples"
        return read_card(folder, next(entry for entry in read_entries(folder) if entry.folder == name))

    first = card(runs[0])
    assert fit(card(runs[1]), first) and not fit(card(runs[1], "one"), first)
    rewrite(runs[2] / "examples" / "two" / "mixture.wav", lambda samples: samples[:-1])
    assert not fit(card(runs[2]), first)
    (runs[1] / "examples" / "two" / "reference_2.wav").unlink()
    assert not fit(card(runs[1]), first)
    silent = card(runs[1])
    silent.mixture.samples = 0 * silent.mixture.samples
    assert not fit(silent, first) and fit(silent, silent)
