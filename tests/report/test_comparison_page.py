import base64
import io
import json
import os
import re

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from matplotlib.figure import Figure
from PIL import Image

from mixit_lightning.cli import main
from mixit_lightning.errors import UserError
from mixit_lightning.report.comparison import read_run
from mixit_lightning.report.comparison_page import Row, curve_plots, fit, read_settings
from mixit_lightning.report.comparison_plots import colour_of, dashes_of, draw_curves, draw_levels
from mixit_lightning.report.sounds import read_card, read_entries
from mixit_lightning.training.evaluate import choose_examples

from .folders import HOSTILE, LABELS, SAMPLE_RATE, make_page, make_results, make_runs, write_json

SOUNDS = {"two": (2, 4), "one": (1, 2)}
FIXED = "the same in every run"


def read(runs):
    return [read_run(label, run, "si_snri") for label, run in zip(LABELS, runs, strict=True)]


def rewrite(path, change):
    """Change a sound file."""
    samples, _ = soundfile.read(path)
    soundfile.write(path, change(samples), SAMPLE_RATE)


def pictures(page):
    """The drawings, by their alternative text."""
    return [attributes["aria-label"] for _, attributes in page.tags if attributes.get("role") == "img"]


def played(page):
    """Samples of every player, by its name."""
    return {
        attributes["aria-label"]: soundfile.read(io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2])))[0]
        for attributes in page.all("audio")
    }


@pytest.fixture
def runs(tmp_path):
    return make_runs(tmp_path)


@pytest.fixture
def sounding(runs):
    """Runs without curves, for drawing is what takes time."""
    for run in runs:
        (run / "metrics.csv").unlink()
    return runs


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """The page of unaltered runs."""
    return make_page(make_runs(tmp_path_factory.mktemp("runs")))


def test_page_holds_every_run_curve_and_example(comparison):
    text = comparison.text.replace("\N{NO-BREAK SPACE}", " ")
    assert all(text.count(label) > 8 for label in LABELS)  # in every key, table and card
    assert "+2.00 [+2.00, +2.00]" in text
    for name in ("val/loss, dB (lower is better)", "SI-SNRi, dB, on validation", "MoMi, dB, on validation"):
        for over in ("training steps", "hours of training"):
            assert any(name in picture and over in picture for picture in pictures(comparison)), (name, over)
    assert len(pictures(comparison)) == 2 + 6 + 1
    assert "50 examples of each run" in text and "SI-SNRi against the SI-SNR of the input" in text
    outputs = sum(references + 1 + len(LABELS) * outputs for references, outputs in SOUNDS.values())
    assert len(comparison.all("audio")) == outputs
    assert text.count("Reference 1") == len(SOUNDS) and text.count("Mixture") == len(SOUNDS) + 1
    assert "objective.share 1 first 0.0 2" in text and "run0" in text
    assert "highest val/si_snri · all runs" in text
    for piece in ("Seed 17 · all runs", "Tested at commit abcdef0", "Training steps", "gpu H200", "train 2 h 01 min"):
        assert piece in text.replace("\N{NARROW NO-BREAK SPACE}", ""), piece


