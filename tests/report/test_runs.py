"""Rows that set several runs side by side."""

import pytest
import yaml

from mixit_lightning.report.runs import read_run, setting_rows

from ..helpers.runs import LABELS, make_runs


@pytest.fixture
def runs(tmp_path):
    return make_runs(tmp_path)


def read(runs):
    return [read_run(label, run) for label, run in zip(LABELS, runs, strict=True)]


def test_settings_that_differ_are_listed_with_their_values(runs):
    config = yaml.safe_load((runs[2] / "config.yaml").read_text())
    (runs[2] / "config.yaml").write_text(yaml.safe_dump(config | {"rooms": {"path": "a.npz"}, "more": [1, "ü"]}))
    rows, notes = setting_rows(read(runs))
    assert rows == {
        "more": ["null", "null", '[1, "ü"]'],
        "objective.share": ["0.0", "0.25", "0.5"],
        "rooms": ["null", "null", '{"path": "a.npz"}'],
        "seed": ["0", "1", "2"],
    }
    assert not notes
    (runs[0] / "config.yaml").unlink()  # the others are compared all the same
    rows, notes = setting_rows(read(runs))
    assert rows["seed"] == ["?", "1", "2"] and len(rows) == 4
    assert len(notes) == 1 and notes[0].startswith("first: ")


def test_settings_that_do_not_differ(runs):
    for run in runs:
        (run / "config.yaml").write_text(f"run: {run.name}\nseed: 0\n")
    rows, notes = setting_rows(read(runs))
    assert not rows and len(notes) == 1
