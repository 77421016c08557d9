"""All questions that are asked of every version, in one table: what `make bench` does.

Every script runs in a process of its own, one after the other. Writes `results.json` (rows, commit, versions, hardware,
date, load of the machine before it started), `table.md` and `growth.png`.

    python benchmarks/all.py [--quick] [--out runs/bench] [SCRIPT ...]
"""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from harness import Row, Spread, cells, table
from rich.console import Console

from mixit_lightning.files import replacing
from mixit_lightning.run import provenance

SCRIPTS = (
    "mixit_loss",
    "loss_memory",
    "pit_loss",
    "tdcnpp",
    "training_step",
    "data",
    "evaluation",
    "separation",
    "startup",
)
IDLE = 0.3
"""Load, in processes, of a machine that does nothing else."""


def ask(script: str, *, quick: bool) -> list[Row]:
    """The rows of a script; its progress goes to the terminal.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = [sys.executable, Path(__file__).with_name(f"{script}.py"), "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [read(json.loads(line)) for line in done.stdout.splitlines() if line.startswith("{")]


def read(entry: dict) -> Row:
    """A row from its JSON."""
    spreads = {name: entry[name] and Spread(**entry[name]) for name in ("ratio", "distance")}
    return Row(**{**entry, **spreads})


def markdown(rows: list[Row]) -> str:
    """The table for a README."""
    lines = [
        "| question | peer | ratio | goal | limit | distance to the limit |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*lines, *("| " + " | ".join(cells(row)) + " |" for row in rows)]) + "\n"


def main() -> int:
    """Ask, print, write; 1 if a script failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", nargs="*", default=list(SCRIPTS), metavar="SCRIPT", help=", ".join(SCRIPTS))
    parser.add_argument("--quick", action="store_true", help="few rounds, small sizes: under two minutes")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    if unknown := set(options.scripts) - set(SCRIPTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are: {', '.join(SCRIPTS)}")
    load, start = os.getloadavg()[0], time.monotonic()
    if load > IDLE:
        print(f"the machine is not idle (load {load:.2f}): ratios will scatter", file=sys.stderr)
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    failed = []
    for number, script in enumerate(options.scripts, 1):
        print(f"{number}/{len(options.scripts)} {script}", file=sys.stderr, flush=True)
        try:
            rows += ask(script, quick=options.quick)
        except subprocess.CalledProcessError:
            failed.append(script)
    if not options.quick:
        growth = Path(__file__).with_name("growth.py")
        if subprocess.run([sys.executable, growth, "--out", options.out / "growth.png"]).returncode:
            failed.append("growth")
    record = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance(),
        "quick": options.quick,
        "load_before": load,
        "seconds": round(time.monotonic() - start),
        "rows": [{**vars(row), "met": row.met, **spreads(row)} for row in rows],
    }
    for name, text in (("results.json", json.dumps(record, indent=2) + "\n"), ("table.md", markdown(rows))):
        with replacing(options.out / name) as partial:
            partial.write_text(text)
    Console(width=None if sys.stdout.isatty() else 180).print(table(rows))
    print(f"{options.out / 'results.json'}: {record['seconds']} s, commit {record['commit'][:7]}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def spreads(row: Row) -> dict[str, object]:
    """Those of a row, as JSON knows them."""
    return {name: spread and vars(spread) for name, spread in (("ratio", row.ratio), ("distance", row.distance))}


if __name__ == "__main__":
    sys.exit(main())
