import io
import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import soundfile
from PIL import Image

from mixit_lightning.cli import main
from mixit_lightning.config import load_config
from mixit_lightning.errors import UserError
from mixit_lightning.interrupts import Stopped, stoppable
from mixit_lightning.training.evaluate import evaluate
from mixit_lightning.training.train import train
from mixit_lightning.training.wandb_logger import dashboard_of

from ..helpers.small import TINY

STEPS = [
    "trainer.max_steps=6",
    "datamodule.steps_per_epoch=2",
    "trainer.enable_progress_bar=false",
    "datamodule.validation_counts=[1,2]",
    "datamodule.test_counts=[1,2]",
]


def curves_of(folder):
    """Values by step and metric."""
    rows = pd.read_csv(folder / "metrics.csv")
    return {step: dict(zip(part.metric, part.value, strict=True)) for step, part in rows.groupby("step")}


def assert_history_is_that_of(folder, run):
    curves = curves_of(folder)
    assert [row["_step"] for row in run.history] == [row["step"] for row in run.history] == sorted(curves)
    for row in run.history:
        values = {name: row[name] for name in row if name.startswith(("train/", "val/"))}
        assert values == curves[row["step"]]


def test_a_run_arrives_whole_and_is_evaluated_again_as_the_same_run(wandb_server, tmp_path):
    words = [*TINY, *STEPS, "logger=wandb", "logger.project=separation", f"runs={tmp_path / 'runs'}"]
    assert main(["train", *words]) == 0
    (folder,) = (tmp_path / "runs" / "synthetic").iterdir()
    (run,) = wandb_server.runs.values()
    assert (run.project, run.exit_code, run.resumed) == ("separation", 0, 0)
    assert (run.about["groupName"], run.about["displayName"]) == ("synthetic", folder.name)
    assert_history_is_that_of(folder, run)
    hours = [row["hours"] for row in run.history]
    assert hours == sorted(hours) and 0 < hours[-1] < 0.1
    assert (run.axes["train/*"], run.axes["val/*"]) == ("step", "step")

    results = json.loads((folder / "results.json").read_text())
    metrics = {f"test/{name}": value for name, value in results["metrics"].items() if value is not None}
    tables = {"test/examples", "test/sounds"}
    assert metrics and metrics.keys() | tables == {name for name in run.summary if name.startswith("test/")}
    assert {name: run.summary[name] for name in metrics} == metrics
    for key in ("num_examples", "commit", "selection_rule"):
        assert run.summary[key] == results[key]
    assert run.summary["val/loss"] == curves_of(folder)[6]["val/loss"]
    assert run.config["optimizer"]["lr"] == 2e-3 and run.config["recipe"] == "synthetic"
    assert (run.config["objective_name"], run.config["separator_name"]) == ("mixit", "tdcnpp-small")
    assert "logger" not in run.config

    evaluate(load_config(words))
    assert list(wandb_server.runs.values()) == [run]
    assert (run.exit_code, run.resumed) == (0, 1)
    assert_history_is_that_of(folder, run)
    assert_tables_are_those_of(folder, run, wandb_server)


def assert_tables_are_those_of(folder, run, server):
    examples, _ = server.table(run, "test/examples")
    expected = pd.read_csv(folder / "examples.csv")
    assert examples["columns"] == list(expected.columns)
    assert [row[0] for row in examples["data"]] == list(expected.name)

    sounds, files = server.table(run, "test/sounds")
    kept = json.loads((folder / "examples" / "examples.json").read_text())
    place = {name: number for number, name in enumerate(sounds["columns"])}
    for entry in kept:
        rows = [row for row in sounds["data"] if row[0] == entry["name"]]
        assert len(rows) == len(list((folder / "examples" / entry["folder"]).glob("*.wav")))
        assert rows[0][place["sound"]] == "Mixture"
        references = [row for row in rows if row[place["sound"]].startswith("Reference")]
        matched = [row for row in rows if "matched to Reference" in row[place["sound"]]]
        assert (len(references), len(matched)) == (len(entry["matched"]),) * 2
        sent, rate = soundfile.read(io.BytesIO(files[rows[0][place["audio"]]["path"]]))
        written, written_rate = soundfile.read(folder / "examples" / entry["folder"] / "mixture.wav")
        assert rate == written_rate and sent == pytest.approx(written, abs=2e-4)
        picture = Image.open(io.BytesIO(files[rows[0][place["spectrogram"]]["path"]]))
        assert picture.size[0] > 10 and picture.size[1] > 10


