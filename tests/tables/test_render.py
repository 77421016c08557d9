"""Tables: which run measured which row, why no run did, and running what is missing."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml

from mixit_lightning.cli import main
from mixit_lightning.errors import UserError
from mixit_lightning.run import portable
from mixit_lightning.tables import measured, reproduce, schema
from mixit_lightning.tables.keep import copy_record
from mixit_lightning.tables.measured import Measured, State
from mixit_lightning.tables.render import COLUMNS, escaped, latex_table, markdown, measure_tables, shown
from mixit_lightning.tables.schema import read_tables

from ..helpers.small import NETWORK

TINY = [
    *NETWORK,
    "trainer.max_steps=4",
    "trainer.log_every_n_steps=1",
    "datamodule.batch_size=2",
    "datamodule.duration=0.5",
    "datamodule.steps_per_epoch=2",
    "datamodule.validation_counts=[0,2]",
    "datamodule.test_counts=[0,4]",
]

PUBLISHED = {"value": 9.0, "source": "a paper, Table 1", "rule": "best two of four outputs"}

FIGURES = [{"metric": "si_snri", "published": PUBLISHED}]


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Writes the table.yaml of the recipe `synthetic`, and keeps away from what the repository holds of it."""
    path = tmp_path / "table.yaml"
    monkeypatch.setattr(schema, "table_path", lambda recipe: path)
    monkeypatch.setattr(measured, "kept_folder", lambda recipe: tmp_path / "kept")

    def write(*rows, **more):
        rows = [{"what": row["name"], "figures": FIGURES} | row for row in rows]
        path.write_text(yaml.safe_dump({"tables": [{"title": "A table", "settings": TINY, "rows": rows} | more]}))
        return path

    return write


@pytest.fixture
def words(tmp_path):
    """Where run folders go, and nothing else."""
    return [f"runs={tmp_path / 'runs'}", "trainer.enable_progress_bar=false", "datamodule.num_workers=0"]


@pytest.fixture
def in_process(monkeypatch):
    """Trains here instead of in a process of its own; counts the trainings."""
    trained = []

    def run_train(line, log):
        trained.append(line)
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            status = main(["train", *line])
            log.write_text("" if status == 0 else "before\nmixit: what the training said last\n\n")
        except ValueError as error:
            status = 1
            log.write_text(f"Traceback\nValueError: {error}\n")
        return status

    monkeypatch.setattr(reproduce, "run_train", run_train)
    return trained


def states(words):
    """State and reason of all rows and seeds."""
    (table,) = read_tables("synthetic")
    measured = Measured("synthetic", words)
    found = [measured.measurement(table, row, seed) for row in table.rows for seed in row.seeds]
    return [(one.state, one.reason) for one in found]


def make_record(folder, config, si_snri=10.0, **results):
    """What is kept of a run."""
    folder.mkdir(parents=True)
    if config is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    record = {
        "recipe": "synthetic",
        "run": folder.name,
        "objective": "mixit",
        "separator": "tdcnpp",
        "metrics": {"si_snri": si_snri, "input_si_snr": 0.5},
        "num_examples": 4,
        "selection_rule": "best two of four",
        "steps": 4,
        "commit": "abcdef0123456789",
        "wall_time": {"train": 90.0},
        "checkpoint": "best.ckpt",
        "trained_with": {"steps": 4, "commit": "abcdef0123456789", "hardware": {"cpu": "a CPU", "threads": 1}},
        "hardware": {"cpu": "a CPU", "threads": 1, "gpus": []},
    }
    (folder / "results.json").write_text(json.dumps(record | results))


def config_of(name, seed=0):
    """Resolved config of a row of the table."""
    (table,) = read_tables("synthetic")
    (row,) = (row for row in table.rows if row.name == name)
    return measured.row_config("synthetic", table, row, seed)


def test_a_row_is_measured_by_runs_of_its_config_only(table, words, tmp_path):
    table({"name": "a", "seeds": [0, 1]}, {"name": "b", "settings": ["optimizer.lr=0.1"]})
    make_record(tmp_path / "runs" / "synthetic" / "x", config_of("a") | {"run": "typed by hand", "note": "anything"})
    other = config_of("b")
    other["optimizer"]["lr"] = 0.2
    make_record(tmp_path / "runs" / "synthetic" / "y", other)
    assert states(words) == [(State.MEASURED, ""), (State.NOT_RUN, ""), (State.NOT_RUN, "")]
    make_record(tmp_path / "kept" / "anything", config_of("a", 1), si_snri=13.0)
    (measures,) = measure_tables("synthetic", words)
    line = shown(measures.lines[0])
    assert (line["published"], line["measured"], line["difference"]) == ("9.00", "11.50 ± 2.12", "+2.50")
    assert (line["seeds"], line["examples"], line["commit"], line["training"]) == ("0 1", "4", "abcdef0", "1 min 30 s")
    assert line["state"] == "measured" and measures.count == "1 of 2 rows measured with all their seeds"


