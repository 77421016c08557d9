import csv
import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import soundfile
import torch

from mixit_lightning.cli import main
from mixit_lightning.errors import UserError
from mixit_lightning.separation import Separator
from mixit_lightning.training.checkpoints import load_checkpoint
from mixit_lightning.training.evaluate import evaluate
from mixit_lightning.training.train import train

from .conftest import TINY

STEPS = ["trainer.max_steps=12", "datamodule.steps_per_epoch=4"]


def weights(folder):
    return load_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_checkpoints_are_plain_and_complete(tiny):
    folder = train(tiny(*STEPS))
    for name in ("best", "last"):
        checkpoint = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert checkpoint["optimizer_states"]
    assert not list(folder.rglob("*.partial"))
    assert load_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"] == 12
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = {int(row["step"]): float(row["value"]) for row in rows if row["metric"] == "val/loss"}
    assert sorted(losses) == [4, 8, 12]
    best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["global_step"] == min(losses, key=losses.get)


def test_a_checkpoint_says_by_itself_what_it_is(tiny, tmp_path):
    config = tiny(*STEPS, "data_licence=CC0-1.0", "num_outputs=3")
    folder = train(config)
    path = (folder / "checkpoints" / "best.ckpt").rename(tmp_path / "sent.ckpt")
    state = torch.load(path, weights_only=True)
    assert state["settings"]["data_licence"] == "CC0-1.0"
    assert (state["settings"]["sample_rate"], state["settings"]["num_outputs"]) == (8000, 3)
    assert state["provenance"].keys() == {"commit", "versions", "hardware"}
    assert state["global_step"] > 0
    outputs = Separator.from_checkpoint(path).separate(torch.randn(4000), 8000)
    assert outputs.shape == (3, 4000)


def test_the_same_command_gives_the_same_weights_and_another_seed_others(tiny):
    first = weights(train(tiny(*STEPS)))
    assert_same_weights(first, weights(train(tiny(*STEPS, "note=again"))))
    other = weights(train(tiny(*STEPS, "seed=1")))
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_loading_processes_change_nothing(tiny, tmp_path):
    alone = weights(train(tiny(*STEPS)))
    many = weights(train(tiny(*STEPS, "datamodule.num_workers=2", f"runs={tmp_path / 'many'}")))
    assert_same_weights(alone, many)


@pytest.mark.parametrize("objective", ["mixit", "semi-supervised"])
def test_a_run_killed_in_an_epoch_ends_with_the_weights_of_an_unbroken_one(tiny, tmp_path, objective):
    steps = ["trainer.max_steps=90", "datamodule.steps_per_epoch=30", f"objective={objective}"]
    unbroken = weights(train(tiny(*steps)))
    words = [*TINY, *steps, f"runs={tmp_path / 'killed'}"]
    command = [sys.executable, "-m", "mixit_lightning.cli", "train", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        # In the middle of the second epoch: 30 steps are in last.ckpt, some more are lost.
        if any("\n40," in curves.read_text() for curves in (tmp_path / "killed").rglob("metrics.csv")):
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL
    folder = next((tmp_path / "killed" / "synthetic").iterdir())
    assert load_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"] in (30, 60)
    killed = train(tiny(*steps, f"runs={tmp_path / 'killed'}"))
    assert killed == folder
    assert_same_weights(unbroken, weights(killed))
    logged = [row["step"] for row in csv.DictReader((folder / "metrics.csv").open()) if row["metric"] == "train/loss"]
    assert logged == [str(step) for step in range(1, 91)]


def test_a_finished_run_is_not_trained_again(tiny, capsys):
    folder = train(tiny(*STEPS))
    before = (folder / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    train(tiny(*STEPS))
    assert "finished" in capsys.readouterr().out
    assert (folder / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


def test_results_say_what_they_rest_on(tiny):
    config = tiny(*STEPS, "note=a test")
    train(config)
    folder = evaluate(config)
    record = json.loads((folder / "results.json").read_text())
    rows = pd.read_csv(folder / "examples.csv")
    assert len(rows) == record["num_examples"] == 7
    assert record["num_examples_by_sources"] == {"1": 2, "2": 5}
    assert record["metrics"]["si_snri"] == pytest.approx(rows.si_snri.mean(), abs=1e-3)
    assert record["metrics"]["msi"] == pytest.approx(rows.si_snri.mean(), abs=1e-3)
    assert record["metrics"]["one_source"] == pytest.approx(rows.one_source.mean(), abs=1e-3)
    assert record["metrics"]["momi"] == pytest.approx(rows.momi.mean(), abs=1e-3)
    assert rows.si_snri.notna().sum() == 5
    for key in ("seed", "commit", "versions", "hardware", "wall_time", "selection_rule"):
        assert record[key] is not None
    assert "val/loss" in record["selection_rule"]
    assert record["note"] == "a test"


def test_kept_examples_are_what_the_network_gives(tiny):
    config = tiny(*STEPS)
    train(config)
    folder = evaluate(config)
    entries = json.loads((folder / "examples" / "examples.json").read_text())
    assert {entry["why"] for entry in entries} >= {"worst", "best", "one source, worst"}
    table = pd.read_csv(folder / "examples.csv")
    worst = next(entry for entry in entries if entry["why"] == "worst")
    assert worst["metrics"]["si_snri"] == pytest.approx(table.si_snri.min(), abs=1e-3)
    place = folder / "examples" / worst["folder"]
    mixture, rate = soundfile.read(place / "mixture.wav")
    outputs = sum(soundfile.read(place / f"output_{number}.wav")[0] for number in range(1, 5))
    assert rate == 8000
    assert abs(outputs - mixture).max() < 1e-3  # mixture consistency, to 16 bits


def test_a_checkpoint_of_another_network_is_refused(tiny):
    folder = train(tiny(*STEPS))
    with pytest.raises(UserError, match=r"best\.ckpt: holds another network"):
        evaluate(tiny(*STEPS, "num_outputs=3", f"checkpoint={folder / 'checkpoints' / 'best.ckpt'}"))


def test_evaluating_before_training_is_explained(capsys, tmp_path):
    assert main(["evaluate", *TINY, f"runs={tmp_path}"]) == 1
    message = capsys.readouterr().err
    assert "no such checkpoint; train first" in message
    assert len(message.splitlines()) == 1


def test_weights_and_biases_offline(tiny, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    folder = train(tiny(*STEPS, "logger=wandb", "logger.offline=true"))
    assert list(folder.rglob("*.wandb"))
    assert (folder / "metrics.csv").exists()
