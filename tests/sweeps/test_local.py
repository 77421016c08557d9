import csv
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mixit_lightning.config import load_config
from mixit_lightning.errors import UserError
from mixit_lightning.sweeps import local, summary, trainings
from mixit_lightning.sweeps.file import read_sweep
from mixit_lightning.sweeps.local import sweep_locally
from mixit_lightning.sweeps.search import sampler, space, word_of

from . import engine

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE.parent / "golden" / "wandb_sweeps.json").read_text())
"""Answers of W&B's own package."""

FULL = 8
"""Iterations of a run of `pretend.py`."""


def write_sweep(folder, **changes):
    """A sweep over the learning rate, as a file."""
    sweep = {
        "command": ["${env}", "mixit", "train", "logger=wandb", "${args_no_hyphens}"],
        "method": "grid",
        "metric": {"name": "val/loss", "goal": "minimize"},
        "parameters": {"optimizer.lr": {"values": [0.03, 0.003, 0.3]}},
    }
    path = folder / "mine.yaml"
    path.write_text(json.dumps(sweep | changes))
    return str(path)


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """Runs sweeps over pretended trainings; knows what these began, stopped and ended."""
    monkeypatch.setattr(trainings, "start_training", engine.pretend)
    monkeypatch.setattr(local, "provenance", engine.origin)
    monkeypatch.setattr(local, "check_words", lambda *_: None)  # takes its time, and has tests of its own
    monkeypatch.setattr(local, "POLL", 0.02)
    monkeypatch.setattr(summary, "draw", lambda *_: None)
    monkeypatch.setenv("PRETEND_NOTES", str(tmp_path / "notes"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    class Pretend:
        def __init__(self):
            self.words = [f"runs={tmp_path / 'runs'}"]

        def run(self, *words, agents=1, count=None, **changes):
            return sweep_locally(read_sweep(write_sweep(tmp_path, **changes)), [*self.words, *words], agents, count)

        def start(self, *words, **changes):
            """As a process of its own."""
            path = write_sweep(tmp_path, **changes)
            line = [sys.executable, str(HERE / "engine.py"), f"sweep={path}", *self.words, *words]
            return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

        def by_hand(self, *words):
            """A run of `mixit train`."""
            with (tmp_path / "log").open("wb") as log:
                assert engine.pretend([*self.words, *words], log, dict(os.environ)).wait() == 0
            return load_config([*self.words, *words]).folder

        def go(self):
            """Let those go on that were held."""
            (tmp_path / "go").touch()

        def notes(self, what="began"):
            path = tmp_path / "notes"
            lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
            return [line for line in lines if line["what"] == what]

        def rates(self, what="began"):
            """Learning rates that were given, in order; None is the default."""
            return [note["rate"] for note in self.notes(what)]

        def wait_for(self, what, number):
            deadline = time.monotonic() + 60
            while len(self.notes(what)) < number:
                assert time.monotonic() < deadline
                time.sleep(0.02)

    return Pretend()


def rows_of(folder):
    with (folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_best_run_is_found_and_compared_with_the_default(pretend, capsys):
    folder = pretend.run("recipe=synthetic")
    assert pretend.rates() == [None, 0.03, 0.003, 0.3]
    rows = rows_of(folder)
    assert [row["run"] for row in rows] == ["default", "run 1", "run 2", "run 3"]
    assert {row["state"] for row in rows} == {"finished"}
    assert float(rows[2]["value"]) == pytest.approx(1 / FULL, abs=1e-3)
    # The folder of the same line typed by hand.
    words = ["recipe=synthetic", *pretend.words, "optimizer.lr=0.003"]
    assert Path(rows[2]["folder"]) == load_config(words).folder
    record = json.loads((folder / "sweep.json").read_text())
    assert record["best"]["words"] == ["optimizer.lr=0.003"]
    assert record["better_than_default_by"] == pytest.approx(float(rows[0]["value"]) - float(rows[2]["value"]))
    assert record["counts"] == {"finished": 3, "pruned": 0, "failed": 0, "not finished": 0}
    assert {"commit", "versions", "hardware", "seed", "metric", "seconds"} <= record.keys()
    said = capsys.readouterr().out
    assert "best: val/loss 0.1255 with optimizer.lr=0.003, better than the default by 0.03907" in said
    assert f"mixit train {pretend.words[0]} recipe=synthetic optimizer.lr=0.003" in said
    # W&B's logger of the command is for W&B's engine.
    assert not any("logger" in word for note in pretend.notes() for word in note["words"])


def test_a_setting_that_does_not_exist_is_found_before_anything_runs(tmp_path):
    path = write_sweep(tmp_path, parameters={"optimizer.rate": {"values": [0.1]}})
    with pytest.raises(UserError, match=r"sweep mine: parameters.optimizer.rate: .* there is no such key"):
        sweep_locally(read_sweep(path), [f"runs={tmp_path / 'runs'}"])
    assert not (tmp_path / "runs").exists()


def test_it_says_when_nothing_was_better(pretend, capsys):
    folder = pretend.run(parameters={"optimizer.lr": {"values": [0.03, 0.3]}})
    assert "better than the default: none of 2" in capsys.readouterr().out
    assert json.loads((folder / "sweep.json").read_text())["better_than_default_by"] < 0


def test_higher_is_better_where_the_file_says_so(pretend, capsys):
    folder = pretend.run(metric={"name": "val/loss", "goal": "maximize"})
    record = json.loads((folder / "sweep.json").read_text())
    assert record["best"]["words"] == ["optimizer.lr=0.3"]
    assert record["better_than_default_by"] > 0


def test_no_finished_run_is_repeated_and_a_restart_changes_nothing(pretend, tmp_path):
    ranged = {"method": "random", "parameters": {"optimizer.lr": {"min": 0.001, "max": 0.9}}}
    first = pretend.run(count=1, **ranged)
    assert pretend.run(count=2, **ranged) == first
    rates = pretend.rates()
    assert len(rates) == len(set(rates)) == 3
    assert pretend.run(count=2, **ranged) == first
    assert pretend.rates() == rates
    # Elsewhere, in one go: the same runs.
    pretend.words = [f"runs={tmp_path / 'elsewhere'}"]
    (tmp_path / "notes").unlink()
    assert pretend.run(count=2, **ranged).name == first.name
    assert pretend.rates() == rates
    # Another seed is another sweep.
    assert pretend.run("seed=1", count=1, **ranged).name != first.name
    assert pretend.rates()[-1] not in rates


def test_a_finished_run_made_by_hand_is_read(pretend, capsys):
    pretend.by_hand("optimizer.lr=0.003")
    folder = pretend.run()
    assert pretend.rates() == [0.003, None, 0.03, 0.3]
    assert rows_of(folder)[2]["state"] == "finished"
    assert "run 2: optimizer.lr=0.003: was trained before" in capsys.readouterr().out


def test_a_folder_with_other_settings_is_not_read(pretend):
    """As a change of conf/ leaves behind."""
    config = pretend.by_hand("optimizer.lr=0.003") / "config.yaml"
    config.write_text(config.read_text().replace("num_outputs: 4", "num_outputs: 5"))
    row = rows_of(pretend.run())[2]
    assert row["state"] == "failed"
    assert "an earlier run had other settings (num_outputs" in row["reason"]


@pytest.mark.parametrize("with_child", [True, False], ids=["engine and training", "engine alone"])
def test_killed_in_the_middle_it_goes_on(pretend, monkeypatch, tmp_path, with_child):
    monkeypatch.setenv("PRETEND_HOLD_ABOVE", "0.02")
    first = pretend.start()
    pretend.wait_for("holds", 1)  # the default has ended, run 1 is in its middle
    children = children_of(first.pid)
    assert len(children) == 1
    for process in [first.pid, *(children if with_child else [])]:
        os.kill(process, signal.SIGKILL)
    first.wait()
    again = pretend.start()
    said = ""
    for line in again.stdout:
        said += line
        if line.startswith("run 1: optimizer.lr=0.03"):
            pretend.go()
    assert again.wait() == 0, said
    assert pretend.rates() == [None, 0.03, *([0.03] if with_child else []), 0.003, 0.3]
    assert ("still runs; waiting for it" in said) == (not with_child)
    assert ("run 1: optimizer.lr=0.03: resumed" in said) == with_child
    # The run under way was not begun anew: it has as many validations as any other.
    folder = load_config([*pretend.words, "optimizer.lr=0.03"]).folder
    assert (folder / "metrics.csv").read_text().count("val/loss") == FULL
    (sweep,) = (tmp_path / "runs" / "synthetic" / "sweeps").iterdir()
    assert [row["state"] for row in rows_of(sweep)] == ["finished"] * 4


def children_of(pid):
    """Of a process, on Linux."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_training_that_is_killed_alone_goes_on_once(pretend, monkeypatch):
    monkeypatch.setenv("PRETEND_HOLD_ABOVE", "0.02")
    process = pretend.start(parameters={"optimizer.lr": {"values": [0.03]}})
    pretend.wait_for("holds", 1)
    pretend.go()  # for those that come later; this one is killed before it looks
    os.kill(children_of(process.pid)[0], signal.SIGKILL)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert pretend.rates() == [None, 0.03, 0.03]
    assert "run 1: finished" in said


def test_a_training_that_is_killed_while_it_is_evaluated_is_evaluated(pretend, monkeypatch):
    monkeypatch.setenv("PRETEND_HOLD_ABOVE", "0.02")
    monkeypatch.setenv("PRETEND_HOLD_IN", "evaluation")
    process = pretend.start(parameters={"optimizer.lr": {"values": [0.03]}})
    pretend.wait_for("holds", 1)
    pretend.go()
    os.kill(children_of(process.pid)[0], signal.SIGKILL)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    folder = load_config([*pretend.words, "optimizer.lr=0.03"]).folder
    assert (folder / "results.json").is_file() and (folder / "metrics.csv").read_text().count("val/loss") == FULL


def test_a_run_that_was_trained_and_not_evaluated_is_evaluated(pretend):
    folder = pretend.by_hand("optimizer.lr=0.003")
    (folder / "results.json").unlink()
    pretend.run()
    assert (folder / "results.json").is_file() and (folder / "metrics.csv").read_text().count("val/loss") == FULL


@pytest.mark.slow
def test_a_training_that_is_always_killed_has_failed(pretend, monkeypatch):
    monkeypatch.setenv("PRETEND_HOLD_ABOVE", "0.02")
    process = pretend.start(parameters={"optimizer.lr": {"values": [0.03]}})
    for number in (1, 2):
        pretend.wait_for("holds", number)
        os.kill(children_of(process.pid)[0], signal.SIGKILL)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert pretend.rates() == [None, 0.03, 0.03]
    assert "run 1: failed: ended by signal 9" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)], ids=str)
def test_stopped_it_stops_its_trainings(pretend, monkeypatch, number):
    monkeypatch.setenv("PRETEND_HOLD_ABOVE", "0")
    process = pretend.start("agents=2")
    pretend.wait_for("holds", 2)
    process.send_signal(number)
    said, _ = process.communicate()
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("mixit: stopped; ")
    assert len(pretend.notes("stopped")) == 2


def test_a_run_that_falls_behind_is_stopped_and_stays_so(pretend, monkeypatch, capsys):
    monkeypatch.setenv("PRETEND_HOLD_ABOVE", "0.2")  # held until they are stopped
    changes = {
        "early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 2},
        "parameters": {"optimizer.lr": {"values": [0.003, 0.3, 0.4]}},
    }
    folder = pretend.run(**changes)
    rows = rows_of(folder)
    assert [row["state"] for row in rows] == ["finished", "finished", "pruned", "pruned"]
    assert [int(row["iterations"]) for row in rows] == [FULL, FULL, 3, 3]
    assert rows[2]["value"] != ""
    assert pretend.rates("stopped") == [0.3, 0.4]
    record = json.loads((folder / "sweep.json").read_text())
    assert record["counts"] == {"finished": 1, "pruned": 2, "failed": 0, "not finished": 0}
    assert "run 2: pruned: behind the best at iteration 3" in capsys.readouterr().out
    pretend.run(**changes)
    assert len(pretend.rates()) == 4
    # What is known of the sweep is lost: a run that has fallen behind is not even started.
    (folder / "journal.log").unlink()
    pretend.run(**changes)
    assert len(pretend.rates()) == 4
    assert [row["state"] for row in rows_of(folder)] == ["finished", "finished", "pruned", "pruned"]


def test_a_run_at_its_last_step_is_not_stopped(pretend, monkeypatch):
    monkeypatch.setenv("PRETEND_HOLD_ABOVE", "0.2")
    words = ["trainer.max_steps=30"]  # as if the third of the validations were the last
    threading.Timer(1.5, pretend.go).start()  # after many looks of the engine
    changes = {"early_terminate": {"type": "hyperband", "min_iter": 3}}
    folder = pretend.run(*words, parameters={"optimizer.lr": {"values": [0.3]}}, **changes)
    assert pretend.rates("stopped") == []
    assert rows_of(folder)[1]["state"] == "finished"


def test_a_failing_run_is_recorded_and_the_sweep_goes_on(pretend):
    folder = pretend.run(parameters={"optimizer.lr": {"values": [5.0, 1.0, 0.003]}})
    rows = rows_of(folder)
    assert [row["state"] for row in rows] == ["finished", "failed", "failed", "finished"]
    assert rows[1]["reason"] == "the loss is not finite at step 3; lower optimizer.lr"
    assert rows[2]["reason"] == "val/loss was not logged; there are: train/loss"
    assert rows[1]["value"] == ""
    pretend.run(parameters={"optimizer.lr": {"values": [5.0, 1.0, 0.003]}})
    assert len(pretend.rates()) == 4


def test_it_fails_where_all_runs_fail(pretend):
    with pytest.raises(UserError, match=r"all runs failed, the last one so: the loss is not finite.*logs"):
        pretend.run("optimizer.lr=9", parameters={"optimizer.lr": {"values": [5.0]}})


def test_a_metric_that_is_not_logged_is_found_at_the_default(pretend):
    with pytest.raises(UserError, match=r"metric\.name: val/los was not logged; there are: val/loss"):
        pretend.run(metric={"name": "val/los", "goal": "minimize"})
    assert pretend.rates() == [None]


def test_two_engines_do_not_run_one_sweep(pretend):
    changes = {"parameters": {"optimizer.lr": {"values": [0.003]}}}
    folder = pretend.run(**changes)
    with (
        local.locked(folder),
        pytest.raises(UserError, match=f"{folder}: this sweep is under way in process {os.getpid()}; wait, or stop it"),
    ):
        pretend.run(**changes)
    pretend.run(**changes)


def test_several_at_a_time_share_the_processors_and_never_a_folder(pretend, monkeypatch):
    monkeypatch.setenv("PRETEND_MEET", "1")  # the default waits for another run
    monkeypatch.setattr(local, "num_cores", lambda: 6)
    monkeypatch.setattr(local, "visible_gpus", lambda: [])
    # The default's own number of outputs is one of the grid.
    folder = pretend.run(agents=2, parameters={"num_outputs": {"values": [4, 3, 5]}})
    assert len(pretend.notes()) == 3
    assert {note["threads"] for note in pretend.notes()} == {"3"}
    rows = rows_of(folder)
    assert [row["state"] for row in rows] == ["finished"] * 4
    assert rows[1]["folder"] == rows[0]["folder"]
    assert rows[1]["value"] == rows[0]["value"]
    assert len({row["folder"] for row in rows}) == 3


def test_threads_that_were_given_are_left_alone_and_gpus_are_shared_out(pretend, monkeypatch):
    monkeypatch.setenv("PRETEND_MEET", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setattr(local, "visible_gpus", lambda: ["7", "8"])
    pretend.run(agents=2, parameters={"optimizer.lr": {"values": [0.003]}})
    assert {note["threads"] for note in pretend.notes()} == {"5"}
    assert {note["gpu"] for note in pretend.notes()} == {"7", "8"}


def test_it_ends_where_there_is_nothing_new(pretend, capsys, monkeypatch):
    monkeypatch.setattr(local, "MAX_REPEATS", 6)
    pretend.run(method="random", run_cap=9, parameters={"num_outputs": {"min": 3, "max": 4}})
    assert len(pretend.notes()) == 2  # four outputs are the default's
    assert "there is nothing new to try" in capsys.readouterr().out


def test_runs_are_capped_and_a_target_ends_it(pretend):
    assert len(rows_of(pretend.run(run_cap=2))) == 3
    assert len(rows_of(pretend.run(count=1, run_cap=2))) == 3  # known ones stay
    metric = {"name": "val/loss", "goal": "minimize", "target": 0.13}
    assert len(rows_of(pretend.run(metric=metric))) == 3
    with pytest.raises(UserError, match="would never end; give count=N"):
        pretend.run(method="random")


def test_what_a_killed_engine_left_in_the_journal_is_mended(pretend):
    ranged = {"method": "random", "parameters": {"optimizer.lr": {"min": 0.001, "max": 0.9}}}
    folder = pretend.run(count=1, **ranged)
    journal = folder / "journal.log"
    local.open_study(journal, "minimize").ask()  # a run that was begun, and nothing said of it
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,')
    journal.with_name("journal.log.lock").symlink_to(journal)
    start = time.monotonic()
    for _ in range(2):  # what is written after half a line is read again
        pretend.run(count=2, **ranged)
    assert time.monotonic() - start < 25  # Optuna waits 30 s for a lock
    assert len(pretend.rates()) == 3
    assert [row["run"] for row in rows_of(folder)] == ["default", "run 1", "run 2"]


@pytest.mark.parametrize("case", GOLDEN["parameters"], ids=lambda case: json.dumps(case["specification"]))
def test_values_are_drawn_as_wandb_draws_them(case):
    specification = case["specification"]
    config = {"name": "x", "method": "random", "parameters": {"a": specification}}
    if case["distribution"] in ("normal", "categorical_w_probabilities"):
        with pytest.raises(UserError, match=f"parameters.a: {case['distribution']} is for engine=wandb alone"):
            space(config)
        return
    drawn = space(config)
    if "quantiles" not in case:
        assert (case["distribution"] == "constant") == (not drawn)
        return
    values = draws(specification, drawn["a"])
    for share, quantile in zip((0.05, 0.3, 0.5, 0.8, 0.95), case["quantiles"], strict=True):
        # W&B's value of that share must be where the share of our draws is: at, and not below, its place.
        assert sum(value < quantile * (1 - 1e-9) - 1e-9 for value in values) / len(values) < share + 0.04
        assert sum(value <= quantile * (1 + 1e-9) + 1e-9 for value in values) / len(values) > share - 0.04


def draws(specification, distribution, count=2000):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    values = [study.ask({"a": distribution}).params["a"] for _ in range(count)]
    return [float(word_of("a", specification, value).partition("=")[2]) for value in values]


def test_a_grid_is_that_of_wandb():
    config = {"name": "x", "method": "grid", "parameters": GOLDEN["grid"]["parameters"]}
    drawn = space(config)
    points = [
        dict(zip(drawn, point, strict=True)) for point in itertools.product(*(of.choices for of in drawn.values()))
    ]
    ours = [[word_of(key, {}, point[key]) for key in drawn] for point in points]
    theirs = [[f"{key}={run[key]}" for key in drawn] for run in GOLDEN["grid"]["runs"]]
    assert ours == theirs


def test_the_bayesian_search_goes_where_the_loss_is_low():
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config = {"name": "x", "method": "bayes", "parameters": {"a": {"min": 0.0, "max": 10.0}}}
    study, drawn = optuna.create_study(), space(config)
    for number in range(30):
        study.sampler = sampler("bayes", 0, number)
        trial = study.ask(drawn)
        study.tell(trial, (trial.params["a"] - 7) ** 2)
    late = [trial.params["a"] for trial in study.trials[-10:]]
    assert sum(abs(value - 7) < 1.5 for value in late) >= 5


def test_gpus_that_may_be_seen(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert local.visible_gpus() == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert local.visible_gpus() == ["2", "5"]