def test_a_result_of_another_config_is_shown_with_the_reason(table, words, tmp_path):
    table({"name": "a"}, {"name": "b"})
    then = config_of("a")
    then["trainer"]["max_steps"], then["optimizer"]["lr"] = 7, 0.5
    make_record(tmp_path / "kept" / "a-seed-0", then)
    make_record(tmp_path / "kept" / "b-seed-0", None)
    (a, why_a), (b, why_b) = states(words)
    assert a is b is State.CHANGED
    assert "trainer.max_steps was 7, is 4" in why_a and "optimizer.lr was 0.5, is 0.002" in why_a
    assert why_b == "that of commit abcdef0 kept no config.yaml"


def test_a_result_on_another_test_set_is_none_of_the_table(table, words, tmp_path):
    table({"name": "a"}, examples=3000)
    make_record(tmp_path / "kept" / "a-seed-0", config_of("a"))
    assert states(words) == [(State.OTHER_TEST, "4 examples where the table has 3000")]


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ({"checkpoint": "/elsewhere/best.ckpt"}, "its figures are those of the checkpoint /elsewhere/best.ckpt"),
        ({"trained_with": {"steps": 2}}, "evaluated after 2 of 4 steps"),
        ({"trained_with": None}, "evaluated after part of 4 steps"),
    ],
)
def test_figures_of_another_checkpoint_or_half_a_training_are_none_of_the_row(table, words, tmp_path, results, reason):
    table({"name": "a"})
    make_record(tmp_path / "runs" / "synthetic" / "x", config_of("a"), **results)
    assert states(words) == [(State.STOPPED, reason)]


def test_a_failure_holds_for_the_settings_that_failed_until_someone_goes_on(table, words, in_process, tmp_path):
    table({"name": "a", "settings": ["objective.labelled_share=7"]})
    assert main(["reproduce", "recipe=synthetic", *words]) == 1
    assert states(words)[0][0] is State.FAILED
    table({"name": "a", "settings": ["objective.labelled_share=1"]})
    assert states(words) == [(State.NOT_RUN, "")]
    table({"name": "a", "settings": ["objective.labelled_share=7"]})
    run = tmp_path / "runs" / "synthetic" / "x"
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump(config_of("a")))
    (run / "metrics.csv").write_text("step,seconds,metric,value\n3,1.0,train/loss,0.5\n")
    later = time.time() + 5
    os.utime(run / "metrics.csv", (later, later))
    assert states(words) == [(State.STOPPED, "at step 3 of 4")]


def test_a_damaged_folder_is_named_and_the_others_count(table, words, tmp_path, capsys):
    table({"name": "a"}, {"name": "b"})
    for name, text in (("a-seed-0", "{"), ("other", "[]")):
        (tmp_path / "kept" / name).mkdir(parents=True)
        (tmp_path / "kept" / name / "results.json").write_text(text)
    make_record(tmp_path / "kept" / "whatever.partial", config_of("b"))  # keep was killed
    (a, why), (b, _) = states(words)
    assert (a, b) == (State.CHANGED, State.NOT_RUN) and "a-seed-0/results.json: " in why
    assert main(["table", "recipe=synthetic", *words]) == 0
    text = capsys.readouterr().out
    assert "Not counted: " in text and "other/results.json: " in text


def test_a_row_takes_the_places_that_it_needs_and_no_others(tmp_path):
    (first, _) = read_tables("fuss")
    rows = {row.name: row for row in first.rows}
    given = Measured("fuss", ["data=D", "unlabelled=U", f"runs={tmp_path}", "logger=wandb"])
    assert reproduce.places_of(given, first, rows["paper-mixit"], 0) == ["data=D", f"runs={tmp_path}", "logger=wandb"]
    assert "unlabelled=U" in reproduce.places_of(given, first, rows["paper-semi"], 0)


def test_one_folder_may_be_two_places():
    def config(data, labelled):
        return {"data": data, "labelled_data": labelled, "domains": {"a": {"data": data}, "b": {"data": labelled}}}

    same, apart = (portable(config(*places), ("data", "labelled_data")) for places in (("/x", "/x"), ("/y/a", "/y/b")))
    assert same == apart


