import base64
import io
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from matplotlib.figure import Figure

from mixit_lightning.errors import UserError
from mixit_lightning.report.plots import draw_active, draw_shares, separation_plots
from mixit_lightning.report.run_page import write_report

from .folders import HOSTILE, SAMPLE_RATE, Page, make_results, make_run, write_json

MINUS = "\N{MINUS SIGN}"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def separations():
    """Examples of one source, of two and of none, given to three outputs."""
    rows = [  # sources, active outputs, shares
        (1, 1, 0.0, 1.0, 0.0),
        (1, 1, 0.9, 0.02, 0.08),
        (1, 2, 0.3, 0.2, 0.5),
        (1, 3, np.nan, np.nan, np.nan),
        (2, 1, 0.1, 0.6, 0.3),
        (2, 3, 0.4, 0.2, 0.4),
        (0, 0, 0.7, 0.2, 0.1),
    ]
    table = pd.DataFrame(
        rows, columns=["num_references", "num_active_outputs", *(f"energy_share_{n}" for n in (1, 2, 3))]
    )
    return table.assign(name=[f"e{number}" for number in range(len(rows))], input_si_snr=0.0, momi=1.0)


@pytest.fixture
def results():
    return make_results()


@pytest.fixture
def run(tmp_path, results):
    return make_run(tmp_path / "run", results)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of the unaltered run; drawn once, for drawing is what takes time."""
    return write_report(make_run(tmp_path_factory.mktemp("runs") / "run", make_results()))


def files(run):
    return {path.name for path in run.iterdir()}


def test_page_shows_figures_curves_and_every_sound(report):
    assert report.name == "report.html"
    page = Page(report)
    assert len(page.all("audio")) == (1 + 2 + 4) + (1 + 1 + 2)
    assert len(page.all("svg")) == 6
    for piece in (
        "12.35",
        "9.87",
        f"{MINUS}3.21",
        "0.5",
        "highest val/si_snri",
        "Trained at commit 1234567",
        "Tested at commit abcdef0",
        "Trained on cpu EPYC, gpus none",
        "2 h 01 min",
        "torch 2.11.0",
    ):
        assert piece in page.text, piece
    assert "3\N{NARROW NO-BREAK SPACE}000 test examples" in report.read_text(encoding="utf-8")
    assert "Output 3 matched to reference 1" in page.text
    assert "Outputs matched to no reference" in page.text
    assert f"0 % of energy peak {MINUS}∞ dBFS" in page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "50 examples: median" in page.text
    assert "5 without a finite SI-SNRi are left out" in page.text
    assert "55 examples. Of all, 0 % are under-separated" in page.text


def test_page_asks_nothing_of_the_network(report):
    page = Page(report)
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value[:60])
    assert all(attributes["preload"] in ("metadata", "none") for attributes in page.all("audio"))


def test_pictures_have_words_and_identifiers_are_unique(report):
    page = Page(report)
    assert all(attributes.get("alt") for attributes in page.all("img"))
    assert (
        sum(attributes.get("role") == "img" and bool(attributes.get("aria-label")) for _, attributes in page.tags) == 6
    )
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    targets = {attributes["xlink:href"][1:] for _, attributes in page.tags if "xlink:href" in attributes}
    assert targets <= set(identifiers)


def test_names_from_outside_are_escaped(report):
    page = Page(report)
    assert HOSTILE in page.text
    assert "<script>alert" not in report.read_text(encoding="utf-8")
    assert "objective: mixit # <b>" in page.text
    assert len(page.all("script")) == 1


def test_sounds_keep_their_level_unless_they_would_clip(run):
    loud, _ = soundfile.read(run / "examples" / "one" / "mixture.wav")
    for name, gain in {"mixture": 1.0, "reference_1": 8.0 / np.abs(loud).max()}.items():
        soundfile.write(run / "examples" / "two" / f"{name}.wav", loud * gain, SAMPLE_RATE, subtype="FLOAT")
    page = Page(write_report(run))
    played = [
        soundfile.read(io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2])))[0]
        for attributes in page.all("audio")
    ]
    gain = 0.999 / 8.0
    np.testing.assert_allclose(played[0], loud * gain, atol=1e-4)  # first card: all turned down together
    assert np.abs(played[1]).max() == pytest.approx(0.999, abs=1e-3)
    np.testing.assert_allclose(played[7], loud, atol=1e-4)  # second card: as written
    assert "played at 0.12 of their level" in page.text


def test_samples_that_are_not_numbers_are_named(run):
    broken = np.full(4000, np.nan)
    soundfile.write(run / "examples" / "one" / "output_1.wav", broken, SAMPLE_RATE, subtype="FLOAT")
    assert Page(write_report(run)).text.count("samples that are not numbers") == 1


def test_nulls_are_not_applicable(run, results):
    results |= {"metrics": dict.fromkeys(results["metrics"]), "seed": None, "wall_time": None, "steps": None}
    results |= {"num_examples": None, "selection_rule": None, "hardware": None}
    write_json(run / "results.json", results)
    page = Page(write_report(run))
    assert page.text.count("not applicable") == len(results["metrics"])
    assert "not recorded" in page.text


def test_diverged_run_is_reported(run, results):
    write_json(run / "results.json", results | {"metrics": {"si_snri": float("nan")}})
    (run / "metrics.csv").write_text("step,seconds,metric,value\n1,1,train/loss,inf\n2,2,train/loss,nan\n", "utf-8")
    assert "nan dB" in Page(write_report(run)).text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("metrics.csv", "the run folder has no metrics.csv"),
        ("examples.csv", "the run folder has no examples.csv"),
        ("examples/examples.json", "the run folder has no examples/examples.json"),
        ("config.yaml", "No config.yaml in the run folder"),
    ],
)
def test_missing_parts_are_said_to_be_missing(run, name, sentence):
    (run / name).unlink()
    assert sentence in Page(write_report(run)).text


def test_only_results_are_needed(tmp_path, results):
    write_json(tmp_path / "results.json", results)
    page = Page(write_report(tmp_path))
    assert "12.35" in page.text
    assert not page.all("audio") and not page.all("svg")


def test_grid_counts_the_active_outputs_of_each_number_of_sources():
    table = separations()[:6]
    axes = Figure().subplots()
    caption = draw_active(axes, table["num_references"].to_numpy(), table["num_active_outputs"].to_numpy(), 3)
    printed = {text.get_position(): text.get_text() for text in axes.texts}
    columns = [[printed[column, row] for row in range(4)] for column in range(2)]
    assert columns == [["0", "50", "25", "25"], ["0", "50", "0", "50"]]
    strengths = {patch.get_xy(): patch.get_facecolor()[3] for patch in axes.patches}
    assert strengths[-0.5, 0.5] == pytest.approx(2 * strengths[-0.5, 1.5]) and strengths[0.5, 1.5] == 0
    outlined = {patch.get_xy() for patch in axes.patches if patch.get_linewidth() > 1}
    assert outlined == {(-0.5, 0.5), (0.5, 1.5)}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]
    # One of six has fewer than its sources, two as many, three more.
    for piece in ("6 examples", "17 % are under-separated", "33 % equal", "50 % over-separated"):
        assert piece in caption, piece


def test_grid_tells_seldom_from_never():
    axes = Figure().subplots()
    caption = draw_active(axes, np.full(1000, 2), np.array([2] * 999 + [3]), 4)
    assert [text.get_text() for text in axes.texts] == ["0", "0", "100", "< 1", "0"]
    assert "0 % are under-separated" in caption and "< 1 % over-separated" in caption


def test_shares_run_from_the_loudest_output_to_the_faintest():
    table = separations()[:6]
    axes = Figure().subplots()
    caption = draw_shares(axes, table["num_references"].to_numpy(), table.filter(like="energy_share").to_numpy())
    lines = {line.get_label(): line.get_ydata() for line in axes.lines if not line.get_label().startswith("_")}
    np.testing.assert_allclose(lines["1"], [(100 + 90 + 50) / 3, (0 + 8 + 30) / 3, (0 + 2 + 20) / 3])
    np.testing.assert_allclose(lines["2"], [(60 + 40) / 2, (30 + 40) / 2, (10 + 20) / 2])
    assert set(lines) == {"1", "2"}
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    filled = [list(line.get_xdata()) for line in dots if line.get_markerfacecolor() == line.get_color()]
    assert filled == [[1], [1, 2]]
    assert "5 examples" in caption and "1 with silent outputs only are left out" in caption


def test_examples_without_sources_and_silent_outputs_are_left_out():
    active, shares = separation_plots(separations())
    assert "6 examples. Of all, 17 % are under-separated" in active.caption
    assert "5 examples" in shares.caption
    silent = separations().assign(energy_share_2=np.nan)
    assert [plot.alt[:4] for plot in separation_plots(silent)] == ["Grid"]
    assert separation_plots(separations().assign(num_references=0)) == []


def test_over_separation_is_drawn_in_colours_of_the_page():
    for plot in separation_plots(separations()):
        assert "var(--" in plot.svg
        assert not re.findall(r"#[0-9a-f]{6}\b", plot.svg)


@pytest.mark.parametrize("lacking", ["num_references", "num_active_outputs", "energy_share_"])
def test_over_separation_that_was_not_measured_is_left_out(lacking):
    table = separations()
    assert separation_plots(table.drop(columns=table.filter(like=lacking).columns)) == []


def test_page_without_over_separation(run):
    table = pd.read_csv(run / "examples.csv")
    table.drop(columns="num_active_outputs").to_csv(run / "examples.csv", index=False)
    page = Page(write_report(run))
    assert "Over-separation" not in page.text and len(page.all("svg")) == 4


def test_missing_results_raise_and_leave_nothing(run):
    (run / "results.json").unlink()
    before = files(run)
    with pytest.raises(UserError, match=r"results\.json"):
        write_report(run)
    assert files(run) == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.json", "{", r"results\.json: not valid JSON"),
        ("results.json", "[]", r"results\.json must be an object"),
        ("results.json", '{"metrics": {}}', r"results\.json lacks recipe"),
        ("metrics.csv", "", r"metrics\.csv cannot be read"),
        ("metrics.csv", "step,seconds,metric\n1,1,a\n", r"metrics\.csv .*no column value"),
        ("metrics.csv", "step,seconds,metric,value\n1,1,a,much\n", r"metrics\.csv .*much"),
        ("examples.csv", "name\na\n", r"examples\.csv .*no column input_si_snr"),
        ("examples.csv", "name,input_si_snr,momi,num_references\na,1,2,some\n", r"examples\.csv .*some"),
        ("examples/examples.json", "{}", r"examples\.json must be a list"),
        ("examples/examples.json", "[{}]", r"examples\.json has an entry without"),
        ("examples/examples.json", '[{"folder": "../..", "name": "a"}]', "outside"),
        ("examples/examples.json", '[{"folder": "none", "name": "a"}]', r"mixture\.wav is missing"),
        ("examples/examples.json", '[{"folder": "one", "name": "a", "matched": {"1": 9}}]', "an output of its own"),
        ("examples/examples.json", '[{"folder": "one", "name": "a", "matched": {"x": "y"}}]', "an output of its own"),
        ("examples/one/output_1.wav", "not a sound", r"output_1\.wav is not a sound"),
    ],
)
def test_broken_files_are_named_and_the_old_page_stays(run, name, content, message):
    (run / "report.html").write_text("old", encoding="utf-8")
    (run / name).write_text(content, encoding="utf-8")
    before = files(run)
    with pytest.raises(UserError, match=message):
        write_report(run)
    assert files(run) == before
    assert (run / "report.html").read_text(encoding="utf-8") == "old"


def test_page_is_replaced_whole_or_not_at_all(run, monkeypatch):
    (run / "report.html").write_text("old", encoding="utf-8")
    before = files(run)

    def fail(*arguments, **options):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="no space left"):
            write_report(run)
    assert files(run) == before
    assert (run / "report.html").read_text(encoding="utf-8") == "old"
    write_report(run)
    assert files(run) == before
