"""Killed at any moment, the same command resumes, and what it makes is what an unbroken call makes."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mixit_lightning.training.checkpoints import load_checkpoint

from .valid import TRAINING, make_recordings, make_wsj0
from .worker import Worker

KILLS = 20

TRAIN = ["train", *TRAINING, "objective=semi-supervised", "runs=runs"]

PREPARE = ["prepare", "recipe=wsj0-2mix", "wsj0=wsj0", "lists=lists", "data=out"]


def kill_often(run: Callable[[float], tuple[int, float]], rng: np.random.Generator, kills: int, longest: float) -> int:
    """Run again and again, killed after moments drawn up to `longest` seconds, until so many kills hit or it ended.

    Args:
        run: for so many seconds at most; gives its status and the seconds that it took.
        rng: of the moments.
        kills: at most; then it may go on to its end.
        longest: s.

    Returns:
        The kills that it took.
    """
    for number in range(kills):
        status, _ = run(float(rng.uniform(0, longest)))
        if status == 0:
            return number
        assert status == -signal.SIGKILL
    status, _ = run(300.0)
    assert status == 0
    return kills


def contents(folder: Path) -> dict[str, object]:
    """What is in a folder, without times."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or path.suffix in (".html", ".png", ".log"):  # from the others
            continue
        if path.suffix == ".ckpt":
            state = load_checkpoint(path)
            found[name] = {key: plain(state[key]) for key in ("state_dict", "optimizer_states", "global_step", "epoch")}
        elif path.suffix == ".json":
            found[name] = without_times(json.loads(path.read_text()))
        elif path.name == "metrics.csv":
            with path.open(newline="") as file:  # those of one step in any order
                found[name] = sorted((row["step"], row["metric"], row["value"]) for row in csv.DictReader(file))
        elif path.name == "preparation.jsonl":
            found[name] = dict(json.loads(line)[:2] for line in path.read_text().splitlines())
        else:
            found[name] = path.read_bytes()
    return found


def plain(value: object) -> object:
    """Tensors as their bytes, which are compared bit by bit."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value


TIMES = {"seconds", "wall_time", "finished", "began", "duration"}


def without_times(value: object) -> object:
    """Plain types without what depends on the clock."""
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if key not in TIMES}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def assert_same(made: dict[str, object], unbroken: dict[str, object]) -> None:
    assert sorted(made) == sorted(unbroken)
    for name, content in made.items():
        if isinstance(content, list):
            assert content == unbroken[name], name  # lets see which rows
    assert [name for name in made if made[name] != unbroken[name]] == []


def check_kills(worker: Worker, words: list[str], make: Callable[[Path], Path], part: str, kills: int) -> None:
    """Run a command unbroken, then killed in other folders until so many kills hit; compare what stands in `part`."""
    whole = worker.run(words, place := make(Path("unbroken")), seconds=300)
    assert whole.status == 0, whole.err
    unbroken = contents(place / part)
    rng = np.random.default_rng(kills)
    hit = rounds = 0
    while hit < kills:
        rounds += 1
        place = make(Path(f"killed-{rounds}"))

        def run(seconds: float, place: Path = place) -> tuple[int, float]:
            outcome = worker.run(words, place, seconds=seconds)
            assert outcome.status in (0, -signal.SIGKILL), outcome.err
            return outcome.status, outcome.seconds

        # So short that several hit before it ends.
        hit += kill_often(run, rng, kills - hit, whole.seconds * 0.75)
        assert_same(contents(place / part), unbroken)
        assert not list((place / part).rglob("*.partial"))


@pytest.mark.parametrize("kills", [2, pytest.param(KILLS, marks=pytest.mark.slow)])
def test_training_ends_with_the_weights_of_an_unbroken_run(worker, tmp_path, kills):
    def make(name: Path) -> Path:
        (tmp_path / name).mkdir()
        return tmp_path / name

    check_kills(worker, [*TRAIN, f"trainer.max_steps={2 * kills}"], make, "runs", kills)


@pytest.mark.parametrize("kills", [2, pytest.param(KILLS, marks=pytest.mark.slow)])
def test_preparation_makes_the_files_of_an_unbroken_one(worker, tmp_path, kills):
    def make(name: Path) -> Path:
        (tmp_path / name).mkdir()
        return make_wsj0(tmp_path / name, mixtures=3 * kills)

    check_kills(worker, PREPARE, make, "out", kills)


@pytest.mark.parametrize("kills", [2, pytest.param(KILLS, marks=pytest.mark.slow)])
def test_shards_are_those_of_an_unbroken_packing(worker, tmp_path, kills):
    def make(name: Path) -> Path:
        make_recordings(tmp_path / name / "own", 20 + 4 * kills)
        return tmp_path / name

    check_kills(worker, ["shard", "data=own", "output=out", "index=index", "shard_megabytes=0.5"], make, "out", kills)


SWEEP = {
    "method": "bayes",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "run_cap": 4,
    "parameters": {"optimizer.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 0.9}},
}


@pytest.mark.slow
def test_a_sweep_makes_the_runs_of_an_unbroken_one(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(SWEEP))

    def start(name: str) -> "subprocess.Popen[bytes]":
        (tmp_path / name).mkdir(exist_ok=True)
        command = [sys.executable, "-m", "mixit_lightning.cli", "sweep", *TRAINING, f"sweep={path}", "runs=runs"]
        silent = subprocess.DEVNULL
        return subprocess.Popen(command, stdout=silent, stderr=silent, cwd=tmp_path / name, start_new_session=True)

    began = time.monotonic()
    assert start("unbroken").wait() == 0
    longest = time.monotonic() - began
    rng = np.random.default_rng(0)
    hit = rounds = 0
    while hit < KILLS:
        rounds += 1
        while hit < KILLS:
            process = start(f"killed-{rounds}")
            try:
                assert process.wait(float(rng.uniform(0.2, 0.8)) * longest) == 0
                break
            except subprocess.TimeoutExpired:
                for pid in (process.pid, *children_of(process.pid)):
                    os.kill(pid, signal.SIGKILL)
                process.wait()
                hit += 1
        else:
            assert start(f"killed-{rounds}").wait() == 0
        assert_same(outcome_of(tmp_path / f"killed-{rounds}"), outcome_of(tmp_path / "unbroken"))


def children_of(pid: int) -> list[int]:
    """Of a process, on Linux."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def outcome_of(place: Path) -> dict[str, object]:
    """What the table of a sweep says, and what is in the folders of its runs by rank; a resumed sweep skips numbers."""
    (path,) = place.glob("runs/synthetic/sweeps/*/trials.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == SWEEP["run_cap"]
    runs = enumerate(contents(path.parent / row.pop("trial")) for row in rows)
    return {"table": rows} | {f"{rank}/{name}": content for rank, run in runs for name, content in run.items()}
