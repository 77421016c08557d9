import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from mixit_lightning.cli import main
from mixit_lightning.errors import UserError
from mixit_lightning.interrupts import STOPPED
from mixit_lightning.sweeps import local
from tests.helpers import pretended_training

COMMAND = [sys.executable, "-I", "-S", pretended_training.__file__]

ENGINE = """
import sys
from pathlib import Path
from mixit_lightning.interrupts import Stopped
from mixit_lightning.sweeps import local
local.POLL = 0.02
file, agents, command, *overrides = sys.argv[1:]
try:
    local.sweep(Path(file), overrides, agents=int(agents), command=command.split("|"))
except Stopped as stopped:
    sys.exit(stopped.status)
"""
"""A sweep as a process of its own, which can be killed."""

RANDOM = {"method": "random", "parameters": {"optimizer.lr": {"min": 0.001, "max": 0.9}}}


class Pretend:
    """Sweeps over pretended trainings, and what these note."""

    def __init__(self, folder):
        self.folder = folder
        self.overrides = [f"runs={folder / 'runs'}"]

    def write(self, **changes):
        content = {
            "method": "grid",
            "metric": {"name": "val/loss", "goal": "minimize"},
            "parameters": {"optimizer.lr": {"values": [0.03, 0.003, 0.3]}},
        }
        path = self.folder / "mine.yaml"
        path.write_text(json.dumps(content | changes))
        return path

    def run(self, *overrides, count=None, agents=1, **changes):
        return local.sweep(self.write(**changes), [*self.overrides, *overrides], count, agents, COMMAND)

    def start(self, agents=1, **changes):
        line = [sys.executable, "-c", ENGINE, self.write(**changes), str(agents), "|".join(COMMAND), *self.overrides]
        return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def notes(self, what="began"):
        path = self.folder / "notes"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if line["what"] == what]

    def rates(self, what="began"):
        return [note["rate"] for note in self.notes(what)]

    def wait_for(self, what, number):
        deadline = time.monotonic() + 60
        while len(self.notes(what)) < number:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def go(self):
        """Let those go on that were held."""
        (self.folder / "go").touch()


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "POLL", 0.02)
    monkeypatch.setenv("PRETEND_NOTES", str(tmp_path / "notes"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return Pretend(tmp_path)


def rows_of(folder):
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_trials_are_sorted_by_the_metric_and_none_is_repeated(pretend, capsys):
    folder = pretend.run("recipe=synthetic", "seed=3")
    assert folder.parent == pretend.folder / "runs" / "synthetic" / "sweeps"
    assert pretend.rates() == [0.03, 0.003, 0.3]
    rows = rows_of(folder)
    assert [(row["trial"], row["state"]) for row in rows] == [(name, "complete") for name in ("001", "000", "002")]
    assert [float(row["optimizer.lr"]) for row in rows] == [0.003, 0.03, 0.3]
    assert float(rows[0]["val/loss"]) == pytest.approx(1 / pretended_training.ITERATIONS, abs=1e-3)
    assert (folder / "trials.md").read_text().splitlines()[2] == "| 001 | complete | 0.1255 | 0.003 |  |"
    for name in ("optimization_history.png", "slice.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert f"mixit train {pretend.overrides[0]} recipe=synthetic seed=3 optimizer.lr=0.003" in capsys.readouterr().out
    assert pretend.notes()[0]["settings"]["seed"] == "3"
    assert pretend.run("recipe=synthetic", "seed=3") == folder
    assert len(pretend.rates()) == 3
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    assert len(optuna.load_study(storage=storage, study_name=None).trials) == 3  # none waits


def test_high_is_best_where_the_file_says_so(pretend):
    folder = pretend.run(metric={"name": "test/si_snri", "goal": "maximize"})
    assert [float(row["test/si_snri"]) for row in rows_of(folder)] == [3.0, 0.3, 0.03]


def test_a_sweep_is_continued_with_a_greater_count(pretend):
    first = pretend.run(count=2, **RANDOM)
    assert pretend.run(count=4, **RANDOM) == first
    assert pretend.run(count=3, **RANDOM) == first
    assert len(pretend.rates()) == len(set(pretend.rates())) == 4
    assert all(0.001 <= rate <= 0.9 for rate in pretend.rates())
    assert pretend.run("seed=1", count=1, **RANDOM) != first
    assert len(set(pretend.rates())) == 5


def test_the_seed_fixes_what_is_drawn(pretend):
    pretend.run(count=3, **RANDOM)
    pretend.overrides = [f"runs={pretend.folder / 'elsewhere'}"]
    pretend.run(count=3, **RANDOM)
    assert pretend.rates()[:3] == pretend.rates()[3:]


def test_fixed_settings_are_given_and_given_ones_are_not_swept(pretend):
    parameters = {"optimizer.lr": {"values": [0.03]}, "seed": {"value": 5}, "num_outputs": {"values": [2, 3]}}
    folder = pretend.run("num_outputs=4", parameters=parameters)
    (note,) = pretend.notes()
    assert [note["settings"][key] for key in ("optimizer.lr", "seed", "num_outputs")] == ["0.03", "5", "4"]
    assert note["settings"]["hydra.run.dir"] == str(folder / "000")


@pytest.mark.parametrize("with_training", [True, False], ids=["sweep and training", "sweep alone"])
def test_a_killed_sweep_resumes(pretend, monkeypatch, with_training):
    monkeypatch.setenv("PRETEND_HOLD_ABOVE", "0.02")
    first = pretend.start(method="random", run_cap=3, parameters=RANDOM["parameters"])
    pretend.wait_for("holds", 1)
    (held,) = pretend.notes("holds")
    before = pretend.rates()
    for process in [first.pid, *([held["pid"]] if with_training else [])]:
        os.kill(process, signal.SIGKILL)
    first.communicate()
    if not with_training:  # it is not started a second time while it lives
        with pytest.raises(UserError, match="is under way"):
            pretend.run(run_cap=3, **RANDOM)
        assert pretend.rates() == before
    pretend.go()
    while not with_training and Path(f"/proc/{held['pid']}").exists():
        time.sleep(0.02)
    folder = pretend.run(run_cap=3, **RANDOM)
    assert pretend.rates().count(held["rate"]) == 2  # the second time from where it was, or only to see that it is done
    assert len(pretend.rates()) == 4 and set(before) <= set(pretend.rates())
    assert [row["state"] for row in rows_of(folder)] == ["complete"] * 3
    assert {path.read_text().count("val/loss") for path in folder.glob("*/metrics.csv")} == {8}
    assert len(list(folder.glob("*/metrics.csv"))) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)], ids=str)
