"""Several processes compute what one does; and whatever happens to one of them, all end with a message."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mixit_lightning.training.checkpoints import load_checkpoint

from ..helpers.small import TINY

MIXIT = [sys.executable, "-m", "mixit_lightning.cli"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]

SETTINGS = [
    *TINY,
    "datamodule.batch_size=6",
    "objective=semi-supervised",
    "objective.labelled_share=0.4",  # of six: two or three, so that some processes have more than others
]
"""Seven test mixtures, which neither two nor three processes divide."""


def environment(**more):
    return os.environ | {"OMP_NUM_THREADS": "1", **more}


def run(*command, status=0, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment(**more))
    assert done.returncode == status, done.stdout + done.stderr
    return done


def folder_of(runs):
    (folder,) = (path.parent for path in runs.glob("*/*/config.yaml"))
    return folder


def curves(folder):
    with (folder / "metrics.csv").open() as file:
        return {(int(row["step"]), row["metric"]): float(row["value"]) for row in csv.DictReader(file)}


def assert_same_results(runs, others):
    """Losses within 1e-5, metrics of the test within 1e-4 dB, and the same test mixtures in the same order."""
    one, other = folder_of(runs), folder_of(others)
    here, there = curves(one), curves(other)
    assert here.keys() == there.keys()
    for key, value in here.items():
        assert there[key] == pytest.approx(value, rel=1e-5, abs=1e-5), key
    results = [json.loads((folder / "results.json").read_text()) for folder in (one, other)]
    assert results[0]["num_examples"] == results[1]["num_examples"] == 7
    assert results[0]["metrics"] == pytest.approx(results[1]["metrics"], abs=1.01e-4)
    names = [[line.split(",")[0] for line in (folder / "examples.csv").open()] for folder in (one, other)]
    assert names[0] == names[1]
    return [result["trained_with"]["batch"] for result in results]


def test_three_processes_compute_what_one_does(tmp_path):
    words = [*SETTINGS, "trainer.max_steps=8", "datamodule.steps_per_epoch=4"]
    run(*MIXIT, "train", *words, f"runs={tmp_path / 'one'}")
    command = ["--standalone", "--nproc-per-node=3", "-m", "mixit_lightning.cli"]
    run(*TORCHRUN, *command, "train", *words, "trainer=ddp", f"runs={tmp_path / 'three'}")
    one, three = assert_same_results(tmp_path / "one", tmp_path / "three")
    assert (one.pop("processes"), three.pop("processes")) == (1, 3)
    assert one == three
    assert (one["examples"], one["learning_rate"]) == (6, 2e-3)
    assert 2 / 6 <= one["labelled_share"] <= 3 / 6
    # The test of a run by itself, by two processes of Lightning's.
    results = folder_of(tmp_path / "one") / "results.json"
    before = json.loads(results.read_text())["metrics"]
    results.unlink()
    again = ["trainer=ddp", "trainer.devices=2", f"runs={tmp_path / 'one'}"]
    run(*MIXIT, "evaluate", *words, *again)
    assert json.loads(results.read_text())["metrics"] == pytest.approx(before, abs=1.01e-4)


@pytest.mark.slow
def test_two_processes_take_the_fifty_steps_that_one_does(tmp_path):
    words = [*SETTINGS, "trainer.max_steps=50", "datamodule.steps_per_epoch=25", "datamodule.num_workers=1"]
    run(*MIXIT, "train", *words, f"runs={tmp_path / 'one'}")
    run(*MIXIT, "train", *words, "trainer=ddp", "trainer.devices=2", f"runs={tmp_path / 'two'}")
    assert_same_results(tmp_path / "one", tmp_path / "two")


@pytest.fixture
def machines():
    """Two network namespaces that reach each other, each with its name, address and device."""
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2 to make network namespaces")
    made = [("mixit-a", "10.93.0.1", "mixit-va"), ("mixit-b", "10.93.0.2", "mixit-vb")]
    (_, _, first), (_, _, second) = made
    try:
        for name, _, _ in made:
            run("ip", "netns", "add", name)
        one, other = (name for name, _, _ in made)
        run("ip", "link", "add", first, "netns", one, "type", "veth", "peer", "name", second, "netns", other)
        for name, address, device in made:
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", device)
            run("ip", "-n", name, "link", "set", device, "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
        yield made
    finally:
        for name, _, _ in made:
            subprocess.run(["ip", "netns", "delete", name], check=False)


@pytest.mark.slow
def test_two_machines_compute_what_one_does(tmp_path, machines):
    words = [*SETTINGS, "trainer.max_steps=50", "datamodule.steps_per_epoch=25"]
    run(*MIXIT, "train", *words, f"runs={tmp_path / 'one'}")
    started = [
        subprocess.Popen(
            [
                *["ip", "netns", "exec", name, *TORCHRUN, "--nnodes=2", "--nproc-per-node=1", f"--node-rank={rank}"],
                *[f"--master-addr={machines[0][1]}", "--master-port=29511", "-m", "mixit_lightning.cli"],
                *["train", *words, "trainer=ddp", f"runs={tmp_path / 'two'}"],
            ],
            env=environment(GLOO_SOCKET_IFNAME=device),
        )
        for rank, (name, _, device) in enumerate(machines)
    ]
    try:
        assert [process.wait(timeout=300) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    batches = assert_same_results(tmp_path / "one", tmp_path / "two")
    assert [batch["processes"] for batch in batches] == [1, 2]


def wait_for_step(runs, step, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if any(f"\n{step}," in path.read_text() for path in runs.glob("*/*/metrics.csv")):
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} did not come")


def start(words, runs, *more):
    """A training that stops nowhere by itself."""
    command = [*MIXIT, "train", *words, "trainer.max_steps=100000", f"runs={runs}", *more]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True
    )


def group(process):
    """Numbers of the processes that a training consists of."""
    listed = subprocess.run(["ps", "-o", "pid=,args=", "-g", str(process.pid)], capture_output=True, text=True)
    return [int(line.split()[0]) for line in listed.stdout.splitlines()]


def weights(path):
    return load_checkpoint(path)["state_dict"]


TWO = ["trainer=ddp", "trainer.devices=2"]


@pytest.mark.parametrize(
    ("number", "more", "status"),
    [
        (signal.SIGTERM, [], 75),
        pytest.param(signal.SIGINT, ["datamodule.num_workers=1"], 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, TWO, 75, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_asked_to_stop_saves_its_step_and_goes_on_bit_for_bit(tmp_path, number, more, status):
    words = [*SETTINGS, "datamodule.steps_per_epoch=20", *more]
    process = start(words, tmp_path / "stopped")
    wait_for_step(tmp_path / "stopped", 23, process)
    # As a terminal and a scheduler do it, to all; but where there are several trainings, to the last of them alone.
    if more == TWO:
        os.kill(group(process)[-1], number)
    else:
        os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, out + err
    assert err.splitlines()[-1].startswith("mixit: stopped") and "resume" in err
    assert "Traceback" not in err
    last = folder_of(tmp_path / "stopped") / "checkpoints" / "last.ckpt"
    step = load_checkpoint(last)["global_step"]
    assert step > 22 and step % 20, "between two epochs"
    assert (step, "train/loss") in curves(folder_of(tmp_path / "stopped"))
    end = (step // 20 + 1) * 20 + 10
    config = [word for word in words if word not in more] + [f"trainer.max_steps={end}"]
    # The settings are another run's, as they must stop somewhere: its folder takes over the checkpoint.
    run(*MIXIT, "train", *config, f"runs={tmp_path / 'unbroken'}")
    unbroken = folder_of(tmp_path / "unbroken")
    shutil.copytree(unbroken, tmp_path / "resumed" / unbroken.parent.name / unbroken.name)
    resumed = folder_of(tmp_path / "resumed")
    for name in ("training.json", "results.json", "checkpoints/best.ckpt", "checkpoints/previous.ckpt"):
        (resumed / name).unlink()
    shutil.copy(last, resumed / "checkpoints" / "last.ckpt")
    run(*MIXIT, "train", *config, f"runs={tmp_path / 'resumed'}", *more)
    one, other = (weights(folder / "checkpoints" / "last.ckpt") for folder in (unbroken, resumed))
    if more == TWO:  # summed in another order
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    else:
        assert all(torch.equal(one[name], other[name]) for name in one)
    here, there = curves(unbroken), curves(resumed)
    assert {key for key in here if key[0] > step} <= there.keys()


def test_a_process_that_vanishes_ends_the_others_with_a_message(tmp_path):
    words = [*SETTINGS, "datamodule.steps_per_epoch=10", *TWO]
    process = start(words, tmp_path)
    wait_for_step(tmp_path, 12, process)
    os.kill(group(process)[-1], signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, out + err
    assert err.splitlines()[-1].startswith("mixit: ") and "Traceback" not in err
    assert load_checkpoint(folder_of(tmp_path) / "checkpoints" / "last.ckpt")["global_step"] == 10


@pytest.mark.slow
def test_a_loading_process_that_is_killed_ends_training_with_a_message(tmp_path):
    words = [*SETTINGS, "datamodule.steps_per_epoch=10", "datamodule.num_workers=1"]
    process = start(words, tmp_path)
    wait_for_step(tmp_path, 12, process)
    os.kill(group(process)[-1], signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, out + err
    assert "datamodule.num_workers" in err.splitlines()[-1] and "Traceback" not in err


@pytest.mark.slow
def test_several_processes_without_ddp_are_refused(tmp_path):
    command = [*TORCHRUN, "--standalone", "--nproc-per-node=2", "-m", "mixit_lightning.cli"]
    done = run(*command, "train", *TINY, f"runs={tmp_path}", status=1)
    assert "trainer=ddp" in done.stderr
    assert not list(Path(tmp_path).rglob("config.yaml"))


@pytest.mark.slow
def test_a_process_that_no_longer_answers_is_waited_for_no_longer_than_the_timeout(tmp_path):
    words = [*SETTINGS, "datamodule.steps_per_epoch=10", *TWO, "trainer.strategy.timeout.seconds=10"]
    process = start(words, tmp_path)
    wait_for_step(tmp_path, 12, process)
    hanging = group(process)[-1]
    os.kill(hanging, signal.SIGSTOP)
    try:
        process.wait(timeout=60)
    finally:
        os.kill(hanging, signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 1, out + err
    assert err.splitlines()[-1].startswith("mixit: ") and "Traceback" not in err


SPOIL = """
import os, sys
from mixit_lightning.cli import main
from mixit_lightning.data.batches import TrainingDataset

