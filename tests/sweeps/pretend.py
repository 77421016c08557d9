"""In place of a training: eight validations of no work, whose loss is lowest at a learning rate of 10^-2.5.

A rate above 1 fails, and one of exactly 1 logs something else. What began, stopped and ended is noted. `PRETEND` of the
environment says where and how, see `engine.py`. Nothing but the standard library, so that it starts at once.
"""

import csv
import json
import math
import os
import signal
import sys
import time
from pathlib import Path

ITERATIONS = 8

TOO_LONG = 60
"""Seconds, after which a test is given up."""


def main(words: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    plan = json.loads(os.environ["PRETEND"])
    notes, folder = Path(plan["notes"]), Path(plan["folder"])

    def note(what: str) -> None:
        with notes.open("a") as file:
            entry = {"what": what, "words": words, "rate": plan["swept"], "threads": os.environ.get("OMP_NUM_THREADS")}
            entry["gpu"] = os.environ.get("CUDA_VISIBLE_DEVICES")
            file.write(json.dumps(entry) + "\n")

    def wait_until(holds) -> None:
        for _ in range(TOO_LONG * 50):
            if holds():
                return
            time.sleep(0.02)
        raise TimeoutError

    def hold(where: str) -> None:
        if rate > plan["hold_above"] and where == plan["hold_in"]:
            note("holds")
            wait_until(lambda: notes.with_name("go").exists())

    note("began")
    path, rate = folder / "metrics.csv", plan["rate"]
    try:
        error = plan["error"] or ("the loss is not finite at step 3; lower optimizer.lr" if rate > 1 else None)
        if error is not None:
            print(f"epoch 1\nmixit: {error}", file=sys.stderr)
            return 1
        if not (folder / "training.json").exists():
            done = path.read_text().count("val/loss") if path.exists() else 0
            for iteration in range(done + 1, ITERATIONS + 1):
                loss = (math.log10(rate) + 2.5) ** 2 + 1 / iteration
                with path.open("a", newline="") as file:
                    name = "train/loss" if rate == 1 else "val/loss"
                    csv.writer(file).writerow([iteration * 10, iteration * 0.5, name, loss])
                if iteration >= 3:
                    hold("training")
                if iteration == 3 and plan["meet"]:
                    wait_until(lambda: notes.read_text().count('"began"') >= 2)
            (folder / "training.json").write_text(json.dumps({"seconds": 4.0}))
        hold("evaluation")
        (folder / "results.json").write_text("{}")
    except KeyboardInterrupt:
        note("stopped")
        return 130
    note("ended")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
