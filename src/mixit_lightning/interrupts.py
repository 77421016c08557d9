"""Being asked to stop, by ctrl-C or by a scheduler: training then saves what it has before it ends."""

import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STOPPED = 75
"""Exit status of a command that was asked to stop and can resume: EX_TEMPFAIL, upon which a job is queued again."""

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C; a scheduler that takes the machine back; and one that says that time is nearly up."""


class Stopped(BaseException):
    """The command was asked to stop and can be resumed; no error, and like ctrl-C not to be caught as one.

    Args:
        number: of the signal; None where another process was asked.
    """

    def __init__(self, number: int | None) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name if number else 'another process'}")
        self.status = 128 + signal.SIGINT if number == signal.SIGINT else STOPPED


class StopRequest:
    """What was asked of this process so far.

    Outside of `deferred` a signal ends the block at once, inside only a second ctrl-C does.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.waiting = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals."""
        again = self.number is not None
        self.number = self.number or number
        if not self.waiting or (again and number == signal.SIGINT):
            raise Stopped(number)
        if not again:
            say(f"{signal.Signals(number).name}: stops as soon as this step is saved")
            if number == signal.SIGINT:
                leave_pipe()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Leave it to the block to look at `number` when it suits it."""
        self.waiting = True
        try:
            yield
        finally:
            self.waiting = False


def say(text: str) -> None:
    """Print where a handler may, whatever it has interrupted and whoever has gone."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())


def leave_pipe() -> None:
    """Let nothing more go down a pipe: ctrl-C ends the other program too, as in `mixit train ... | tee log`.

    What was printed then would end training before it has saved.
    """
    if stat.S_ISFIFO(os.fstat(1).st_mode):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


REQUEST = StopRequest()
"""That of this process, as signals are sent to processes."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Note signals during the block, in the main thread.

    SIGUSR2 is submitit's, which queues its job again at once; here it may do so when the run is saved.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [*NUMBERS, *([signal.SIGUSR2] if callable(signal.getsignal(signal.SIGUSR2)) else [])]
    earlier = {number: signal.signal(number, REQUEST.note) for number in numbers}
    try:
        yield
    finally:
        asked, REQUEST.number = REQUEST.number, None  # it was for this block alone
        for number, handler in earlier.items():
            signal.signal(number, handler)
        if asked == signal.SIGUSR2:
            signal.raise_signal(asked)


def leave_to_parent(worker: int) -> None:
    """Ignore the signals in a loading process: its parent needs the batches until it stops, and takes it along then."""
    for number in NUMBERS:
        signal.signal(number, signal.SIG_IGN)
