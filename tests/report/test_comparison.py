import json

import numpy as np
import pandas as pd
import pytest

from mixit_lightning.cli import main
from mixit_lightning.errors import UserError
from mixit_lightning.report.comparison import bootstrap, compare

from ..helpers.runs import make_results, make_runs

COUNT = 200


def make_run(folder, values, domains=("",), names=None, **results):
    """A run folder with what a comparison reads."""
    folder.mkdir(parents=True)
    tables = []
    for domain in domains:
        table = pd.DataFrame({"name": names or [f"m{n}" for n in range(len(values))], "si_snri": values})
        tables.append(table.assign(domain=domain) if domain else table)
    pd.concat(tables).to_csv(folder / "examples.csv", index=False)
    record = make_results() | {"wall_time": {"train": 120.0}, "trained_with": {"steps": 50, "commit": "abcdef0123"}}
    (folder / "results.json").write_text(json.dumps(record | results))
    return folder


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(5, 3, COUNT)


def test_interval_is_that_of_the_normal_distribution_where_it_holds(values):
    estimate = bootstrap(values)
    error = values.std() / np.sqrt(COUNT)
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert estimate.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    hits = [low <= 0 <= high for _, low, high in (bootstrap(rng.standard_normal(40)) for _ in range(100))]
    assert 88 <= sum(hits) <= 99


def test_differences_are_paired_by_name(values, tmp_path):
    """The spread over mixtures is the same in both runs, and drops out, whatever the order of the rows."""
    rng = np.random.default_rng(2)
    names = [f"m{n}" for n in range(COUNT)]
    order = rng.permutation(COUNT)
    better = values + 0.3 + 0.1 * rng.standard_normal(COUNT)
    one = make_run(tmp_path / "one", values, names=names)
    other = make_run(tmp_path / "other", better[order], names=[names[n] for n in order])
    table = compare([("one", one), ("other", other)], tmp_path / "out")
    first, second = table.to_dict("records")
    assert first["difference"] == first["difference_low"] == first["difference_high"] == 0
    assert second["difference"] == pytest.approx(np.mean(better - values))
    assert 0.27 < second["difference_low"] < second["difference_high"] < 0.33
    assert second["si_snri_high"] - second["si_snri_low"] > 0.6  # unpaired


def test_every_domain_is_compared_apart_and_written(values, tmp_path):
    one = make_run(tmp_path / "a" / "run", values, domains=("reverberant", "anechoic"))
    other = make_run(tmp_path / "b" / "run", values - 1, domains=("anechoic", "reverberant", "more"))
    assert main(["compare", f"names={one},{other}", "labels=PIT|p=10 %,MixIT", f"output={tmp_path / 'out'}"]) == 0
    table = pd.read_csv(tmp_path / "out" / "comparison.csv")
    assert table["domain"].tolist() == ["reverberant", "reverberant", "anechoic", "anechoic"]
    assert table["run"].tolist() == ["PIT|p=10 %", "MixIT"] * 2
    assert table["difference"].tolist() == pytest.approx([0, -1, 0, -1])
    text = (tmp_path / "out" / "comparison.md").read_text()
    mean = values.mean()
    assert "reverberant: 200 mixtures" in text
    assert f"| MixIT | {mean - 1:.2f} [" in text and "| PIT\\|p=10 % |" in text
    assert "| -1.00 [-1.00, -1.00] | 50 | 2 min 0 s | abcdef0 |" in text.replace("\N{MINUS SIGN}", "-")
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "comparison.csv",
        "comparison.html",
        "comparison.md",
        "comparison.png",
    ]


def test_names_alone_do_not_make_mixtures_the_same(values, tmp_path):
    """The same recordings in other rooms have the same names."""
    for name, level in (("dry", 0.0), ("rounded", 0.001), ("wet", 0.5)):
        folder = make_run(tmp_path / name, values)
        table = pd.read_csv(folder / "examples.csv").assign(input_si_snr=np.sin(np.arange(COUNT)) + level)
        table.to_csv(folder / "examples.csv", index=False)
    compare([("dry", tmp_path / "dry"), ("rounded", tmp_path / "rounded")], tmp_path)
    with pytest.raises(UserError, match=r"wet/examples.csv: tested on other mixtures than"):
        compare([("dry", tmp_path / "dry"), ("wet", tmp_path / "wet")], tmp_path)


