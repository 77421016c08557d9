"""Commands that can be killed: each is run in a process that has everything imported when it begins."""

import multiprocessing
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mixit_lightning.cli import main

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "asteroid.models",
        "matplotlib.pyplot",
        "pandas",
        "mixit_lightning.cli",
        "mixit_lightning.inference.files",
        "mixit_lightning.report.plots",
        "mixit_lightning.training.evaluate",
        "mixit_lightning.training.train",
    ]
)

PATIENCE = 20.0
"""Seconds in which a command that was told to stop must have done so."""


class Outcome(NamedTuple):
    """What came of a command."""

    status: int
    """As a shell would tell it; negative: the signal that ended it."""
    out: str
    err: str
    seconds: float


def run(words: list[str], folder: Path, seconds: float = 300.0, number: int = signal.SIGKILL) -> Outcome:
    """Run `mixit WORDS` in a folder, and send it and the processes that it started a signal if it takes longer.

    Args:
        words: of the command.
        folder: the working directory; out.txt and err.txt are written there.
        seconds: that it has.
        number: of the signal; no process may outlive it by more than `PATIENCE` seconds.
    """
    said = [folder / "out.txt", folder / "err.txt"]
    for path in said:
        path.write_text("")
    began = time.monotonic()
    process = FORKS.Process(target=command, args=(words, said))
    process.start()
    process.join(seconds)
    left: list[int] = []
    if process.exitcode is None:
        send(process.pid, number)
        process.join(PATIENCE)
        left = processes_left(process.pid)
    took = time.monotonic() - began
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # a copy of a process ends without Python's ending of loading processes
    process.join()
    out, err = (path.read_text(errors="replace") for path in said)
    assert not left, f"{words} left processes behind: {left}\n{out}\n{err}"
    return Outcome(process.exitcode, out, err, took)


def send(pid: int, number: int) -> None:
    """Send a signal to a command's processes, which are a group; or to itself, where it has just begun."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, number)


def command(words: list[str], said: list[Path]) -> None:
    """What the process does."""
    multiprocessing.set_start_method("fork", force=True)  # as in any program, not as this process was started
    os.setpgid(0, 0)
    os.chdir(said[0].parent)
    for path, descriptor in zip(said, (1, 2), strict=True):
        os.dup2(os.open(path, os.O_WRONLY), descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    sys.exit(main(words))


def processes_left(group: int) -> list[int]:
    """Living processes of a group a moment after its first has ended, on Linux."""
    for _ in range(100):
        left = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has just ended
                state, _, own = path.read_text().rpartition(")")[2].split()[:3]
                if own == str(group) and state != "Z":
                    left.append(int(path.parent.name))
        if not left:
            break
        time.sleep(0.02)
    return left
