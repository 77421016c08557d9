import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ..helpers.small import TINY
from .test_local import children_of

SWEEP = {
    "command": ["${env}", "mixit", "train", "logger=wandb", "${args_no_hyphens}"],
    "method": "bayes",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "run_cap": 2,
    "parameters": {"optimizer.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}},
}


@pytest.mark.slow
def test_killed_while_it_trains_it_goes_on_from_the_checkpoint(tmp_path):
    """Real trainings of a small network; the one under way is killed after its second epoch of sixty."""
    sweep, runs = tmp_path / "mine.yaml", tmp_path / "runs"
    sweep.write_text(json.dumps(SWEEP))
    words = [*TINY, f"runs={runs}", "trainer.max_steps=120", "datamodule.steps_per_epoch=2"]
    command = [sys.executable, "-m", "mixit_lightning.cli", "sweep", f"sweep={sweep}", "engine=local", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def finished():
        return {path.parent.name: path.stat().st_mtime_ns for path in runs.glob("synthetic/*/training.json")}

    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    while len(curves := list(runs.glob("synthetic/*/metrics.csv"))) < 2 or not finished():
        assert first.poll() is None
        time.sleep(0.05)
    (curve,) = [path for path in curves if path.parent.name not in finished()]
    while curve.read_text().count("val/loss") < 2:
        time.sleep(0.02)
    (child,) = children_of(first.pid)
    for process in (first.pid, child):
        os.kill(process, signal.SIGKILL)
    first.wait()
    before = finished()
    assert len(before) == 1
    epochs = curve.read_text().count("val/loss")
    assert 2 <= epochs < 60

    again = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "run 1: optimizer.lr=" in again.stdout
    assert ": resumed" in again.stdout
    assert len(finished()) == 3
    assert before.items() <= finished().items()
    with curve.open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["metric"] == "val/loss"]
    assert steps == list(range(2, 121, 2))
    (folder,) = runs.glob("synthetic/sweeps/*")
    record = json.loads((folder / "sweep.json").read_text())
    assert record["counts"] == {"finished": 2, "pruned": 0, "failed": 0, "not finished": 0}
    assert len(record["hardware"]["cpu"]) > 0