def test_page_asks_nothing_of_the_network(comparison):
    for tag, attributes in comparison.tags:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value[:60])
    policy = next(tag for tag in comparison.all("meta") if tag.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none';")


def test_names_from_outside_are_escaped(comparison):
    assert len(comparison.all("script")) == 1
    assert not any("alert" in piece for piece in comparison.all("script"))
    assert comparison.text.count(HOSTILE) > 8
    identifiers = [attributes["id"] for _, attributes in comparison.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    targets = {attributes["xlink:href"][1:] for _, attributes in comparison.tags if "xlink:href" in attributes}
    assert targets <= set(identifiers)


def test_a_domain_of_any_name_is_written(runs):
    for run in runs[:2]:
        table = pd.read_csv(run / "examples.csv")
        tables = [table.assign(domain=r'\2 "<b>'), table.assign(domain="other", si_snri=table["si_snri"] + 7)]
        pd.concat(tables).to_csv(run / "examples.csv", index=False)
    page = make_page(runs[:2])
    assert r'In the domain \2 "<b> , 50 test mixtures' in page.text and "In the domain other" in page.text
    assert len(pictures(page)) == 4 + 6 + 2


def test_outputs_of_a_run_are_its_own(sounding):
    rewrite(sounding[1] / "examples" / "two" / "output_3.wav", lambda samples: samples[::-1])
    samples, _ = soundfile.read(sounding[0] / "examples" / "two" / "output_3.wav")
    sounds = played(make_page(sounding))
    np.testing.assert_allclose(sounds[f"Output 3 of first, {HOSTILE}"], samples, atol=1e-4)
    np.testing.assert_allclose(sounds[f"Output 3 of {LABELS[1]}, {HOSTILE}"], samples[::-1], atol=1e-4)


def test_outputs_are_matched_by_their_own_run(sounding):
    listing = json.loads((sounding[1] / "examples" / "examples.json").read_text())
    listing[0]["matched"] = {"2": 4}
    write_json(sounding[1] / "examples" / "examples.json", listing)
    page = make_page(sounding)
    assert f"{LABELS[1]}: no output matched to reference 1." in page.text
    names = [attributes["aria-label"] for attributes in page.all("audio")]
    beside = [name.partition(" of ")[0] for name in names]
    assert beside[:8] == [
        "Mixture",
        "Reference 1",
        "Output 3",
        "Output 3",
        "Reference 2",
        "Output 1",
        "Output 4",
        "Output 1",
    ]


def test_a_run_that_was_turned_down_is_turned_up_again(sounding):
    """Each run writes an example at its own gain; the mixture says at which."""
    for path in (sounding[1] / "examples" / "two").glob("*.wav"):
        rewrite(path, lambda samples: 0.25 * samples)
    sounds = played(make_page(sounding))
    first, second = (sounds[f"Output 3 of {label}, {HOSTILE}"] for label in LABELS[:2])
    np.testing.assert_allclose(second, first, atol=1e-3)


def test_all_sounds_of_an_example_share_colour_scale_and_gain(sounding):
    def brightness(page, name):
        tag = next(tag for tag in page.all("img") if tag["alt"].startswith(f"Spectrogram of {name}"))
        image = Image.open(io.BytesIO(base64.b64decode(tag["src"].partition(",")[2])))
        return np.asarray(image, dtype=float).mean()

    before = make_page(sounding[:1] * 2)
    soundfile.write(
        sounding[1] / "examples" / "two" / "output_1.wav",
        4 * np.sin(np.arange(4000)),
        SAMPLE_RATE,
        subtype="FLOAT",
    )
    after = make_page(sounding)
    assert brightness(after, "output 3 of first") < 0.8 * brightness(before, "output 3 of first")
    assert "played at 0.25 of their level" in after.text
    name = f"Output 3 of first, {HOSTILE}"
    np.testing.assert_allclose(played(after)[name], 0.25 * played(before)[name], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("metrics.csv", ": no curves, as the run folder has no metrics.csv"),
        ("examples/examples.json", ": no examples, as the run folder has no examples/examples.json"),
        ("config.yaml", ": no settings, as the run folder has no config.yaml"),
    ],
)
def test_what_a_run_lacks_is_said_and_the_others_are_shown(runs, name, sentence):
    (runs[1] / name).unlink()
    page = make_page(runs)
    assert LABELS[1] + sentence in page.text
    assert len(pictures(page)) == 9 and "objective.share" in page.text
    sounds = [attributes["aria-label"] for attributes in page.all("audio")]
    assert any("of third" in sound for sound in sounds)
    assert any(LABELS[1] in sound for sound in sounds) == ("examples" not in name)


def test_nothing_to_show_is_said(runs):
    for run in runs:
        for name in ("metrics.csv", "examples/examples.json", "config.yaml"):
            (run / name).unlink()
        pd.read_csv(run / "examples.csv").drop(columns="input_si_snr").to_csv(run / "examples.csv", index=False)
    page = make_page(runs)
    assert "nothing to hear side by side" in page.text
    assert page.text.count("has no metrics.csv") == page.text.count("has no config.yaml") == 3
    assert page.text.count("examples.csv has no levels (input_si_snr) of inputs.") == 3
    assert len(pictures(page)) == 2 and not page.all("audio")


def test_curves_that_a_run_lacks_are_named(runs):
    path = runs[2] / "metrics.csv"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "val/momi" not in line))
    plots, notes = curve_plots(read(runs), "pesq")
    assert len(plots) == 6
    assert "val/momi is not in the metrics.csv of third." in notes
    assert f"val/pesq is not in the metrics.csv of {', '.join(LABELS)}." in notes
    assert not any("different objectives" in note for note in notes)
    write_json(runs[1] / "results.json", make_results() | {"objective": "pit"})
    assert any("different objectives are not to be compared" in note for note in curve_plots(read(runs), "momi")[1])


def test_examples_that_only_some_kept_are_counted_and_others_of_the_same_name_refused(sounding):
    listing = json.loads((sounding[0] / "examples" / "examples.json").read_text())
    write_json(sounding[0] / "examples" / "examples.json", listing[:1])
    page = make_page(sounding)
    assert f"on the runs' own pages: 0 of first, 1 of {LABELS[1]}, 1 of third." in page.text
    assert len(page.all("audio")) == 15
    rewrite(sounding[2] / "examples" / "two" / "mixture.wav", lambda samples: np.roll(samples, 7))
    page = make_page(sounding)
    assert "not shown, as other sounds have this name in third." in page.text and not page.all("audio")
    write_json(sounding[0] / "examples" / "examples.json", [listing[0] | {"name": "another"}])
    assert "kept no example in common" in make_page(sounding).text


