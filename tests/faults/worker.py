"""A process that has everything imported, and runs each command in a copy of itself, within bounds.

Lines of JSON come in, one a command, and go out, one an `Outcome`. Apart from the tests, as these have started threads.
"""

import contextlib
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, NamedTuple

SECONDS = 10.0
"""Within which every command ends."""

PATIENCE = 20.0
"""Seconds in which a command that was told to stop must have done so."""

GROWTH = 1000
"""MB that a command may take beyond what the process had."""

ADDRESSES = 3 * 2**30
"""Bytes beyond which memory is refused, so that a test does not take the machine's."""


MODULES = (
    "asteroid.models",
    "matplotlib.pyplot",
    "optuna",
    "pandas",
    "pyarrow.parquet",
    "safetensors.torch",
    "scipy.signal",
    "torchaudio.functional",
    *(
        f"mixit_lightning.{name}"
        for name in (
            "corpora.doctor",
            "report.comparison",
            "report.page",
            "tables.render",
            "rooms",
            "inference.files",
            "streaming.packing",
            "inference.export",
            "sweeps.local",
            "training.evaluate",
            "training.train",
        )
    ),
)
"""Slow to import."""


class Outcome(NamedTuple):
    """What came of a command."""

    status: int
    """As a shell would tell it; negative: the signal that ended it."""
    out: str
    err: str
    seconds: float
    growth: float
    """MB."""
    left: int
    """Processes that it left behind."""


class Worker:
    """Runs commands one after another."""

    def __init__(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "1000"}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(
        self,
        words: list[str],
        place: Path,
        root: Path | None = None,
        seconds: float = SECONDS,
        number: int = signal.SIGKILL,
    ) -> Outcome:
        """Run `mixit WORDS` in a folder, and send it a signal if it is not done in time.

        Args:
            words: of the command.
            place: the folder.
            root: stands in for the checkout.
            seconds: that it has.
            number: of the signal.
        """
        assert self.process.stdin and self.process.stdout
        request: dict[str, Any] = {"words": words, "place": str(place), "root": root and str(root)}
        request |= {"seconds": seconds, "number": int(number)}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return Outcome(*json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """End it."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def main(requests: IO[str], answers: IO[str]) -> None:
    """Answer requests until there are no more."""
    import_everything()
    for line in requests:
        answers.write(json.dumps(answer(**json.loads(line))) + "\n")
        answers.flush()


def import_everything() -> None:
    """Import what commands import when they are run."""
    for name in MODULES:
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)


def memory() -> float:
    """MB of a copy of this process that does nothing."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    return os.wait4(child, 0)[2].ru_maxrss / 1024


def answer(words: list[str], place: str, root: str | None, seconds: float, number: int) -> tuple[Any, ...]:
    """Run a command in a copy of this process, which leads a group of its own."""
    said = [Path(place, name) for name in ("out.txt", "err.txt")]
    before = memory()
    start = time.monotonic()
    for path in said:
        path.write_text("")
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.chdir(place)
        for path, descriptor in zip(said, (1, 2), strict=True):
            os.dup2(os.open(path, os.O_WRONLY), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os._exit(run(words, root))
    with contextlib.suppress(PermissionError, ProcessLookupError):  # whoever of the two comes first
        os.setpgid(child, child)
    due = [(start + seconds, number), (start + seconds + PATIENCE, signal.SIGKILL)]
    while not (ended := os.wait4(child, os.WNOHANG))[0]:
        if due and time.monotonic() > due[0][0]:
            os.killpg(child, due.pop(0)[1])  # it has not been waited for, so that its number is still its own
        time.sleep(0.002)
    took = time.monotonic() - start
    left = settled(child)
    texts = [path.read_text(errors="replace") for path in said]
    growth = ended[2].ru_maxrss / 1024 - before
    return os.waitstatus_to_exitcode(ended[1]), *texts, took, growth, left


def settled(group: int) -> int:
    """How many processes of a group are left a moment after its leader has ended; they are ended then."""
    for _ in range(100):
        if not (left := members(group)):
            return 0
        time.sleep(0.02)
    os.killpg(group, signal.SIGKILL)
    return left


def members(group: int) -> int:
    """Living processes of a group, on Linux."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, own = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has just ended
            continue
        count += own == str(group) and state != "Z"
    return count


def run(words: list[str], root: str | None) -> int:
    """Run a command as a shell would, and give its status."""
    import traceback

    from mixit_lightning import cli
    from mixit_lightning.sweeps import local

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESSES, size + ADDRESSES))
    if root is not None:
        take_place_of_checkout(Path(root))
    if words[0] == "sweep":
        local.Trials.begin = stop  # type: ignore[assignment,method-assign]
    sys.stdout = os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w")
    try:
        status = cli.main(words)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 70
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def stop(*_: object) -> None:
    """In place of a training of a sweep: it has come that far."""
    raise KeyboardInterrupt


def take_place_of_checkout(root: Path) -> None:
    """Let the package find recipes and settings elsewhere."""
    from mixit_lightning import config
    from mixit_lightning.sweeps import file
    from mixit_lightning.tables import measured, schema

    for module in (config, measured, schema, file):
        module.ROOT = root  # type: ignore[attr-defined]
    file.SWEEPS = root / "sweeps"


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print while they are imported is no answer
    main(sys.stdin, answers)
