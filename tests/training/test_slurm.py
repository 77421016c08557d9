"""Trainings as jobs of a real SLURM, which Hydra's submitit launcher submits."""

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

from ..helpers.slurm import ask, cluster, missing, wait_until
from ..helpers.small import TINY

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]

STEPS = 480
WORDS = [*TINY, f"trainer.max_steps={STEPS}", "datamodule.steps_per_epoch=80"]

LIMIT, WARNING = 120, 30
"""Seconds; SLURM may warn up to a minute earlier."""

MIXIT = [sys.executable, "-m", "mixit_lightning.cli"]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment in which SLURM's commands find the cluster."""
    with cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Weights of the run that nobody interrupts, trained here."""
    runs = tmp_path_factory.mktemp("unbroken")
    subprocess.run([*MIXIT, "train", *WORDS, f"runs={runs}"], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
    (last,) = runs.rglob("last.ckpt")
    return load_checkpoint(last)["state_dict"]


@pytest.fixture
def submit(slurm, tmp_path):
    """Submit a run; the command that does waits until it has ended, and ends here with the test."""
    runs, started = tmp_path / "all runs", []

    def submit(*words):
        launcher = ["hydra/launcher=slurm", "hydra.launcher.timeout_min=2", f"hydra.launcher.signal_delay_s={WARNING}"]
        command = [*MIXIT, "train", "-m", *launcher, *WORDS, f"runs='{runs}'", *words]
        started.append(subprocess.Popen(command, env=slurm))
        jobs = []  # submitit names a folder after each; not squeue's, which may list that of another test as well
        wait_until(lambda: jobs.extend(path.name for path in runs.glob(".submitit/[0-9]*")) or jobs)
        number = jobs[0]

        def state():
            return ask(slurm, "squeue", "--noheader", f"--job={number}", "--format=%T")

        def value(name):
            return re.search(rf"\b{name}=(\S+)", ask(slurm, "scontrol", "show", "job", number)).group(1)

        def folder():
            (folder,) = runs.glob("synthetic/*")
            return folder

        def steps():
            """Steps in metrics.csv."""
            for path in runs.glob("synthetic/*/metrics.csv"):
                with path.open(newline="") as file:
                    return [int(row["step"]) for row in csv.DictReader(file) if row["metric"] == "train/loss"]
            return []

        def log():
            return "\n".join(path.read_text() for path in sorted(runs.glob(f".submitit/{number}/*.[eo]*")))

        return SimpleNamespace(number=number, folder=folder, state=state, value=value, steps=steps, log=log)

    yield submit
    for process in started:
        process.kill()


def control(slurm, *words):
    subprocess.run(["scontrol", *words], env=slurm, check=True, capture_output=True)


def reach_the_warning(slurm, job):
    """Wait until SLURM has warned the run."""
    began = time.mktime(time.strptime(job.value("StartTime"), "%Y-%m-%dT%H:%M:%S"))
    time.sleep(max(0.0, began + LIMIT - WARNING + 5 - time.time()))
    if job.state() == "STOPPED":  # SLURM 22 lets it go on by itself
        subprocess.run(["scancel", "--signal=CONT", job.number], env=slurm, check=True)


def preempt(slurm, job):
    """Take the machine away, as SLURM does for a job of more importance."""
    control(slurm, "requeue", job.number)


@pytest.mark.parametrize("interrupt", [reach_the_warning, preempt])
def test_an_interrupted_run_returns_to_the_queue_and_ends_as_an_unbroken_one(slurm, submit, unbroken, interrupt):
    job = submit()
    wait_until(lambda: len(job.steps()) > 90)  # in the second epoch
    subprocess.run(["scancel", "--signal=STOP", job.number], env=slurm, check=True)  # needs longer than it has
    interrupt(slurm, job)
    wait_until(lambda: (job.value("Restarts"), job.value("Reason")) == ("1", "BeginTime"))  # whatever SLURM 22 calls it
    last = job.folder() / "checkpoints" / "last.ckpt"
    wait_until(lambda: 90 < load_checkpoint(last)["global_step"] < STEPS)  # it was given time to save
    wait_until(lambda: "idle" in ask(slurm, "sinfo", "--noheader", "--format=%t"))
    control(slurm, "update", f"JobId={job.number}", "StartTime=now")  # SLURM lets a job rest for two minutes
    wait_until(lambda: job.state() in ("", "COMPLETED"), 180)
    assert (job.folder() / "results.json").exists(), job.log()
    trained = load_checkpoint(last)
    assert trained["global_step"] == STEPS
    assert trained["state_dict"].keys() == unbroken.keys()
    assert all(torch.equal(trained["state_dict"][name], unbroken[name]) for name in unbroken)
    assert job.steps() == list(range(1, STEPS + 1))


def test_processes_of_a_job_train_together(slurm, submit):
    job = submit("trainer=ddp", "hydra.launcher.tasks_per_node=2")
    wait_until(lambda: job.value("JobState") in ("COMPLETED", "FAILED"), 180)
    assert (job.folder() / "results.json").exists(), job.log()
    assert job.steps() == list(range(1, STEPS + 1))
