"""Ctrl-C at any moment: one line, status 130, and no process stays behind; the same command then resumes."""

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from .test_kill import assert_same, contents
from .valid import TRAINING, make_recordings, make_wsj0

STOPPED = 130

MOMENTS = 8

TRAIN = ["train", *TRAINING, "trainer.max_steps=60", "datamodule.num_workers=1", "runs=runs"]


@pytest.fixture(scope="module")
def checkpoint(worker, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("trained")
    outcome = worker.run(["train", *TRAINING, "runs=runs"], place)
    assert outcome.status == 0, outcome.err
    return next(place.rglob("best.ckpt"))


def prepared(place: Path) -> list[str]:
    make_wsj0(place, mixtures=50)
    return ["prepare", "recipe=wsj0-2mix", "wsj0=wsj0", "lists=lists", "data=out"]


def trained(place: Path) -> list[str]:
    return TRAIN


def scanned(place: Path) -> list[str]:
    make_recordings(place / "own", 200)
    return ["doctor", "recipe=own-recordings", "data=own", "runs=out"]


def packed(place: Path) -> list[str]:
    make_recordings(place / "own", 200)
    return ["shard", "data=own", "output=out", "index=index", "shard_megabytes=0.5"]


COMMANDS: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "train": (trained, "runs"),
    "prepare": (prepared, "out"),
    "doctor": (scanned, "none"),
    "shard": (packed, "out"),
}
"""Makes what a command reads and gives its words; and where its files are that are to be compared."""


def check_interrupts(worker, tmp_path, make, part, moments):
    """Stop a command again and again until it ends, or as often as asked."""
    whole = tmp_path / "unbroken"
    whole.mkdir()
    words = make(whole)
    unbroken = worker.run(words, whole, seconds=120)
    assert unbroken.status == 0, unbroken.err
    rng = np.random.default_rng(0)
    place = tmp_path / "stopped"
    place.mkdir()
    words = make(place)
    stopped = 0
    for _ in range(moments):
        moment = float(rng.uniform(0.1, 0.8)) * unbroken.seconds
        outcome = worker.run(words, place, seconds=moment, number=signal.SIGINT)
        assert outcome.left == 0, outcome
        if outcome.status == 0:
            break
        stopped += 1
        assert outcome.status == STOPPED, outcome
        lines = outcome.err.splitlines()
        assert lines[-1].startswith("mixit: stopped"), outcome.err
        assert "resume" in lines[-1], outcome.err
        assert "Traceback" not in outcome.err, outcome.err
        assert sum(line.startswith("mixit: ") for line in lines) == 1
    assert stopped
    outcome = worker.run(words, place, seconds=120)
    assert outcome.status == 0, outcome.err
    if (whole / part).exists():
        assert_same(contents(place / part), contents(whole / part))


@pytest.mark.parametrize("command", [pytest.param(name, marks=pytest.mark.slow) for name in COMMANDS])
def test_ctrl_c_stops_all_and_the_same_command_goes_on(worker, tmp_path, command):
    check_interrupts(worker, tmp_path, *COMMANDS[command], MOMENTS)


def test_ctrl_c_stops_a_preparation(worker, tmp_path):
    check_interrupts(worker, tmp_path, *COMMANDS["prepare"], 2)


@pytest.mark.slow
def test_ctrl_c_stops_a_separation(worker, checkpoint, tmp_path):
    def separated(place):
        make_recordings(place / "own", 100)
        return ["separate", f"checkpoint={checkpoint}", "input=own", "output=out", "device=cpu"]

    check_interrupts(worker, tmp_path, separated, "none", MOMENTS)
