"""What the benchmarks share: sides timed in turns, a row for the table, and the command line of a script.

A script answers one question or a few of a kind. It has a function `measure(quick)` that yields rows, asserts in the
same run that both sides computed the same, and ends with `run(measure, __doc__)`.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Spread:
    """Median, least and most over the rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Of one value a round."""
        return cls(statistics.median(values), min(values), max(values))

    @classmethod
    def ratio(cls, above: list[float], below: list[float]) -> "Spread":
        """Of the ratios of two sides that were timed in turns, round by round."""
        return cls.of([one / other for one, other in zip(above, below, strict=True)])

    def __str__(self) -> str:
        return f"{short(self.median)} ({short(self.least)} to {short(self.most)})"


@dataclass(frozen=True)
class Row:
    """A question and its answer."""

    question: str
    peer: str
    """What ours is held against."""
    ratio: Spread
    """Times faster, or smaller, than the peer; where `at_most`, times slower, or larger."""
    goal: float | None = None
    at_most: bool = False
    limit: str = ""
    """What no version can fall below on this machine, or, where the goal is not met, what forbids it."""
    distance: Spread | None = None
    """Ours over the limit."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Median seconds of a call, by side."""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the median meets the goal; None without one."""
        if self.goal is None:
            return None
        return self.ratio.median <= self.goal if self.at_most else self.ratio.median >= self.goal


def short(number: float) -> str:
    """Three digits, and all of those before the point."""
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def in_turns(
    sides: Mapping[str, Callable[[], object]], rounds: int, seconds: float = 0.1, warm_up: int = 2
) -> dict[str, list[float]]:
    """Seconds a call of each side, one value a round.

    The sides take turns, in the other order every other round, each with as many calls as fill `seconds`, so that what
    else the machine does falls on all of them alike.
    """
    calls = {}
    for name, side in sides.items():
        for _ in range(warm_up):
            start = time.perf_counter()
            side()
            took = time.perf_counter() - start
        calls[name] = max(1, round(seconds / took))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides) if number % 2 == 0 else reversed(list(sides)):
            start = time.perf_counter()
            for _ in range(calls[name]):
                sides[name]()
            times[name].append((time.perf_counter() - start) / calls[name])
    return times


def medians(times: Mapping[str, list[float]]) -> dict[str, float]:
    """Median seconds of each side."""
    return {name: statistics.median(values) for name, values in times.items()}


def table(rows: list[Row]) -> Table:
    """The table that `make bench` prints."""
    drawn = Table(title="Benchmarks: median (least to most) over the rounds", show_lines=True)
    for name in ("question", "peer", "ratio", "goal", "limit", "distance to the limit"):
        drawn.add_column(name, overflow="fold", min_width=8)
    for row in rows:
        drawn.add_row(*cells(row))
    return drawn


def cells(row: Row) -> list[str]:
    """The words of a row; the goal says whether it was met."""
    goal = ""
    if row.goal is not None:
        goal = f"{'≤' if row.at_most else '≥'} {short(row.goal)}, {'met' if row.met else 'NOT met'}"
    return [row.question, row.peer, str(row.ratio), goal, row.limit, str(row.distance or "")]


def run(measure: Callable[[bool], Iterator[Row]], description: str | None) -> None:
    """The command line of a script: print each row as it is known, then the table; with `--json`, one line per row."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, small sizes")
    parser.add_argument("--json", action="store_true", help="a line of JSON a row on stdout")
    options = parser.parse_args()
    rows = []
    for row in measure(options.quick):
        rows.append(row)
        print(f"{row.question} against {row.peer}: {row.ratio}", file=sys.stderr, flush=True)
        if options.json:
            print(json.dumps(asdict(row)), flush=True)
    if not options.json:
        Console(width=None if sys.stdout.isatty() else 160).print(table(rows))