def test_sounds_of_other_lengths_rates_or_sources_do_not_fit(sounding):
    def card(run, name="two"):
        folder = run / "examples"
        return read_card(folder, next(entry for entry in read_entries(folder) if entry["folder"] == name))

    first = card(sounding[0])
    assert fit(card(sounding[1]), first) and not fit(card(sounding[1], "one"), first)
    rewrite(sounding[2] / "examples" / "two" / "mixture.wav", lambda samples: samples[:-1])
    assert not fit(card(sounding[2]), first)
    (sounding[1] / "examples" / "two" / "reference_2.wav").unlink()
    assert not fit(card(sounding[1]), first)
    silent = card(sounding[1])
    silent.mixture.samples = 0 * silent.mixture.samples
    assert not fit(silent, first) and fit(silent, silent)


def test_settings_that_differ_are_listed_with_their_values(runs):
    config = yaml.safe_load((runs[2] / "config.yaml").read_text())
    (runs[2] / "config.yaml").write_text(yaml.safe_dump(config | {"rooms": {"path": "a.npz"}, "more": [1, "ü"]}))
    rows, notes = read_settings(read(runs))
    assert sorted(rows) == [
        Row("more", ["—", "—", '[1, "ü"]']),
        Row("objective.share", ["0.0", "0.25", "0.5"]),
        Row("rooms", ["null", "null", '{"path": "a.npz"}']),
        Row("seed", ["0", "1", "2"]),
    ]
    assert not notes
    (runs[0] / "config.yaml").unlink()  # the others are compared all the same
    rows, notes = read_settings(read(runs))
    assert Row("seed", ["?", "1", "2"]) in rows and len(rows) == 4
    assert notes == ["first: no settings, as the run folder has no config.yaml."]


def test_settings_that_do_not_differ(runs):
    for run in runs:
        (run / "config.yaml").write_text(f"run: {run.name}\nseed: 0\n")
    assert read_settings(read(runs)) == ([], ["No setting differs."])


def test_curves_keep_the_colour_of_their_run():
    axes = Figure().subplots()
    values = [pd.Series([1.0, 2.0], index=[0.5, 1.0]), None, *(pd.Series([3.0], index=[2.0]) for _ in range(5))]
    draw_curves(axes, values, "hours", "loss")
    assert [line.get_color() for line in axes.lines] == [colour_of(place) for place in (0, 2, 3, 4, 5, 6)]
    assert list(axes.lines[0].get_xdata()) == [0.5, 1.0] and axes.get_xlim()[0] == 0
    assert axes.get_xlabel() == "hours of training"
    styles = {(colour_of(place), dashes_of(place)) for place in range(20)}
    assert len(styles) == 20


def test_hours_are_those_of_the_curves(runs):
    table = pd.read_csv(runs[0] / "metrics.csv")
    table.assign(seconds=table["step"] * 3.6).to_csv(runs[0] / "metrics.csv", index=False)
    over_hours = curve_plots(read(runs), "si_snri")[0][1]
    assert "over hours of training" in over_hours.caption
    ticks = [float(text) for text in re.findall(r">(\d\.\d)</text>", over_hours.svg)]
    assert max(ticks) == pytest.approx(2.5, abs=0.5)  # 2500 steps of 3.6 seconds


def test_trends_are_means_over_neighbouring_levels():
    rng = np.random.default_rng(0)
    levels = rng.uniform(-10, 10, 400)
    runs = [np.stack([levels, slope * levels], 1) for slope in (1.0, -0.5)]
    axes = Figure().subplots()
    caption = draw_levels(axes, [*runs, np.empty((0, 2))], "si_snri")
    trends = [line for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 10]
    for line, slope in zip(trends, (1.0, -0.5), strict=True):
        np.testing.assert_allclose(line.get_ydata(), slope * line.get_xdata(), atol=1e-9)
        assert np.all(np.diff(line.get_xdata()) > 0)
    assert "400 examples of each run." in caption
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in points] == [400, 400, 0]


def test_many_examples_are_thinned_as_points_only():
    rng = np.random.default_rng(0)
    axes = Figure().subplots()
    caption = draw_levels(axes, [rng.normal(0, 5, (3000, 2)) for _ in range(4)], "si_snri")
    assert sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == "o") == 2400
    assert "3\N{NARROW NO-BREAK SPACE}000 examples of each run, of which one in 5 is drawn as a point." in caption


