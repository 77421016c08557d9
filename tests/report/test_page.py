"""The page of one run, and of several: what it shows, what it says is missing, and what it refuses."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from mixit_lightning.errors import UserError
from mixit_lightning.report.page import write_report

from ..helpers.runs import HOSTILE, LABELS, Page, make_page, make_results, make_run, make_runs, write_json

MINUS = "\N{MINUS SIGN}"
SOUNDS = {"two": (2, 4), "one": (1, 2)}
"""References and outputs of the examples."""


def pictures(page):
    """The drawings, by their alternative text."""
    return [attributes["aria-label"] for _, attributes in page.tags if attributes.get("role") == "img"]


def files(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", make_results())


@pytest.fixture
def runs(tmp_path):
    return make_runs(tmp_path)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of an unaltered run; drawn once, for drawing is what takes time."""
    return Page(write_report(make_run(tmp_path_factory.mktemp("runs") / "run", make_results())))


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """The page of unaltered runs."""
    return make_page(make_runs(tmp_path_factory.mktemp("runs")))


@pytest.fixture(params=["report", "comparison"])
def page(request):
    return request.getfixturevalue(request.param)


def test_a_page_asks_nothing_of_the_network(page):
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value[:60])
    assert all(attributes["preload"] in ("metadata", "none") for attributes in page.all("audio"))
    policy = next(tag for tag in page.all("meta") if tag.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none';")


def test_pictures_have_words_and_identifiers_are_unique(page):
    assert all(attributes.get("alt") for attributes in page.all("img"))
    assert all(pictures(page)) and len(pictures(page)) == page.drawings
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    targets = {attributes["xlink:href"][1:] for _, attributes in page.tags if "xlink:href" in attributes}
    assert targets <= set(identifiers)


def test_names_from_outside_are_escaped(page):
    assert HOSTILE in page.text
    assert len(page.all("script")) == 1 and "<script>alert" not in page.source


def test_a_report_shows_figures_curves_and_every_sound(report):
    assert len(report.all("audio")) == sum(1 + references + outputs for references, outputs in SOUNDS.values())
    assert report.drawings == 6
    for piece in (
        "12.35 dB",
        "9.87 dB",
        f"{MINUS}3.21 dB",
        "other thing 0.5",
        "highest val/si_snri",
        "3000 test examples",
        "Trained at commit 1234567",
        "Tested at commit abcdef0",
        "Trained on cpu EPYC, gpus none",
        "train 2 h 01 min",
        "torch 2.11.0",
        "Output 3 matched to reference 1",
        "Outputs matched to no reference",
        f"0 % of energy peak {MINUS}∞ dBFS",
        "50 examples (5 without a finite value",
        "55 examples. Of all, 0 % are under-separated",
        "share: <b>",  # of the config
    ):
        assert piece in report.text, piece


def test_a_comparison_shows_every_run_curve_and_example(comparison):
    assert all(comparison.text.count(label) > 8 for label in LABELS)  # in every key, table and card
    assert "+2.00 [+2.00, +2.00]" in comparison.text
    for name in ("val/loss, dB (lower is better)", "SI-SNRi, dB, on validation", "MoMi, dB, on validation"):
        for over in ("training steps", "hours of training"):
            assert any(name in picture and over in picture for picture in pictures(comparison)), (name, over)
    assert comparison.drawings == 2 + 6 + 2 + 2 * len(LABELS)
    assert "50 examples of each run" in comparison.text
    assert f"{LABELS[1]}: Active outputs by true number of sources" in comparison.text
    counts = [references + 1 + len(LABELS) * outputs for references, outputs in SOUNDS.values()]
    assert len(comparison.all("audio")) == sum(counts)
    for piece in (
        "objective.share 1 first 0.0 2",
        "highest val/si_snri · all runs",
        "Seed 17 · all runs",
        "Tested at commit abcdef0",
        "gpu H200",
        "train 2 h 01 min",
    ):
        assert piece in comparison.text, piece


def test_other_domains_of_a_run_are_shown(run):
    table = pd.read_csv(run / "examples.csv")
    tables = [table.assign(domain="dry"), table.assign(domain="wet", si_snri=table["si_snri"] + 7)]
    pd.concat(tables).to_csv(run / "examples.csv", index=False)
    others = {"wet": {"metrics": {"si_snri": 17.25}, "num_examples": 55}}
    write_json(run / "results.json", make_results() | {"domain": "dry", "other_domains": others})
    page = Page(write_report(run))
    assert "In the domain wet , over 55 test examples: SI-SNRi 17.25 dB" in page.text
    assert page.drawings == 2 + 2 * 4 and "wet: Distribution of SI-SNRi" in page.text


def test_a_domain_of_any_name_is_written(runs):
    for run in runs[:2]:
        table = pd.read_csv(run / "examples.csv")
        tables = [table.assign(domain=r'\2 "<b>'), table.assign(domain="other", si_snri=table["si_snri"] + 7)]
        pd.concat(tables).to_csv(run / "examples.csv", index=False)
    page = make_page(runs[:2])
    assert r'In the domain \2 "<b> , 50 test mixtures' in page.text and "In the domain other" in page.text
    assert page.drawings == 4 + 6 + 4 + 2 * 4


def test_nulls_are_not_applicable(run):
    results = make_results()
    results |= {"metrics": dict.fromkeys(results["metrics"]), "seed": None, "wall_time": None, "steps": None}
    results |= {"num_examples": None, "selection_rule": None, "hardware": None}
    write_json(run / "results.json", results)
    page = Page(write_report(run))
    assert page.text.count("not applicable") == len(results["metrics"])
    assert "not recorded" in page.text


def test_a_diverged_run_is_reported(run):
    write_json(run / "results.json", make_results() | {"metrics": {"si_snri": float("nan")}})
    (run / "metrics.csv").write_text("step,seconds,metric,value\n1,1,train/loss,inf\n2,2,train/loss,nan\n", "utf-8")
    assert "nan dB" in Page(write_report(run)).text


@pytest.mark.parametrize("name", ["metrics.csv", "examples/examples.json", "config.yaml"])
def test_what_a_run_lacks_is_said_and_the_others_are_shown(runs, name):
    (runs[1] / name).unlink()
    page = make_page(runs)
    assert page.text.count(f"the run folder has no {name}") == 1 and f"{LABELS[1]}: no " in page.text
    assert page.drawings == 16 and "objective.share" in page.text
    sounds = [attributes["aria-label"] for attributes in page.all("audio")]
    assert any("of third" in sound for sound in sounds)
    assert any(LABELS[1] in sound for sound in sounds) == ("examples" not in name)
    alone = Page(write_report(runs[1]))
    assert f"the run folder has no {name}" in alone.text


def test_only_results_are_needed(tmp_path):
    write_json(tmp_path / "results.json", make_results())
    page = Page(write_report(tmp_path))
    assert "12.35" in page.text and page.text.count("the run folder has no") == 3
    assert not page.all("audio") and not page.drawings


def test_nothing_to_compare_but_scores_is_said(runs):
    for run in runs:
        for name in ("metrics.csv", "examples/examples.json", "config.yaml"):
            (run / name).unlink()
        table = pd.read_csv(run / "examples.csv")
        table[["name", "si_snri"]].to_csv(run / "examples.csv", index=False)
    page = make_page(runs)
    assert page.text.count("has no metrics.csv") == page.text.count("has no config.yaml") == 3
    assert page.text.count("no levels (input_si_snr) of inputs") == 3
    assert page.drawings == 3 and not page.all("audio")


@pytest.mark.parametrize("compared", [False, True])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.json", "{", r"results\.json: not valid JSON"),
        ("results.json", "[]", r"results\.json: all of it"),
        ("results.json", '{"metrics": {}}', r"results\.json: recipe"),
        ("metrics.csv", "", r"metrics\.csv cannot be read"),
        ("metrics.csv", "step,seconds,metric\n1,1,a\n", r"metrics\.csv .*no column value"),
        ("metrics.csv", "step,seconds,metric,value\n1,1,a,much\n", r"metrics\.csv .*much"),
        ("examples.csv", "momi\n1\n", r"examples\.csv .*no column name"),
        ("examples.csv", "name,input_si_snr,momi,num_references\na,1,2,some\n", r"examples\.csv .*some"),
        ("examples/examples.json", "{}", r"examples\.json: all of it"),
        ("examples/one/output_1.wav", "not a sound", r"output_1\.wav is not a sound"),
        ("config.yaml", "a: [", r"config\.yaml: not valid YAML"),
        ("config.yaml", "text", r"config\.yaml: not the config"),
    ],
)
def test_broken_files_are_named_and_the_old_page_stays(tmp_path, name, content, message, compared):
    runs = make_runs(tmp_path, 2)
    page = tmp_path / "out" / "comparison.html" if compared else runs[1] / "report.html"
    page.parent.mkdir(exist_ok=True)
    page.write_text("old", encoding="utf-8")
    (runs[1] / name).write_text(content, encoding="utf-8")
    before = files(page.parent)
    with pytest.raises(UserError, match=f"run1/.*{message}"):
        make_page(runs) if compared else write_report(runs[1])
    assert files(page.parent) == before and page.read_text(encoding="utf-8") == "old"


def test_missing_results_are_named_and_leave_nothing(run):
    (run / "results.json").unlink()
    before = files(run)
    with pytest.raises(UserError, match=r"results\.json"):
        write_report(run)
    assert files(run) == before


@pytest.mark.parametrize("compared", [False, True])
def test_a_page_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch, compared):
    runs = make_runs(tmp_path, 2)

    def write():
        return make_page(runs) if compared else write_report(runs[0])

    write()
    page = tmp_path / "out" / "comparison.html" if compared else runs[0] / "report.html"
    before, content = files(page.parent), page.read_bytes()
    results = json.loads((runs[0] / "results.json").read_text())
    write_json(runs[0] / "results.json", results | {"seed": 18})
    replace = os.replace

    def fail(source, target):
        if str(target).endswith(".html"):
            raise OSError("no space left")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="no space left"):
            write()
    assert files(page.parent) == before and page.read_bytes() == content
    write()
    assert files(page.parent) == before and page.read_bytes() != content
