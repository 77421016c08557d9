"""Parallel work in processes of this machine."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import TypeVar

from .errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


class ProcessDied(UserError):
    """One of the processes has died: it was killed, or it crashed."""


@contextmanager
def side_by_side(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Iterator[tuple[int, Result]]]:
    """Call a function on every item, in as many processes as there are cores.

    They are forked, so that recipes' modules need not be imported again: before the caller starts a thread. Where the
    block ends early, what has begun is finished and nothing else is begun. Not `multiprocessing.Pool`, which waits for
    ever for what a process was doing that died.

    Yields:
        Numbers of items and what the function gave, in the order in which they are done.

    Raises:
        ProcessDied: while the results are awaited.
    """
    pool = ProcessPoolExecutor(min(num_cores(), len(items)), get_context("fork"), begin)
    try:
        with ignoring_interrupts():
            numbers = {pool.submit(function, item): number for number, item in enumerate(items)}
        yield ((numbers[future], future.result()) for future in as_completed(numbers))
    except BrokenProcessPool as error:
        raise ProcessDied(
            "a process has died, perhaps for lack of memory: free some, then run the same command again to resume"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def begin() -> None:
    """Initialise a process: it ends with its parent, which may be killed, and computes with one thread.

    The threads of OpenMP that its parent had are not there after a fork, but would be waited for.
    """
    import torch  # is there already

    torch.set_num_threads(1)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def ignoring_interrupts() -> Iterator[None]:
    """Fork processes in the block that ignore ctrl-C; the process that ends them handles it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