def test_where_data_stand_does_not_matter_but_what_is_done_with_them(tmp_path, monkeypatch):
    """The same row on two machines, whose folders differ."""
    path = tmp_path / "table.yaml"
    monkeypatch.setattr(schema, "table_path", lambda recipe: path)
    monkeypatch.setattr(measured, "kept_folder", lambda recipe: tmp_path / "kept")
    monkeypatch.delenv("REVERB_ADAPTATION_DATA", raising=False)
    settings = ["objective=mixit", "trainer.max_steps=4"]
    row = {"name": "a", "what": "a", "settings": settings, "needs": ["rooms"], "figures": FIGURES}
    path.write_text(yaml.safe_dump({"tables": [{"title": "t", "rows": [row]}]}))
    (table,) = read_tables("reverb-adaptation")
    one, other = (measured.row_config("reverb-adaptation", table, table.rows[0], 0) for _ in range(2))
    assert one != other  # their stand-ins are elsewhere
    make_record(tmp_path / "kept" / "a-seed-0", one)
    found = Measured("reverb-adaptation", [f"runs={tmp_path}"]).measurement(table, table.rows[0], 0)
    assert found.state is State.MEASURED
    one["datamodule"]["domains"]["reverberant"]["early"] = 50
    (tmp_path / "kept" / "a-seed-0" / "config.yaml").write_text(yaml.safe_dump(one))
    found = Measured("reverb-adaptation", [f"runs={tmp_path}"]).measurement(table, table.rows[0], 0)
    assert found.state is State.CHANGED and "domains.reverberant.early was 50, is None" in found.reason


def test_what_a_row_needs_and_what_is_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("WSJ0_2MIX_DATA", raising=False)
    monkeypatch.setattr(measured, "kept_folder", lambda recipe: tmp_path / "kept")
    tables = read_tables("wsj0-2mix")
    (row,) = (row for row in tables[0].rows if row.name == "paper-mixit-reverberant")

    def reason(*given):
        found = Measured("wsj0-2mix", [f"runs={tmp_path}", *given]).measurement(tables[0], row, 0)
        assert found.state is State.NOT_RUN
        return found.reason

    assert reason() == "needs data=PATH and rooms=PATH"
    assert reason(f"data={tmp_path}") == "needs rooms=PATH"
    assert reason(f"data={tmp_path}/none", f"rooms={tmp_path}") == f"data={tmp_path}/none is not there"
    monkeypatch.setenv("WSJ0_2MIX_DATA", str(tmp_path))
    assert reason() == "needs rooms=PATH"


def test_missing_rows_are_run_failing_ones_are_noted_and_the_others_go_on(table, words, in_process, tmp_path, capsys):
    table(
        {"name": "refused", "settings": ["objective.labelled_share=7"]},
        {"name": "unknown", "settings": ["objective.sparsty=1"]},
        {"name": "listed", "cannot": "an oracle"},
        {"name": "good"},
    )
    assert main(["reproduce", "recipe=synthetic", *words]) == 1
    assert len(in_process) == 2  # the unknown setting is found before
    found = states(words)
    assert [state for state, _ in found] == [State.FAILED, State.FAILED, State.CANNOT, State.MEASURED]
    assert found[0][1] == "what the training said last (exit status 1, refused-seed-0.log)"
    assert "objective.sparsty=1: there is no such key" in found[1][1]
    assert main(["table", "recipe=synthetic", *words]) == 0
    text = capsys.readouterr().out
    assert "failed: " in text and "cannot be run here: an oracle" in text and "1 of 4 rows measured" in text
    # What has been measured is not run again, what failed is.
    assert main(["reproduce", "recipe=synthetic", *words]) == 1
    assert len(in_process) == 3
    assert main(["reproduce", "recipe=synthetic", "rows=good", *words]) == 0
    assert len(in_process) == 3
    folder = tmp_path / "runs" / "synthetic"
    table_files = {path.suffix for path in folder.glob("table.*")}
    assert table_files == {".md", ".csv", ".tex", ".html"}
    csv = pd.read_csv(folder / "table.csv")
    assert csv["row"].tolist() == ["refused", "unknown", "listed", "good"] and csv["measured"].notna().sum() == 1
    assert csv["difference"][3] == pytest.approx(csv["measured"][3] - 9, abs=1e-3)
    assert "\\toprule" in (folder / "table.tex").read_text()
    assert "an oracle" in (folder / "table.html").read_text()