get, taken = TrainingDataset.__getitem__, []

def spoiled(dataset, drawing):
    batch = get(dataset, drawing)
    taken.append(batch)
    if os.environ.get("LOCAL_RANK") == "1" and len(taken) == 3:
        batch.mixtures[-1] = float("nan")
        print("spoiled:", batch.names[-1], file=sys.stderr, flush=True)
    return batch

TrainingDataset.__getitem__ = spoiled
sys.exit(main(sys.argv[1:]))
"""
"""As the command, but the second process has a recording of no numbers in its third batch."""


@pytest.mark.slow
def test_a_loss_that_is_not_finite_in_one_process_ends_all_with_its_recordings(tmp_path):
    (tmp_path / "spoil.py").write_text(SPOIL)
    words = [*SETTINGS, "datamodule.steps_per_epoch=10", *TWO, f"runs={tmp_path / 'runs'}"]
    err = run(sys.executable, str(tmp_path / "spoil.py"), "train", *words, status=1).stderr
    (name,) = {line.removeprefix("spoiled: ") for line in err.splitlines() if line.startswith("spoiled: ")}
    (said,) = {line for line in err.splitlines() if line.startswith("mixit: ")}
    assert name in said and "Traceback" not in err


@pytest.mark.slow
def test_fewer_batches_of_validation_than_processes_are_made_smaller(tmp_path):
    words = [*SETTINGS, "trainer.max_steps=4", "datamodule.steps_per_epoch=2", "datamodule.evaluation_batch_size=8"]
    run(*MIXIT, "train", *words, f"runs={tmp_path / 'one'}")
    run(*MIXIT, "train", *words, *TWO, f"runs={tmp_path / 'two'}")
    assert_same_results(tmp_path / "one", tmp_path / "two")
    few = ["datamodule.validation_counts=[0,1]", f"runs={tmp_path / 'few'}"]
    done = run(*MIXIT, "train", *words, *TWO, *few, status=1)
    assert "validation" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert not list((tmp_path / "few").rglob("config.yaml"))


@pytest.mark.slow
def test_a_process_that_is_killed_in_the_evaluation_ends_the_others_with_a_message(tmp_path):
    words = [*SETTINGS, "trainer.max_steps=4", "datamodule.steps_per_epoch=4", "datamodule.test_counts=[200,400]", *TWO]
    process = start(words, tmp_path, "trainer.max_steps=4")
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*/*/training.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(group(process)[-1], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (1, -signal.SIGKILL)  # Lightning kills what does not wait for the other just then
    assert ("mixit: " in err or "terminated with code" in err) and "Traceback" not in err
