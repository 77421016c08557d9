import os
import signal
import subprocess
import sys
import time

import pytest

from mixit_lightning.errors import UserError
from mixit_lightning.interrupts import STOPPED
from mixit_lightning.sweeps.remote import sweep_remotely
from tests.training.conftest import TINY

SWEEP = """
import json, sys
from mixit_lightning.sweeps.remote import sweep_remotely
print(sweep_remotely(json.loads(sys.argv[1]), **json.loads(sys.argv[2])))
"""


def sweep_of(*command, **parameters):
    return {
        "program": "mixit",
        "method": "grid",
        "metric": {"name": "val/loss", "goal": "minimize"},
        "parameters": {name.replace("__", "."): {"values": values} for name, values in parameters.items()},
        "command": [sys.executable, *command, "${args_no_hyphens}"],
    }


def training(tmp_path, steps):
    words = [*TINY, "datamodule.validation_counts=[1,2]", "datamodule.test_counts=[1,2]", f"trainer.max_steps={steps}"]
    place = [f"runs={tmp_path / 'runs'}", "logger=wandb", "datamodule.steps_per_epoch=2"]
    return ["-m", "mixit_lightning.cli", "train", *words, *place]


@pytest.mark.slow
def test_six_runs_are_trained_by_real_agents(wandb_server, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = sweep_of(*training(tmp_path, 4), optimizer__lr=[1e-3, 2e-3, 4e-3], seed=[0, 1])
    path = sweep_remotely(config, project="sweeps", entity=None, agents=2, count=None)
    (sweep,) = wandb_server.sweeps.values()
    assert path == f"tester/sweeps/{sweep.id}"
    assert f"wandb agent {path}" in capfd.readouterr().out
    assert sweep.config == config and not sweep.left
    assert len(sweep.runs) == 6 and wandb_server.runs.keys() == sweep.runs.keys()
    assert len(wandb_server.agents) == 2
    for name, run in wandb_server.runs.items():
        assert (run.project, run.about["sweep"], run.exit_code) == ("sweeps", sweep.id, 0)
        assert run.config["optimizer"]["lr"] == run.config["optimizer.lr"] == sweep.runs[name]["optimizer.lr"]
        assert run.config["seed"] == sweep.runs[name]["seed"]
        assert [row["step"] for row in run.history] == [1, 2, 3, 4]
        assert isinstance(run.summary["val/loss"], float) and isinstance(run.summary["test/si_snri"], float)
    assert len({run.summary["val/loss"] for run in wandb_server.runs.values()}) == 6


@pytest.mark.slow
def test_agents_of_one_machine_share_the_count(wandb_server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = sweep_of("-c", "import time; time.sleep(1)", seed=list(range(9)))
    sweep_remotely(config, project="sweeps", entity="tester", agents=2, count=3)
    (sweep,) = wandb_server.sweeps.values()
    assert len(sweep.runs) == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_stops_agents_and_runs(wandb_server, tmp_path, number):
    import json

    config = sweep_of(*training(tmp_path, 100000), seed=[0, 1, 2])
    where = {"project": "sweeps", "entity": None, "agents": 1, "count": None}
    command = [sys.executable, "-c", SWEEP, json.dumps(config), json.dumps(where)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 180
    while not list(tmp_path.rglob("last.ckpt")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, number)
    assert process.wait(timeout=60) != 0
    (run,) = wandb_server.runs.values()
    assert run.exit_code == STOPPED  # it has saved, and can go on
    assert len(next(iter(wandb_server.sweeps.values())).runs) == 1


def test_no_account_is_explained_before_anything_is_started(wandb_server, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(UserError, match="no key; `wandb login` or set WANDB_API_KEY, or"):
        sweep_remotely(sweep_of("-c", "0", seed=[0]), project="sweeps", entity=None, agents=1, count=None)
    assert not wandb_server.sweeps


def test_a_sweep_that_the_server_refuses_is_explained(wandb_server, monkeypatch):
    monkeypatch.setattr(wandb_server, "refused", {"UpsertSweep": "permission denied"})
    with pytest.raises(UserError, match=r"sweep in sweeps: Weights & Biases refuses \(.*permission denied"):
        sweep_remotely(sweep_of("-c", "0", seed=[0]), project="sweeps", entity=None, agents=1, count=None)
    assert "WANDB_PROJECT" not in os.environ
