"""Progress of long work, and sizes to read."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_SECONDS = 10.0
"""Where there is no terminal for a progress bar, a line this often."""


def gigabytes(size: int) -> str:
    """A size in bytes, to read."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


class ProgressBar:
    """Progress and remaining time: a bar on a terminal, otherwise a line now and then, or nothing if `quiet`.

    Args:
        what: is done.
        total: of what is done.
        quiet: without a word.
        aside: on standard error, as the output is something that programs read.
    """

    def __init__(self, what: str, total: int, *, quiet: bool = False, aside: bool = False) -> None:
        self.what, self.total, self.quiet, self.done = what, total, quiet, 0
        self.stream = sys.stderr if aside else sys.stdout
        self.start = self.last = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(file=self.stream)
        self.bar = Progress(*columns, transient=True, console=console) if self.stream.isatty() and not quiet else None

    def __enter__(self) -> "ProgressBar":
        if self.bar:
            self.bar.start()
            self.task = self.bar.add_task(self.what, total=self.total)
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()
        if not self.quiet:
            print(
                f"{self.what}: {self.done} of {self.total} in {time.monotonic() - self.start:.0f} s",
                file=self.stream,
                flush=True,
            )

    def advance(self) -> None:
        """One more is done."""
        self.done += 1
        if self.bar:
            self.bar.advance(self.task)
        elif not self.quiet and (now := time.monotonic()) - self.last > LINE_SECONDS:
            self.last = now
            left = (now - self.start) / self.done * (self.total - self.done)
            print(f"{self.what}: {self.done} of {self.total}, {left / 60:.1f} min left", file=self.stream, flush=True)


def seconds_bar(quiet: bool) -> Progress:
    """A bar for one recording after the other, in seconds of sound; on standard error."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f} s"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True)
    bar.add_task("")
    return bar