def test_a_stopped_sweep_stops_its_trainings_and_resumes(pretend, monkeypatch, number):
    monkeypatch.setenv("PRETEND_HOLD_ABOVE", "0")
    process = pretend.start(agents=2)
    pretend.wait_for("holds", 2)
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == (STOPPED if number == signal.SIGTERM else 130), said
    assert len(pretend.notes("stopped")) == 2
    pretend.go()
    folder = pretend.run()
    assert sorted(pretend.rates()) == [0.003, 0.003, 0.03, 0.03, 0.3]
    assert [row["state"] for row in rows_of(folder)] == ["complete"] * 3


def test_a_trial_that_falls_behind_is_pruned_and_stays_so(pretend, monkeypatch):
    monkeypatch.setenv("PRETEND_HOLD_ABOVE", "0.2")  # held until they are stopped
    changes = {
        "early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 2},
        "parameters": {"optimizer.lr": {"values": [0.003, 0.3, 0.4]}},
    }
    folder = pretend.run(**changes)
    assert sorted(row["state"] for row in rows_of(folder)) == ["complete", "pruned", "pruned"]
    assert pretend.rates("stopped") == [0.3, 0.4]
    pretend.run(**changes)
    assert len(pretend.rates()) == 3


def test_a_failing_trial_is_recorded_and_the_others_go_on(pretend, monkeypatch):
    monkeypatch.setenv("PRETEND_HOLD_ABOVE", "0.2")
    process = pretend.start(parameters={"optimizer.lr": {"values": [5.0, 0.4, 0.003]}})
    pretend.wait_for("holds", 1)
    os.kill(pretend.notes("holds")[0]["pid"], signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == 0, said
    (folder,) = (pretend.folder / "runs" / "synthetic" / "sweeps").iterdir()
    found = {row["optimizer.lr"]: (row["state"], row["error"]) for row in rows_of(folder)}
    assert found == {
        "5.0": ("fail", "the loss is not finite at step 3; lower optimizer.lr"),
        "0.4": ("fail", "killed by SIGKILL"),
        "0.003": ("complete", ""),
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": {"optimizer.lr": {"values": [5.0]}}}, "the loss is not finite"),
        ({"metric": {"name": "val/los", "goal": "minimize"}}, "val/los was not logged"),
    ],
)
def test_it_fails_where_all_trials_fail(pretend, changes, message):
    with pytest.raises(UserError, match=message):
        pretend.run(**changes)


