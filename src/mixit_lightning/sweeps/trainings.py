"""A training of a sweep: the process that runs it, and what it has logged so far."""

import csv
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from ..config import Config
from ..files import lock
from ..reading import read_yaml
from ..run import RESULTS, TRAINING_RECORD, differences

if TYPE_CHECKING:  # slow to import
    from optuna import Trial

PATIENCE = 60.0
"""Seconds in which a training that is told to stop must have done so."""


@dataclass
class Training:
    """A training of the sweep."""

    name: str
    config: Config
    words: list[str]
    """All of them."""
    swept: list[str]
    """Those of the swept settings."""
    log: Path
    trial: "Trial | None" = None
    """Optuna's; the default has none."""
    process: "subprocess.Popen[bytes] | None" = None
    """None where an engine that was killed has left it behind."""
    slot: int = 0
    began: float = field(default_factory=time.monotonic)
    told_to_stop: float | None = None
    started_again: bool = False

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.config.folder

    def trained(self) -> bool:
        """Whether the run has been trained to its end, with these very settings."""
        path = self.folder / "config.yaml"
        if not ((self.folder / TRAINING_RECORD).is_file() and path.is_file()):
            return False
        return not differences(read_yaml(path), self.config.plain())

    def evaluated(self) -> bool:
        """Whether nothing is left to be done: trained, and its results are there."""
        return self.trained() and (self.folder / RESULTS).is_file()

    def start(self, environment: dict[str, str]) -> None:
        """Start, or resume from the checkpoint; if a training of an earlier engine still runs, leave that running."""
        # The child holds its log locked as long as it lives, even if this process is killed.
        with self.log.open("ab") as log:
            if not lock(log.fileno()):
                return
            self.process = start_training(self.words, log, environment)

    def alive(self) -> bool:
        """Whether it still runs."""
        if self.process is not None:
            return self.process.poll() is None
        with self.log.open("ab") as log:
            return not lock(log.fileno())

    def stop(self) -> None:
        """Tell it to stop, which leaves its last checkpoint."""
        self.told_to_stop = time.monotonic()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def kill_if_late(self) -> None:
        """End it if it has not stopped by itself."""
        if self.told_to_stop is not None and time.monotonic() > self.told_to_stop + PATIENCE:
            self.kill()

    def kill(self) -> None:
        """End it and its loading processes at once."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def error(self) -> str:
        """Why it ended: the last line it said."""
        status = self.process.returncode if self.process is not None else None
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        said = lines[-1].removeprefix("mixit: ") if lines else "it said nothing"
        return f"ended by signal {-status}; {said}" if status is not None and status < 0 else said


def start_training(words: Sequence[str], log: IO[bytes], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    """`mixit train` as a process of its own, whose output goes to a file."""
    # A bar would fill the file, and a job would be gone at once; neither is of consequence for the run or its name.
    here = ["trainer.enable_progress_bar=false", "launcher=here"]
    return subprocess.Popen(
        [sys.executable, "-m", "mixit_lightning.cli", "train", *here, *words],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,  # the terminal's ctrl-c is for this process, which tells its children
    )


class Curve(NamedTuple):
    """A metric of a run."""

    values: list[float]
    """Finite ones, in the order of the steps: an iteration each."""
    seconds: float
    """Of training so far."""
    step: int
    """The last at which it was logged."""


def read_curve(path: Path, metric: str) -> Curve:
    """A metric in `metrics.csv`."""
    values: dict[int, float] = {}
    seconds = 0.0
    for step, at, name, value in rows_of(path):
        try:
            seconds = float(at)
            if name == metric and math.isfinite(float(value)):
                values[int(step)] = float(value)
        except ValueError:  # it is being written
            continue
    return Curve([values[step] for step in sorted(values)], seconds, max(values, default=0))


def metrics_in(path: Path) -> list[str]:
    """Metrics of `metrics.csv`."""
    return sorted({name for _, _, name, _ in rows_of(path)})


def rows_of(path: Path) -> list[list[str]]:
    """Rows of `metrics.csv` below the heading; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return [row for row in csv.reader(file) if len(row) == 4 and row[0].isdecimal()]