def test_a_checkpoint_from_elsewhere_has_no_training_record(values, tmp_path):
    one, other = make_run(tmp_path / "one", values), make_run(tmp_path / "other", values, trained_with=None)
    table = compare([("one", one), ("other", other)], tmp_path)
    assert table["steps"][0] == 50 and np.isnan(table["steps"][1])
    assert "| ? |" in (tmp_path / "comparison.md").read_text()


def test_mixtures_that_the_measure_does_not_apply_to_are_left_out(values, tmp_path):
    with_single = np.where(np.arange(COUNT) % 4 == 0, np.nan, values)
    one, other = make_run(tmp_path / "one", with_single), make_run(tmp_path / "other", with_single + 1)
    table = compare([("one", one), ("other", other)], tmp_path)
    assert table["num_examples"].tolist() == [150, 150]
    assert table["si_snri"][0] == pytest.approx(np.nanmean(with_single))


def test_what_cannot_be_compared(values, tmp_path, capsys):
    one, other = make_run(tmp_path / "one", values), make_run(tmp_path / "other", values[:-1])
    with pytest.raises(UserError, match=r"other/examples.csv: tested on other mixtures than .*one"):
        compare([("one", one), ("other", other)], tmp_path)
    with pytest.raises(UserError, match="has no column pesq; there are: name, si_snri"):
        compare([("one", one), ("other", other)], tmp_path, "pesq")
    apart = make_run(tmp_path / "apart", values, domains=("reverberant",))
    with pytest.raises(UserError, match=r"one/examples.csv: not tested in the domain reverberant"):
        compare([("apart", apart), ("one", one)], tmp_path)
    assert main(["compare", f"names={one},{tmp_path / 'none'}"]) == 1
    assert "none/results.json" in capsys.readouterr().err
    nothing = make_run(tmp_path / "nothing", np.full(COUNT, np.nan))
    assert main(["compare", f"names={nothing},{one}"]) == 1
    assert "si_snri applies to no example of it" in capsys.readouterr().err
    assert main(["compare", f"names={one},{one}", "measure=pesq"]) == 1
    assert "has no column pesq" in capsys.readouterr().err
    assert main(["compare", f"names={one}"]) == 1
    assert "names=" in capsys.readouterr().err
    assert main(["compare", f"names={one},{one}", "labels=a"]) == 1
    assert "labels" in capsys.readouterr().err
    assert not (tmp_path / "comparison.md").exists()


def test_runs_are_found_by_name_and_the_page_lies_beside_them(tmp_path, monkeypatch, capsys):
    make_runs(tmp_path / "runs" / "wsj0-2mix")
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "recipe=wsj0-2mix", "names=run0,run1,runs/wsj0-2mix/run2", "labels=run0,PIT,run2"]) == 0
    folder = tmp_path / "runs" / "wsj0-2mix" / "comparison"
    assert "look and listen: runs/wsj0-2mix/comparison/comparison.html" in capsys.readouterr().out
    assert pd.read_csv(folder / "comparison.csv")["run"].tolist() == ["run0", "PIT", "run2"]
    (tmp_path / "run1").mkdir()  # a folder comes before a name
    assert main(["compare", "recipe=wsj0-2mix", "names=run0,run1"]) == 1
    assert "run1/results.json" in capsys.readouterr().err
    assert main(["compare", "recipe=wsj0-2mix", "names=run0,run22"]) == 1
    assert "run22: no such folder, and no run of runs/wsj0-2mix; did you mean run2?" in capsys.readouterr().err
    assert main(["compare", "names=run0,run22"]) == 1
    assert "run0: no such folder, and no run of runs/synthetic; there are no finished runs" in capsys.readouterr().err
    assert main(["compare", "recipe=wsj0-2mix", "names=run0,run2", "output=here", f"runs={tmp_path / 'runs'}"]) == 0
    assert (tmp_path / "here" / "comparison.html").is_file()
