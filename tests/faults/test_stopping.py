"""Stopped at any moment, by kill -9 or ctrl-C, the same command resumes and makes what an unbroken one makes.

After ctrl-C one line says so, and no process stays behind.
"""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ..helpers.corpora import make_recordings, make_wsj0
from ..helpers.folders import assert_same, contents
from ..helpers.process import run
from ..helpers.small import TINY
from ..helpers.trained import make_network

STATUS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}
"""Of a command that a signal has ended."""


def train(place: Path, times: int) -> list[str]:
    words = [f"trainer.max_steps={20 + 4 * times}", "datamodule.steps_per_epoch=2", "datamodule.num_workers=1"]
    return ["train", *TINY, *words, "objective=semi-supervised", "trainer.enable_progress_bar=false", "runs=out"]


def prepare(place: Path, times: int) -> list[str]:
    make_wsj0(place, mixtures=20 + 3 * times)
    return ["prepare", "recipe=wsj0-2mix", "wsj0=wsj0", "lists=lists", "data=out"]


def separate(place: Path, times: int) -> list[str]:
    make_network(place / "network")
    make_recordings(place / "own", 10 + 5 * times)
    return ["separate", "checkpoint=network", "input=own", "output=out", "device=cpu"]


def doctor(place: Path, times: int) -> list[str]:
    make_recordings(place / "own", 50 + 10 * times)
    return ["doctor", "recipe=own-recordings", "data=own", "runs=out"]


def shard(place: Path, times: int) -> list[str]:
    make_recordings(place / "own", 20 + 4 * times)
    return ["shard", "data=own", "output=out", "index=index", "shard_megabytes=0.5"]


def rooms(place: Path, times: int) -> list[str]:
    counts = f"counts={{train:{4 * times},valid:1,test:1}}"
    (place / "out").mkdir()
    return ["rooms", "path=out/rooms.npz", counts, "size=[[3,6],[3,5],[2.5,3.5]]", "rt60=[0.15,0.3]", "num_sources=2"]


COMMANDS: dict[str, Callable[[Path, int], list[str]]] = {
    make.__name__: make for make in (train, prepare, separate, doctor, shard, rooms)
}
"""Fill a folder, with the more work the more often the command is stopped; give its words. All write into `out`."""


def cases() -> list[object]:
    """Twice each by default, where that is quick; else twenty times."""
    quick = {("train", signal.SIGKILL), ("prepare", signal.SIGKILL), ("prepare", signal.SIGINT)}
    found = [pytest.param(*case, 2, id="{} {.name} 2".format(*case)) for case in sorted(quick)]
    for name in COMMANDS:
        for number in STATUS:
            found.append(pytest.param(name, number, 20, id=f"{name} {number.name} 20", marks=pytest.mark.slow))
    return found


@pytest.mark.parametrize(("name", "number", "times"), cases())
def test_the_same_command_resumes_and_makes_the_same(tmp_path, name, number, times):
    place = tmp_path / "place"  # the same for all, as some files say where something was

    def begin() -> list[str]:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return COMMANDS[name](place, times)

    unbroken = run(begin(), place)
    assert unbroken.status == 0, unbroken.err
    expected = contents(place / "out")
    rng = np.random.default_rng(times)
    stopped = 0
    while stopped < times:
        words = begin()
        # Such moments that it is stopped several times before it ends; ctrl-C when Hydra has read the settings.
        while stopped < times:
            moment = rng.uniform(0.3 if number == signal.SIGINT else 0, 0.75) * unbroken.seconds
            outcome = run(words, place, moment, number)
            if outcome.status == 0:
                break
            stopped += 1
            assert outcome.status == STATUS[number], outcome.err
            if number == signal.SIGINT:
                check_said(outcome.err)
            for path in place.glob("out/**/*.wav"):
                key = str(path.relative_to(place / "out"))
                assert ".partial" in key or path.read_bytes() == expected[key]  # what has its name is whole
        else:
            outcome = run(words, place)
        assert outcome.status == 0, outcome.err
        assert_same(contents(place / "out"), expected)
        assert not list(place.rglob("*.partial"))


def check_said(err: str) -> None:
    """One line says that it was stopped and can be resumed."""
    lines = [line for line in err.splitlines() if line.startswith("mixit: ")]
    assert len(lines) == 1 and err.splitlines()[-1] == lines[0] and "resume" in lines[0], err
    assert "Traceback" not in err, err
