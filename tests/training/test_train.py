import csv
import errno
import json
import os
import shutil

import pandas as pd
import pytest
import soundfile
import torch
from lightning.pytorch.loops.fit_loop import _FitLoop

from mixit_lightning import config as config_module
from mixit_lightning.cli import main
from mixit_lightning.config import ROOT
from mixit_lightning.errors import UserError
from mixit_lightning.files import CannotWrite
from mixit_lightning.inference import Separator
from mixit_lightning.training.checkpoints import AtomicCheckpointIO, load_checkpoint
from mixit_lightning.training.csv_logger import CurvesLogger
from mixit_lightning.training.evaluate import evaluate
from mixit_lightning.training.train import train
from mixit_lightning.training.trainers import build_all, build_trainer

from ..helpers.small import TINY

STEPS = ["trainer.max_steps=12", "datamodule.steps_per_epoch=4"]


def weights(folder):
    return load_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]


def rows_of(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


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
    losses = {int(row["step"]): float(row["value"]) for row in rows_of(folder) if row["metric"] == "val/loss"}
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


@pytest.mark.parametrize("damage", ["cut off", "missing"])
def test_a_run_whose_last_checkpoint_is_damaged_resumes_from_the_one_before(tiny, capsys, damage):
    folder = train(tiny(*STEPS))
    unbroken = weights(folder)
    last, previous = (folder / "checkpoints" / f"{name}.ckpt" for name in ("last", "previous"))
    assert load_checkpoint(previous)["global_step"] == 8
    (folder / "training.json").unlink()
    if damage == "missing":
        last.unlink()
    else:
        last.write_bytes(last.read_bytes()[:-1000])
    train(tiny(*STEPS))
    assert ("resuming from previous.ckpt" in capsys.readouterr().out) == (damage == "cut off")
    assert_same_weights(unbroken, weights(folder))
    assert [row["step"] for row in rows_of(folder) if row["metric"] == "train/loss"] == [str(n) for n in range(1, 13)]


class Killed(BaseException):
    """As if nothing came after it."""


def test_a_damaged_checkpoint_is_set_aside_so_that_the_good_one_is_kept(tiny, monkeypatch):
    """Else the first new one would push it over the only good one, and a kill right then leave none."""
    folder = train(tiny(*STEPS)) / "checkpoints"
    (folder.parent / "training.json").unlink()
    (folder / "last.ckpt").write_bytes(b"damaged")
    replace = os.replace

    def kill(partial, path):
        if str(path).endswith("last.ckpt"):
            raise Killed
        replace(partial, path)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", kill)
        train(tiny(*STEPS))
    assert load_checkpoint(folder / "previous.ckpt")["global_step"] == 8
    train(tiny(*STEPS))
    assert load_checkpoint(folder / "last.ckpt")["global_step"] == 12
    assert (folder / "last.damaged").read_bytes() == b"damaged"


def test_a_checkpoint_is_not_blamed_for_what_comes_after_it(tiny, monkeypatch):
    folder = train(tiny(*STEPS))
    (folder / "training.json").unlink()

    def fail(loop):
        raise ValueError("nothing to load")

    monkeypatch.setattr(_FitLoop, "setup_data", fail)
    with pytest.raises(UserError, match=r"last\.ckpt: .*nothing to load"):
        train(tiny(*STEPS))


@pytest.mark.parametrize("accumulated", [3, 8])
def test_epochs_that_end_between_two_steps_are_refused(tiny, accumulated):
    with pytest.raises(UserError, match=f"accumulate_grad_batches={accumulated}.* datamodule.steps_per_epoch=4"):
        train(tiny(*STEPS, f"+trainer.accumulate_grad_batches={accumulated}"))


def test_a_full_disk_is_explained_and_leaves_what_was_saved_before(tmp_path, monkeypatch):
    checkpoints = AtomicCheckpointIO({})
    for step in (1, 2):
        checkpoints.save_checkpoint({"state_dict": {}, "global_step": step}, tmp_path / "last.ckpt")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotWrite, match=r"last\.ckpt"):
        checkpoints.save_checkpoint({"state_dict": {}, "global_step": 3}, tmp_path / "last.ckpt")
    assert load_checkpoint(tmp_path / "last.ckpt")["global_step"] == 2
    assert load_checkpoint(tmp_path / "previous.ckpt")["global_step"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.ckpt", "previous.ckpt"]


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
    with pytest.raises(UserError, match=r"best\.ckpt"):
        evaluate(tiny(*STEPS, "num_outputs=3", f"checkpoint={folder / 'checkpoints' / 'best.ckpt'}"))


def test_results_replace_nothing_of_somebody_else(tiny, tmp_path):
    folder = train(tiny(*STEPS))
    mine = tmp_path / "mine" / "examples" / "mine.wav"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    words = [*STEPS, f"hydra.run.dir={tmp_path / 'mine'}", f"checkpoint={folder / 'checkpoints' / 'best.ckpt'}"]
    with pytest.raises(UserError, match="examples"):
        evaluate(tiny(*words))
    assert [path for path in (tmp_path / "mine").rglob("*") if path.is_file()] == [mine]


def test_evaluating_before_training_is_explained(capsys, tmp_path):
    assert main(["evaluate", *TINY, f"runs={tmp_path}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "best.ckpt" in line


def test_weights_and_biases_offline(tiny, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    folder = train(tiny(*STEPS, "logger=wandb", "logger.offline=true"))
    assert list(folder.rglob("*.wandb"))
    assert (folder / "metrics.csv").exists()


def test_parts_that_a_user_gives_the_trainer_come_beside_our_own(tiny, tmp_path):
    stopping = "{_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: train/loss}"
    board = f"{{_target_: lightning.pytorch.loggers.CSVLogger, save_dir: {tmp_path}}}"
    io = "{_target_: lightning.pytorch.plugins.io.AsyncCheckpointIO}"
    config = tiny(f"+trainer.callbacks=[{stopping}]", f"+trainer.logger={board}", "+trainer.max_time=00:00:01:00")
    trainer = build_trainer(config, [CurvesLogger(tmp_path / "metrics.csv", lambda: 0)], {})
    names = [type(part).__name__ for part in trainer.callbacks]
    assert {"EarlyStopping", "EpochLines", "Stopping", "Timer"} <= set(names) and "LastCheckpoint" in names
    assert [type(part).__name__ for part in trainer.loggers] == ["CurvesLogger", "CSVLogger"]
    assert [type(part).__name__ for part in build_all(tiny(f"+trainer.plugins={io}").settings, "trainer.plugins")] == [
        "AsyncCheckpointIO"
    ]


@pytest.mark.parametrize("word", ["+trainer.callbacks=stop", "+trainer.callbacks=[1]"])
def test_what_is_no_part_of_a_trainer_is_refused(tiny, word):
    with pytest.raises(UserError, match=r"trainer\.\w+"):
        build_trainer(tiny(word), [], {})


def test_groups_that_users_of_lightning_and_hydra_expect(tiny, tmp_path):
    folder = train(tiny(*STEPS, "callbacks=early_stopping", "callbacks.early_stopping.patience=1", "optimizer.lr=0"))
    steps = [int(row["step"]) for row in rows_of(folder) if row["metric"] == "val/loss"]
    assert steps == [4, 8]  # nothing improves without a learning rate
    assert "callbacks" not in tiny().plain()  # what is not there makes a run no other one


def test_a_network_of_the_users_own_package(tiny, tmp_path, monkeypatch):
    code = "import torch\nclass Net(torch.nn.Module):\n    def __init__(self, num_outputs, **_):\n"
    code += "        super().__init__()\n        self.gains = torch.nn.Parameter(torch.arange(num_outputs) / 9)\n"
    code += "    def forward(self, mixture):\n        return mixture[:, None] * self.gains.softmax(0)[:, None]\n"
    (tmp_path / "my_package.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    words = ["separator._target_=my_package.Net", *STEPS]
    state = load_checkpoint(train(tiny(*words)) / "checkpoints" / "last.ckpt")["state_dict"]
    assert state["separator.gains"].shape == (4,)
    assert evaluate(tiny(*words)).joinpath("results.json").is_file()


def test_tensorboard_beside_our_own_curves(tiny):
    pytest.importorskip("tensorboard")
    folder = train(tiny(*STEPS, "logger=tensorboard"))
    assert list((folder / "tensorboard").glob("events.*")) and rows_of(folder)


def test_a_batch_can_be_learnt_by_heart_and_a_profile_is_written(tiny):
    folder = train(tiny("debug=overfit", "trainer.max_steps=40", "datamodule.steps_per_epoch=20", "optimizer.lr=1e-2"))
    losses = [float(row["value"]) for row in rows_of(folder) if row["metric"] == "train/loss"]
    assert sum(losses[-5:]) < sum(losses[:5]) - 5
    folder = train(tiny("debug=profiler", *STEPS))
    assert "run_training_batch" in (folder / "fit-profile.txt").read_text()


def test_an_experiment_is_a_file_of_settings(tiny, monkeypatch, tmp_path):
    conf = tmp_path / "conf"
    shutil.copytree(ROOT / "conf", conf)
    lines = ["# @package _global_", "defaults:", "  - override /objective: pit", "optimizer:", "  lr: 0.5"]
    (conf / "experiment" / "mine.yaml").write_text("\n".join(lines))
    monkeypatch.setattr(config_module, "CONF", conf)
    settings = tiny("experiment=mine").settings
    assert settings.optimizer.lr == 0.5 and settings.objective.labelled_share == 1.0
    with pytest.raises(UserError, match="mine"):
        tiny("experiment=mime")


def test_a_users_own_checkpoints_beside_ours(tiny, tmp_path):
    saving = f"{{_target_: lightning.pytorch.callbacks.ModelCheckpoint, dirpath: {tmp_path}, filename: mine}}"
    folder = train(tiny(*STEPS, f"+callbacks.mine={saving}"))
    assert (tmp_path / "mine.ckpt").is_file() and (folder / "checkpoints" / "last.ckpt").is_file()


def test_parts_of_a_trainer_that_do_not_go_together_are_named(tiny):
    with pytest.raises(UserError, match=r"^trainer: "):
        build_trainer(tiny("+trainer.plugins={_target_: lightning.pytorch.plugins.io.AsyncCheckpointIO}"), [], {})