def test_what_was_measured_can_be_kept_without_the_run(table, words, in_process, tmp_path, capsys):
    table({"name": "good"}, {"name": "other", "settings": ["optimizer.lr=0.3"]})
    assert main(["reproduce", "recipe=synthetic", "rows=good", *words]) == 0
    assert main(["keep", "recipe=synthetic", *words]) == 0
    kept = tmp_path / "kept" / "good-seed-0"
    assert {path.name for path in kept.iterdir()} == {"config.yaml", "results.json", "metrics.csv", "examples.csv"}
    assert str(tmp_path) not in (kept / "config.yaml").read_text() + (kept / "results.json").read_text()
    assert states([f"runs={tmp_path / 'elsewhere'}"])[0] == (State.MEASURED, "")
    # Figures of that run's checkpoint, under the settings of another row.
    (best,) = (tmp_path / "runs").rglob("best.ckpt")
    others = ["recipe=synthetic", *TINY, "optimizer.lr=0.3", "seed=0", *words]
    assert main(["evaluate", *others, f"checkpoint={best}"]) == 0
    written = {json.loads(path.read_text())["checkpoint"] for path in (tmp_path / "runs").rglob("results.json")}
    assert written == {"best.ckpt", str(best)}
    assert main(["keep", "recipe=synthetic", "rows=other", *words]) == 1
    assert "row other, seed 0" in capsys.readouterr().err


def test_what_is_kept_does_not_say_where_data_stand(tmp_path):
    data, rooms = tmp_path / "data", tmp_path / "data" / "rooms.npz"
    config = {
        "data": str(data),
        "rooms": str(rooms),
        "run": "a",
        "warm_start": None,
        "datamodule": {"folders": {"train": [str(data / "train")]}, "domains": {"wet": {"rooms": str(rooms)}}},
    }
    make_record(tmp_path / "run", config)
    copy_record(tmp_path / "run", tmp_path / "kept" / "a-seed-0", ("data", "rooms", "warm_start"))
    kept = yaml.safe_load((tmp_path / "kept" / "a-seed-0" / "config.yaml").read_text())
    assert kept["datamodule"] == {"folders": {"train": ["${place}/train"]}, "domains": {"wet": {"rooms": "${place}"}}}
    assert kept["data"] == "${data}" and kept["warm_start"] is None and "run" not in kept


def test_rows_are_compared_by_name(table, words, tmp_path, capsys):
    table({"name": "a"}, {"name": "b", "settings": ["optimizer.lr=0.1"]}, {"name": "c", "settings": ["optimizer.lr=1"]})
    for name in ("a", "b"):
        make_record(tmp_path / "kept" / name, config_of(name))
        examples = pd.DataFrame({"name": ["x", "y"], "si_snri": [1.0, 2.0], "input_si_snr": [0.0, 1.0], "momi": [1, 1]})
        examples.to_csv(tmp_path / "kept" / name / "examples.csv", index=False)
    given = ["recipe=synthetic", words[0], f"output={tmp_path / 'out'}"]
    assert main(["compare", *given, "rows=a,b"]) == 0
    assert pd.read_csv(tmp_path / "out" / "comparison.csv")["run"].tolist() == ["a", "b"]
    assert main(["compare", *given, "rows=a,c"]) == 1
    assert "row c" in capsys.readouterr().err


def test_a_row_that_starts_from_another_waits_for_its_checkpoint(table, words, in_process, tmp_path, capsys):
    table({"name": "first"}, {"name": "second", "starts_from": "first", "settings": ["optimizer.lr=0.01"]})
    assert main(["reproduce", "recipe=synthetic", "rows=second", *words]) == 1
    assert "starts from the checkpoint of first, which is not here" in capsys.readouterr().out
    assert states(words)[1] == (State.NOT_RUN, "")
    assert main(["reproduce", "recipe=synthetic", *words]) == 0
    assert in_process[-1][-1].startswith("warm_start=") and in_process[-1][-1].endswith("best.ckpt")
    assert [state for state, _ in states(words)] == [State.MEASURED, State.MEASURED]
    (second,) = (path for path in (tmp_path / "runs").rglob("results.json") if '"warm_start"' in path.read_text())
    record = json.loads(second.read_text())
    record["trained_with"]["warm_start"] = "another run"
    second.write_text(json.dumps(record))
    assert states(words)[1] == (State.CHANGED, "did not start from the row first")


