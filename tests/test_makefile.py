"""What is typed behind make arrives at the command as it was typed."""

import os
import shlex
import shutil
import subprocess

import pytest

from mixit_lightning.config import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def command(*typed):
    """The words of the command that make would run."""
    outer = ("MAKEFLAGS", "MAKEOVERRIDES", "ARGS")  # of `make test ARGS=...`
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    answer = subprocess.run(
        ["make", "-n", *typed], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    line = next(line for line in answer.stdout.splitlines() if "/mixit " in line)
    return shlex.split(line)[1:]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["train"], ["train", "recipe=synthetic"]),
        (
            ["recipe=enhancement", "data=/x", "test_noise=/y", "warm_start=/z", "checkpoint=/c", "train"],
            ["train", "recipe=enhancement", "data=/x", "test_noise=/y", "warm_start=/z", "checkpoint=/c"],
        ),
        (["data=/a b/it's (2019), ünï", "train"], ["train", "recipe=synthetic", "data=/a b/it's (2019), ünï"]),
        (["+trainer.max_time=00:01:00:00", "train"], ["train", "recipe=synthetic", "+trainer.max_time=00:01:00:00"]),
        (["ARGS=objective=pit debug=fast", "train"], ["train", "recipe=synthetic", "objective=pit", "debug=fast"]),
        (["rooms"], ["rooms", "path=rooms.npz"]),
        (["rooms=/r 1.npz", "rt60=[0.2,0.6]", "rooms"], ["rooms", "path=/r 1.npz", "rt60=[0.2,0.6]"]),
        (["names=A,B", "rows=a,b", "compare"], ["compare", "recipe=synthetic", "names=A,B", "rows=a,b"]),
        (["runs=/q", "tables"], ["tables", "runs=/q"]),
        (
            ["sweep=learning-rate", "agents=2", "sweep"],
            ["sweep", "recipe=synthetic", "sweep=learning-rate", "agents=2"],
        ),
        (["data=/d", "output=s3://b/p?a=1&b=2", "shard"], ["shard", "data=/d", "output=s3://b/p?a=1&b=2"]),
        (["checkpoint=$HOME `x`.ckpt", "listen"], ["listen", "checkpoint=$HOME `x`.ckpt"]),
    ],
)
def test_what_is_typed_arrives(typed, words):
    found = command(*typed)
    assert found[0] == words[0] and sorted(found) == sorted(words)