@pytest.mark.slow
def test_a_killed_run_goes_on_as_the_same_run_with_every_step(wandb_server, tiny, tmp_path):
    words = ["trainer.max_steps=30", "datamodule.steps_per_epoch=10", "logger=wandb", f"runs={tmp_path / 'killed'}"]
    command = [sys.executable, "-m", "mixit_lightning.cli", "train", *TINY, *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if any("\n15," in curves.read_text() for curves in (tmp_path / "killed").rglob("metrics.csv")):
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL
    (run,) = wandb_server.runs.values()
    assert run.exit_code is None and len(run.history) < 30
    folder = train(tiny(*words))
    assert list(wandb_server.runs.values()) == [run]
    assert (run.exit_code, run.resumed) == (0, 1)
    assert sorted(curves_of(folder)) == list(range(1, 31))
    assert_history_is_that_of(folder, run)


def test_what_a_stopped_run_had_sent_is_not_sent_again_and_only_whole_rows_are(wandb_server, tiny, monkeypatch):
    config = tiny("logger=wandb")
    config.folder.mkdir(parents=True)

    def train_from(dashboard, steps):
        for step in steps:
            dashboard.add(step, 3600 * step, {"train/loss": float(step)})
            dashboard.add(step, 3600 * step, {"val/loss": -float(step)})

    with pytest.raises(UserError), dashboard_of(config) as dashboard:
        train_from(dashboard, range(1, 9))
        dashboard.add(9, 9 * 3600, {"train/loss": 9.0})
        raise UserError("stopped before step 9 was validated")
    (run,) = wandb_server.runs.values()
    assert [row["step"] for row in run.history] == list(range(1, 9))

    sent = []
    with dashboard_of(config) as dashboard:
        log = dashboard.experiment.log
        monkeypatch.setattr(dashboard.experiment, "log", lambda row, step: (sent.append(step), log(row, step=step)))
        train_from(dashboard, range(5, 11))  # from a checkpoint of step 4
    assert sent == [9, 10]
    assert [row["step"] for row in run.history] == list(range(1, 11))
    assert all(row["hours"] == row["train/loss"] == -row["val/loss"] == row["_step"] for row in run.history)


def test_offline_files_hold_the_whole_run_in_every_session(wandb_server, tiny):
    config = tiny(*STEPS, "logger=wandb", "logger.offline=true")
    folder = train(config)
    evaluate(config)
    assert not wandb_server.runs
    sessions = sorted(path for path in folder.glob("wandb/offline-run-*") if path.is_dir())
    assert len(sessions) == 2
    command = [sys.executable, "-m", "wandb", "sync", str(sessions[-1])]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (run,) = wandb_server.runs.values()
    assert run.id == (folder / "wandb-run-id.txt").read_text().strip()
    assert (run.project, run.exit_code) == ("mixit-lightning", 0)
    assert_history_is_that_of(folder, run)
    assert_tables_are_those_of(folder, run, wandb_server)


def test_a_folder_that_was_moved_away_starts_another_run_and_an_agent_says_which(
    wandb_server, tiny, monkeypatch, capfd
):
    config = tiny("logger=wandb")
    config.folder.mkdir(parents=True)
    with dashboard_of(config) as dashboard:
        first = dashboard.experiment.id
    config.folder.rename(config.folder.with_name("away"))
    config.folder.mkdir()
    with dashboard_of(config) as dashboard:
        second = dashboard.experiment.id
    assert list(wandb_server.runs) == [first, second]
    sys.modules["wandb"].teardown()
    for name, value in {"SWEEP_ID": "sweep", "RUN_ID": "third", "PROJECT": "sweeps", "SILENT": "false"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    with dashboard_of(config) as dashboard:
        assert dashboard.experiment.id == "third"
    assert "Ignoring" not in capfd.readouterr().err
    assert (config.folder / "wandb-run-id.txt").read_text() == "third\n"
    run = wandb_server.runs["third"]
    assert (run.project, run.about["sweep"]) == ("sweeps", "sweep")


def end(how):
    if how == "mistake":
        raise UserError("a mistake")
    if how == "sigterm":
        os.kill(os.getpid(), signal.SIGTERM)
    if how == "ctrl-c":
        raise KeyboardInterrupt


@pytest.mark.parametrize(("how", "code"), [("mistake", 1), ("sigterm", 75), ("ctrl-c", 130)])
def test_a_run_that_does_not_end_well_is_finished_with_its_exit_code(wandb_server, tiny, how, code):
    config = tiny("logger=wandb")
    config.folder.mkdir(parents=True)
    before = signal.getsignal(signal.SIGTERM)
    stops = pytest.raises((UserError, Stopped, KeyboardInterrupt))
    with stops, stoppable(), dashboard_of(config) as dashboard:
        _ = dashboard.experiment
        assert next(iter(wandb_server.runs.values())).exit_code is None
        end(how)
    assert next(iter(wandb_server.runs.values())).exit_code == code
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("key", "message"), [(None, "No API key configured"), ("f" * 5, "invalid"), ("f" * 40, "no such key")]
)
def test_what_wandb_says_of_the_account_is_said_in_a_line(wandb_server, tmp_path, monkeypatch, capfd, key, message):
    monkeypatch.delenv("WANDB_API_KEY")
    if key is not None:
        monkeypatch.setenv("WANDB_API_KEY", key)
    assert main(["train", *TINY, "logger=wandb", f"runs={tmp_path / 'runs'}"]) == 1
    written = capfd.readouterr().err
    (line,) = [line for line in written.splitlines() if line.startswith("mixit:")]
    assert message in line and "logger.offline=true" in line and "Traceback" not in written


def test_another_logger_of_lightning_is_taken_as_it_is(tiny, tmp_path):
    logger = ["+logger._target_=lightning.pytorch.loggers.CSVLogger", f"+logger.save_dir={tmp_path / 'elsewhere'}"]
    train(tiny(*STEPS, *logger))
    (table,) = (tmp_path / "elsewhere").rglob("metrics.csv")
    assert "val/loss" in pd.read_csv(table).columns
