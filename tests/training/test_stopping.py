"""Being asked to stop at awkward moments."""

import os
import signal
import subprocess
import sys

import pytest

from mixit_lightning.cli import main
from mixit_lightning.config import load_config
from mixit_lightning.training.checkpoints import load_checkpoint
from mixit_lightning.training.module import SeparationModule

from ..helpers.small import TINY

STEPS = ["trainer.max_steps=8", "datamodule.steps_per_epoch=4"]


@pytest.fixture
def words(tmp_path):
    return [*TINY, *STEPS, f"runs={tmp_path / 'runs'}"]


def test_during_the_last_validation_it_stops_before_the_evaluation(words, monkeypatch, capsys):
    folder = load_config(words).folder
    validate = SeparationModule.on_validation_epoch_end

    def asked(module):
        if module.global_step == 8:
            os.kill(os.getpid(), signal.SIGTERM)
        return validate(module)

    with monkeypatch.context() as patch:
        patch.setattr(SeparationModule, "on_validation_epoch_end", asked)
        assert main(["train", *words]) == 75
    assert "mixit: stopped by SIGTERM; " in capsys.readouterr().err
    assert load_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"] == 8
    assert (folder / "training.json").is_file() and not (folder / "results.json").exists()
    assert main(["train", *words]) == 0
    assert (folder / "results.json").is_file()


def test_in_training_it_is_our_handler_that_hears_of_it(words, monkeypatch):
    """Lightning's would meet the other processes in the middle of anything."""
    handlers = []
    step = SeparationModule.training_step

    def seen(module, *batch):
        handlers.append(signal.getsignal(signal.SIGTERM))
        return step(module, *batch)

    monkeypatch.setattr(SeparationModule, "training_step", seen)
    assert main(["train", *words]) == 0
    assert {handler.__qualname__ for handler in handlers} == {"StopRequest.note"}


def test_in_a_run_without_a_last_step_it_stops_between_two(words, monkeypatch):
    endless = [word for word in words if "max_steps" not in word] + ["trainer.max_steps=-1"]
    step = SeparationModule.training_step

    def asked(module, *batch):
        if module.global_step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(module, *batch)

    monkeypatch.setattr(SeparationModule, "training_step", asked)
    assert main(["train", *endless]) == 75
    assert load_checkpoint(load_config(endless).folder / "checkpoints" / "last.ckpt")["global_step"] == 6


@pytest.mark.parametrize("bar", ["true", "false"])
def test_a_pipe_whose_reader_ctrl_c_has_ended_too_does_not_lose_the_step(words, bar):
    command = [sys.executable, "-m", "mixit_lightning.cli", "train", *words, "trainer.max_steps=100000"]
    command += ["datamodule.steps_per_epoch=1000", f"trainer.enable_progress_bar={bar}"]
    folder = load_config(command[4:]).folder
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not (folder / "metrics.csv").exists() or "\n20," not in (folder / "metrics.csv").read_text():
            assert process.poll() is None, process.communicate()
        process.stdout.close()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert b"mixit: stopped by SIGINT" in said and b"Traceback" not in said
    assert load_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"] >= 20