@pytest.mark.slow
def test_a_killed_row_goes_on(table, words, tmp_path):
    """By a real process, killed in the middle: the row is shown as stopped, and then ends."""
    table({"name": "long", "settings": ["trainer.max_steps=60"]})
    (one,) = read_tables("synthetic")
    line = ["recipe=synthetic", *one.settings_of(one.rows[0]), "seed=0", *words]
    child = subprocess.Popen([sys.executable, "-m", "mixit_lightning.cli", "train", *line], stdout=subprocess.DEVNULL)
    (folder,) = wait_for(lambda: list((tmp_path / "runs").glob("synthetic/*/checkpoints")))
    wait_for((folder / "last.ckpt").exists)
    child.send_signal(signal.SIGKILL)
    child.wait()
    ((state, reason),) = states(words)
    assert state is State.STOPPED and reason.startswith("at step ") and reason.endswith(" of 60")
    assert main(["reproduce", "recipe=synthetic", *words]) == 0
    assert states(words) == [(State.MEASURED, "")]
    steps = pd.read_csv(folder.parent / "metrics.csv").query("metric == 'train/loss'")["step"]
    assert steps.tolist() == list(range(1, 61))


def wait_for(what, seconds=120):
    """What it gives, as soon as it is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("did not happen")


def test_a_row_is_run_as_it_is(table, words):
    table({"name": "a"})
    with pytest.raises(UserError, match=r"optimizer\.lr=1"):
        reproduce.reproduce("synthetic", None, [*words, "optimizer.lr=1"])
    with pytest.raises(UserError, match="rows=b"):
        reproduce.reproduce("synthetic", ["b"], words)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"name": "a", "figure": []}, r"table.yaml: tables.0.rows.0.figure: "),
        ({"name": "A b"}, r"tables.0.rows.0.name"),
        ({"name": "a", "seeds": []}, r"tables.0.rows.0.seeds"),
        ({"name": "a", "settings": ["seed=1"]}, r"tables.0.rows.0.settings.0"),
        ({"name": "a", "settings": ["objective"]}, r"tables.0.rows.0.settings.0"),
        (
            {"name": "a", "figures": [{"metric": "msi", "published": {"value": 1.0, "source": "p"}}]},
            r"published",
        ),
        ({"name": "a", "starts_from": "b"}, r"row a .*b"),
    ],
)
def test_a_table_that_is_wrong_says_where(table, row, message):
    table(row)
    with pytest.raises(UserError, match=message):
        read_tables("synthetic")


def test_two_rows_of_one_name(table):
    table({"name": "a"}, {"name": "a"})
    with pytest.raises(UserError, match=r"table\.yaml"):
        read_tables("synthetic")


def test_figures_of_other_data_are_not_subtracted(table, words, tmp_path):
    elsewhere = [{"metric": "si_snr", "published": PUBLISHED | {"elsewhere": "cv"}}]
    unread = [{"metric": "msi", "published": {"value": None, "source": "a paper, Table 2"}}]
    table({"name": "a", "figures": elsewhere + unread})
    make_record(tmp_path / "kept" / "a-seed-0", config_of("a"))
    (measures,) = measure_tables("synthetic", words)
    latex = latex_table(measures)
    assert "\\pm" not in latex and "---" in latex and "\N{MINUS SIGN}" not in latex and "a paper, Table 2" in latex
    sum_of_both, unmeasured = map(shown, measures.lines)
    assert (sum_of_both["published"], sum_of_both["measured"], sum_of_both["difference"]) == ("9.00 (cv)", "10.50", "")
    assert unmeasured["published"] == "not verified" and unmeasured["state"] == "the figure does not apply to the run"
    text = markdown("synthetic", [measures])
    assert "a paper, Table 2; its digits could not be verified." in text
    assert text.count("\n| ") >= 3 and all(column in text for column in COLUMNS)


def test_all_tables_are_printed(tmp_path, capsys):
    environment = {key: os.environ.pop(key) for key in list(os.environ) if key.endswith("_DATA")}
    try:
        assert main(["tables", f"runs={tmp_path}"]) == 0
    finally:
        os.environ.update(environment)
    text = capsys.readouterr().out
    for recipe in ("synthetic", "fuss", "wsj0-2mix", "libri2mix", "enhancement", "reverb-adaptation"):
        assert f"# {recipe}\n" in text
    assert "not run: needs data=PATH" in text and "MixCycle paper (arXiv 2202.03875), Table II" in text


def test_words_are_escaped_for_latex():
    assert escaped("p = 10 % & a_b") == r"p = 10 \% \& a\_b"