def test_inputs_of_one_level_become_columns():
    rng = np.random.default_rng(0)
    runs = [np.stack([rng.normal(1, 0.05, 100), rng.normal(mean, 1, 100)], 1) for mean in (0, 10)]
    axes = Figure().subplots()
    caption = draw_levels(axes, [runs[0], np.empty((0, 2)), runs[1]], "si_snri")
    assert "about equally loud: nine tenths of them have an SI-SNR of 0.9 to 1.1 dB" in caption
    places = [np.round(line.get_xdata()) for line in axes.lines if line.get_marker() == "o"]
    assert [set(place) for place in places] == [{1.0}, {3.0}]
    medians = [bars.get_segments()[0][0][1] for bars in axes.collections if bars.get_linewidth()[0] > 2]
    assert medians == pytest.approx([np.median(run[:, 1]) for run in runs])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.json", "{", r"run1/results\.json: not valid JSON"),
        ("metrics.csv", "step,seconds,metric\n1,1,a\n", r"run1/metrics\.csv .*no column value"),
        ("examples.csv", "", r"run1/examples\.csv cannot be read"),
        ("examples/examples.json", "{}", r"run1/examples/examples\.json must be a list"),
        ("examples/one/output_1.wav", "not a sound", r"output_1\.wav is not a sound"),
        ("config.yaml", "a: [", r"run1/config\.yaml: not valid YAML"),
        ("config.yaml", "text", r"run1/config\.yaml must hold settings"),
    ],
)
def test_broken_files_are_named_and_the_old_page_stays(runs, name, content, message):
    target = runs[0].parent / "out"
    target.mkdir()
    (target / "comparison.html").write_text("old")
    (runs[1] / name).write_text(content)
    with pytest.raises(UserError, match=message):
        make_page(runs)
    assert [path.name for path in target.iterdir()] == ["comparison.html"]
    assert (target / "comparison.html").read_text() == "old"


def test_page_is_replaced_whole_or_not_at_all(sounding, monkeypatch):
    target = sounding[0].parent / "out"
    make_page(sounding)
    before = (target / "comparison.html").read_bytes()
    replace = os.replace

    def fail(source, final):
        if str(final).endswith(".html"):
            raise OSError("no space left")
        replace(source, final)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="no space left"):
            make_page(sounding[:2])
    assert (target / "comparison.html").read_bytes() == before
    assert len(list(target.iterdir())) == 4
    make_page(sounding[:2])
    assert (target / "comparison.html").read_bytes() != before


def test_runs_are_found_by_name_and_the_page_lies_beside_them(tmp_path, monkeypatch, capsys):
    make_runs(tmp_path / "runs" / "wsj0-2mix")
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "recipe=wsj0-2mix", "run0", "PIT=run1", "runs/wsj0-2mix/run2"]) == 0
    folder = tmp_path / "runs" / "wsj0-2mix" / "comparison"
    assert "look and listen: runs/wsj0-2mix/comparison/comparison.html" in capsys.readouterr().out
    assert pd.read_csv(folder / "comparison.csv")["run"].tolist() == ["run0", "PIT", "run2"]
    (tmp_path / "run1").mkdir()  # a folder comes before a name
    assert main(["compare", "recipe=wsj0-2mix", "run0", "run1"]) == 1
    assert "run1/results.json: no such file" in capsys.readouterr().err
    assert main(["compare", "recipe=wsj0-2mix", "run0", "run22"]) == 1
    assert "run22: no such folder, and no run of runs/wsj0-2mix; did you mean run2?" in capsys.readouterr().err
    assert main(["compare", "run0", "run22"]) == 1
    assert "run0: no such folder, and no run of runs/synthetic; there are no finished runs" in capsys.readouterr().err
    assert main(["compare", "recipe=wsj0-2mix", "run0", "run2", "output=here", f"runs={tmp_path / 'runs'}"]) == 0
    assert (tmp_path / "here" / "comparison.html").is_file()


def scores(sources, seed):
    """A row a test mixture, as evaluation makes them; what a run scored differs, the test set does not."""
    values = np.random.default_rng(seed).normal(5, 3, len(sources))
    alone = np.array(sources) == 1
    nothing = np.full(len(sources), np.nan)
    columns = {"si_snri": np.where(alone, nothing, values), "one_source": np.where(alone, values, nothing)}
    return pd.DataFrame({"num_references": sources, "momi": values, **columns})


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([2] * 300, {50, 150, 250}),
        ([1, 2, 3] * 20, {10, 31, 50, 30}),
        ([1] * 9, {4}),
        ([2], {0}),
        ([0] * 6, {1, 3, 5}),
    ],
)
def test_some_examples_are_the_same_in_every_run(sources, expected):
    chosen = [choose_examples(scores(sources, seed)) for seed in range(20)]
    same = set.intersection(*map(set, chosen))
    assert same == expected
    assert {number for choice in chosen for number, why in choice.items() if why == FIXED} <= expected
