"""The curves of a run as one CSV, one row per value: `step,seconds,metric,value`."""

import csv
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from ..errors import UserError
from ..files import replacing, written

COLUMNS = ("step", "seconds", "metric", "value")


def is_value(row: list[str]) -> bool:
    """Whether a row is whole: a kill, or a full disk, may have cut it off."""
    try:
        return len(row) == len(COLUMNS) and int(row[0]) >= 0 and float(row[1]) >= 0
    except ValueError:
        return False


class CurvesLogger(Logger):
    """Appends every logged value to a file, also after a run is resumed.

    Args:
        path: of the CSV.
        steps_taken: how many steps the run has taken when a value is logged. Lightning's own count is one too high
            after a resume.
    """

    def __init__(self, path: Path, steps_taken: Callable[[], int]) -> None:
        super().__init__()
        self.path = path
        self.steps_taken = steps_taken
        self.seconds_before = 0.0
        self.start = time.monotonic()

    @property
    def name(self) -> str:
        """Of the run."""
        return self.path.parent.name

    @property
    def version(self) -> str:
        """There is one only."""
        return ""

    @property
    def seconds(self) -> float:
        """Training time so far, over all sessions of the run; what a kill undid is not counted."""
        return self.seconds_before + time.monotonic() - self.start

    @rank_zero_only
    def rewind(self, steps: int) -> None:
        """Keep what was logged in the first `steps` steps; what came later, or was cut off, will be logged again.

        Raises:
            UserError: there is something else in the file.
        """
        rows = []
        if self.path.exists():
            try:
                with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
                    rows = [row for row in csv.reader(file) if is_value(row)]
            except csv.Error as error:
                raise UserError(f"{self.path}: cannot be read as curves ({error}); move it away") from error
        rows = [row for row in rows if int(row[0]) <= steps]
        with replacing(self.path) as partial, partial.open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
        self.seconds_before = float(rows[-1][1]) if rows else 0.0
        self.start = time.monotonic()

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one row per value."""
        step, seconds = self.steps_taken(), f"{self.seconds:.3f}"
        rows = [(step, seconds, name, repr(float(value))) for name, value in metrics.items() if name != "epoch"]
        with written(self.path), self.path.open("a", newline="") as file:
            csv.writer(file).writerows(rows)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The config has a file of its own."""
