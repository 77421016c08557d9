import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mixit_lightning.cli import main


@pytest.fixture
def remote(monkeypatch):
    """Calls of the engine that asks W&B."""
    monkeypatch.setenv("PATH", os.environ["PATH"])  # which the command changes
    calls = []

    def sweep_remotely(config, **options):
        calls.append((config, options))
        return "sweep"

    monkeypatch.setitem(sys.modules, "mixit_lightning.sweeps.remote", SimpleNamespace(sweep_remotely=sweep_remotely))
    return calls


def test_wandb_gets_the_file_with_the_words_of_the_recipe(remote):
    words = ["recipe=synthetic", "trainer.max_steps=5", "logger.project=mine"]
    assert main(["sweep", "sweep=objective", "agents=3", "count=7", *words]) == 0
    ((config, options),) = remote
    assert config["command"] == ["${env}", "mixit", "train", "logger=wandb", *words, "${args_no_hyphens}"]
    assert config["method"] == "grid"
    assert options == {"project": "mine", "entity": None, "agents": 3, "count": 7}


def test_the_learning_rate_is_swept_by_wandb_if_nothing_is_said(remote):
    assert main(["sweep"]) == 0
    ((config, options),) = remote
    assert list(config["parameters"]) == ["optimizer.lr"]
    assert options == {"project": "mixit-lightning", "entity": None, "agents": 1, "count": None}


def test_a_data_root_of_the_environment_is_left_to_every_machine(remote, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SPEECH_FOLDER_DATA", str(tmp_path))
    assert main(["sweep", "recipe=speech-folder"]) == 0
    assert not any(str(tmp_path) in word for word in remote[0][0]["command"])
    assert capsys.readouterr().out == ""
    assert main(["sweep", "recipe=speech-folder", f"data={tmp_path}", "agents=0"]) == 0
    assert f"data={tmp_path}" in remote[1][0]["command"]
    assert remote[1][1]["agents"] == 0
    assert "where that differs, set SPEECH_FOLDER_DATA instead" in capsys.readouterr().out


def test_agents_find_mixit(remote, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert main(["sweep"]) == 0
    assert shutil.which("mixit") == str(Path(sys.executable).with_name("mixit"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["engine=cloud"], "engine=cloud: must be wandb or local"),
        (["engine=local", "agents=0"], "agents=0: must be a whole number, 1 or more"),
        (["count=many"], "count=many: must be a whole number, 1 or more"),
        (["logger=csv"], "engine=wandb needs logger=wandb"),
        (["optimizer.lrr=1"], "optimizer.lrr=1: there is no such key; did you mean optimizer.lr?"),
        (["engine=local", "optimizer.lrr=1"], "optimizer.lrr=1: there is no such key; did you mean optimizer.lr?"),
        (["engine=local", "num_workers=0"], "did you mean datamodule.num_workers?"),
    ],
)
def test_a_mistake_is_one_line(remote, words, message, capsys):
    assert main(["sweep", *words]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert remote == []