def test_agents_train_side_by_side_and_share_the_machine(pretend, monkeypatch):
    monkeypatch.setenv("PRETEND_MEET", "2")
    monkeypatch.setattr(local, "visible_gpus", lambda: ["7", "8"])
    monkeypatch.setattr(local, "num_cores", lambda: 6)
    pretend.run(agents=2, parameters={"optimizer.lr": {"values": [0.1, 0.01, 0.001, 0.2, 0.02]}})
    assert sorted(pretend.rates()) == [0.001, 0.01, 0.02, 0.1, 0.2]
    assert {note["OMP_NUM_THREADS"] for note in pretend.notes()} == {"3"}
    assert {note["CUDA_VISIBLE_DEVICES"] for note in pretend.notes()[:2]} == {"7", "8"}


def test_mistakes_are_found_before_anything_runs(pretend, capsys):
    with pytest.raises(UserError, match="give count=N"):
        pretend.run(method="random")
    with pytest.raises(UserError, match=r"did you mean optimizer\.lr"):
        pretend.run(parameters={"optimizer.lrr": {"values": [0.1]}})
    assert not (pretend.folder / "runs").exists()
    for words in (["agents=0"], ["count=many"], ["sweep=nothing"], ["optimizer.lrr=1"]):
        assert main(["sweep", *words]) == 1
        assert words[0] in capsys.readouterr().err


def test_gpus_that_may_be_seen(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert local.visible_gpus() == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert local.visible_gpus() == ["2", "5"]


@pytest.mark.slow
def test_real_trainings_are_swept(tmp_path):
    """Killed while the second trains, the sweep resumes that run from its checkpoint."""
    path = tmp_path / "mine.yaml"
    space = {"optimizer.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}}
    content = {"method": "bayes", "metric": {"name": "val/loss", "goal": "minimize"}, "parameters": space}
    path.write_text(json.dumps(content))
    line = [sys.executable, "-m", "mixit_lightning.cli", "sweep", f"sweep={path}", "count=2"]
    line += ["debug=fast", "trainer.max_steps=40", "datamodule.test_counts=[2,5]", f"runs={tmp_path / 'runs'}"]
    first = subprocess.Popen(line, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 300
    while not (checkpoints := list(tmp_path.glob("runs/*/sweeps/*/001/checkpoints/last.ckpt"))):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    assert first.wait() == STOPPED
    folder = checkpoints[0].parents[2]
    assert len((folder / "000" / "metrics.csv").read_text().splitlines()) > 20
    assert (folder / "000" / "results.json").exists() and not (folder / "001" / "results.json").exists()
    written = (folder / "000" / "results.json").stat().st_mtime_ns
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    assert [row["state"] for row in rows_of(folder)] == ["complete", "complete"]
    assert (folder / "000" / "results.json").stat().st_mtime_ns == written
    with (folder / "001" / "metrics.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["metric"] == "val/loss"]
    assert steps == list(range(2, 41, 2))
