"""Work side by side, and what is left of it when something goes wrong."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mixit_lightning import pool
from mixit_lightning.pool import ProcessDied, side_by_side

ORPHANS = """
import os, sys, time
from mixit_lightning import pool
pool.num_cores = lambda: 2

def work(number):
    print(os.getpid(), flush=True)
    time.sleep(60)

with pool.side_by_side(work, [1, 2]) as results:
    list(results)
"""


def square(number):
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 5:
        raise ValueError("five")
    return number**2


def test_everything_is_given_with_its_number():
    with side_by_side(square, [4, 3, 2]) as results:
        assert sorted(results) == [(0, 16), (1, 9), (2, 4)]


def test_an_error_is_that_of_the_function():
    with pytest.raises(ValueError, match="five"), side_by_side(square, [1, 5]) as results:
        list(results)


def test_a_process_that_is_killed_is_noticed():
    with pytest.raises(ProcessDied), side_by_side(square, [1, 7, 2, 3]) as results:
        list(results)


def test_processes_hear_no_ctrl_c(monkeypatch):
    monkeypatch.setattr(pool, "num_cores", lambda: 2)
    with side_by_side(interrupted, [0, 1, 2]) as results:
        assert sorted(results) == [(0, "alive"), (1, "alive"), (2, "alive")]


def interrupted(number):
    os.kill(os.getpid(), signal.SIGINT)
    return "alive"


THREADS = """
import numpy as np, torch
from mixit_lightning.audio.resampling import resample
from mixit_lightning.pool import side_by_side

torch.set_num_threads(4)
torch.ones(2**22).add(1).sum()

def work(seconds):
    return resample(np.ones(seconds * 16000, np.float32), 16000, 11025).shape

with side_by_side(work, [10, 20, 30]) as results:
    print(sorted(results))
"""


def test_threads_of_the_parent_are_not_waited_for():
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("[(0, (110250,)), "), done.stderr


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at /proc")
def test_none_is_left_where_their_parent_is_killed():
    with subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True) as process:
        workers = [int(process.stdout.readline()) for _ in range(2)]
        process.kill()
    deadline = time.monotonic() + 20
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
