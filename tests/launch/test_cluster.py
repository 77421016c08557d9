"""Trainings as jobs of a real SLURM."""

import csv
import os
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from mixit_lightning.training.checkpoints import load_checkpoint

from ..training.conftest import TINY
from .cluster import ask, cluster, missing, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]

STEPS = 160
WORDS = [*TINY, f"trainer.max_steps={STEPS}", "datamodule.steps_per_epoch=80"]

LIMIT, WARNING = 120, 30
"""Seconds; SLURM may warn up to a minute earlier."""


def mixit(environment, *words):
    command = [sys.executable, "-m", "mixit_lightning.cli", "train", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment in which SLURM's commands find the cluster."""
    with cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Weights of the run that nobody interrupts, trained here."""
    runs = tmp_path_factory.mktemp("unbroken")
    answer = mixit(os.environ | {"OMP_NUM_THREADS": "1"}, *WORDS, f"runs={runs}")
    assert answer.returncode == 0, answer.stderr
    (last,) = runs.rglob("last.ckpt")
    return load_checkpoint(last)["state_dict"]


@pytest.fixture
def submit(slurm, tmp_path):
    """Submit a run whose folder has a name that needs quotes everywhere."""
    runs = tmp_path / 'it\'s 5% "done"'
    quoted = str(runs).replace("'", "\\'")

    def submit(*words):
        launcher = ["launcher=slurm", "launcher.time=0:02:00", f"launcher.warning={WARNING}"]
        words = [*launcher, *WORDS, f"runs='{quoted}'", *words]
        answer = mixit(slurm, *words)
        assert answer.returncode == 0, answer.stderr
        number = re.match(r"job (\d+) ", answer.stdout).group(1)
        (script,) = runs.rglob("slurm.sh")
        folder = script.parent

        def state():
            return ask(slurm, "squeue", "--noheader", f"--job={number}", "--format=%T")

        def value(name):
            return re.search(rf"\b{name}=(\S+)", ask(slurm, "scontrol", "show", "job", number)).group(1)

        def steps():
            """Steps in metrics.csv."""
            path = folder / "metrics.csv"
            if not path.exists():
                return []
            with path.open(newline="") as file:
                return [int(row["step"]) for row in csv.DictReader(file) if row["metric"] == "train/loss"]

        def log():
            path = folder / f"slurm-{number}.log"
            return path.read_text() if path.exists() else ""

        parts = {"number": number, "folder": folder, "words": words}
        return SimpleNamespace(**parts, state=state, value=value, steps=steps, log=log)

    return submit


def control(slurm, *words):
    subprocess.run(["scontrol", *words], env=slurm, check=True, capture_output=True)


def signal(slurm, job, name):
    subprocess.run(["scancel", f"--signal={name}", job.number], env=slurm, check=True)


def reach_the_warning(slurm, job):
    """Wait until SLURM has warned the run."""
    began = time.mktime(time.strptime(job.value("StartTime"), "%Y-%m-%dT%H:%M:%S"))
    time.sleep(max(0.0, began + LIMIT - WARNING + 5 - time.time()))
    if job.state() == "STOPPED":  # SLURM 22 lets it go on by itself
        signal(slurm, job, "CONT")


def preempt(slurm, job):
    """Take the machine away, as SLURM does for a job of more importance."""
    control(slurm, "requeue", job.number)


@pytest.mark.parametrize("interrupt", [reach_the_warning, preempt])
def test_an_interrupted_run_saves_returns_to_the_queue_and_ends_as_an_unbroken_one(slurm, submit, unbroken, interrupt):
    job = submit()
    wait_until(lambda: len(job.steps()) > 90)  # in the second epoch
    signal(slurm, job, "STOP")  # a run that needs longer than it has
    again = mixit(slurm, *job.words)
    assert again.returncode == 1 and f"job {job.number} (stopped) is this run's" in again.stderr
    interrupt(slurm, job)
    wait_until(lambda: job.state() == "PENDING")
    assert job.value("Restarts") == "1"
    saved = load_checkpoint(job.folder / "checkpoints" / "last.ckpt")["global_step"]
    assert 90 < saved < STEPS, job.log()
    control(slurm, "update", f"JobId={job.number}", "StartTime=now")  # SLURM lets a job rest for two minutes
    wait_until(lambda: job.state() in ("", "COMPLETED"), 180)
    assert (job.folder / "results.json").exists(), job.log()
    assert (job.value("JobState"), job.value("Restarts")) == ("COMPLETED", "1")
    last = load_checkpoint(job.folder / "checkpoints" / "last.ckpt")
    assert last["global_step"] == STEPS
    assert last["state_dict"].keys() == unbroken.keys()
    assert all(torch.equal(last["state_dict"][name], unbroken[name]) for name in unbroken)
    assert job.steps() == list(range(1, STEPS + 1))


def test_a_run_that_fails_is_not_tried_again(slurm, submit):
    job = submit("+launcher.options.hold=null")
    path = job.folder / "config.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 1"))
    control(slurm, "release", job.number)
    wait_until(lambda: job.value("JobState") == "FAILED")
    assert (job.value("ExitCode"), job.value("Restarts")) == ("1:0", "0")
    assert "an earlier run had other settings (seed" in job.log()


def test_a_run_that_is_cancelled_saves_and_stays_away(slurm, submit):
    job = submit()
    wait_until(lambda: len(job.steps()) > 90)
    subprocess.run(["scancel", job.number], env=slurm, check=True)
    wait_until(lambda: job.value("JobState") == "CANCELLED")
    assert job.value("Restarts") == "0"
    assert load_checkpoint(job.folder / "checkpoints" / "last.ckpt")["global_step"] > 90


def test_processes_of_a_job_train_together(slurm, submit):
    job = submit("trainer=ddp", "launcher.tasks_per_node=2")
    wait_until(lambda: job.value("JobState") in ("COMPLETED", "FAILED"), 180)
    assert (job.folder / "results.json").exists(), job.log()
    assert job.value("JobState") == "COMPLETED"
    assert job.steps() == list(range(1, STEPS + 1))
