"""In place of `mixit train`: eight validations of no work, whose loss is lowest at a learning rate of 10^-2.5.

A rate above 1 fails. `PRETEND_NOTES` names the file that says what began and was stopped. Rates above
`PRETEND_HOLD_ABOVE` wait after three validations for a file `go` beside it, or for a signal. With `PRETEND_MEET` that
many trainings wait for each other. Nothing but the standard library, so that it starts at once.
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


def stop(number, frame):
    raise KeyboardInterrupt


def main(words):
    signal.signal(signal.SIGTERM, stop)
    settings = dict(word.split("=", 1) for word in words)
    folder, rate = Path(settings["hydra.run.dir"]), float(settings.get("optimizer.lr", 0.002))
    notes = Path(os.environ["PRETEND_NOTES"])

    def note(what):
        names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
        about = {"what": what, "pid": os.getpid(), "rate": rate, "settings": settings}
        with notes.open("a") as file:
            file.write(json.dumps(about | {name: os.environ.get(name) for name in names}) + "\n")

    def wait_until(holds):
        end = time.monotonic() + 60
        while not holds():
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(0.02)

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metrics.csv"
    note("began")
    try:
        if rate > 1:
            print("epoch 1\nmixit: the loss is not finite at step 3; lower optimizer.lr", file=sys.stderr)
            return 1
        wait_until(lambda: notes.read_text().count('"began"') >= int(os.environ.get("PRETEND_MEET", "0")))
        done = path.read_text().count("val/loss") if path.exists() else 0
        for iteration in range(done + 1, ITERATIONS + 1):
            with path.open("a", newline="") as file:
                loss = (math.log10(rate) + 2.5) ** 2 + 1 / iteration
                csv.writer(file).writerow([iteration * 10, iteration * 0.5, "val/loss", loss])
            if iteration == 3 and rate > float(os.environ.get("PRETEND_HOLD_ABOVE", "inf")):
                note("holds")
                wait_until(lambda: notes.with_name("go").exists())
    except KeyboardInterrupt:
        note("stopped")
        return 75
    (folder / "results.json").write_text(json.dumps({"metrics": {"si_snri": 10 * rate}}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
