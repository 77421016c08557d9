"""How long does `mixit --help` take?

python benchmarks/startup.py [--quick] [--json]
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from harness import Row, Spread, in_turns, medians, run


def measure(quick: bool) -> Iterator[Row]:
    """The row of the table."""
    mixit = Path(sys.executable).with_name("mixit")
    sides = {
        "mixit --help": lambda: subprocess.run([mixit, "--help"], check=True, capture_output=True),
        "python": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
    }
    times = in_turns(sides, 5 if quick else 15)
    yield Row(
        "seconds until mixit --help is there",
        "one second",
        Spread.of(times["mixit --help"]),
        1,
        at_most=True,
        limit="an interpreter that does nothing",
        distance=Spread.ratio(times["mixit --help"], times["python"]),
        seconds=medians(times),
    )


if __name__ == "__main__":
    run(measure, __doc__)
