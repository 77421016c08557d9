"""Runs what is missing of a recipe's table, one training per row and seed, and continues after one that fails."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..config import NOT_PART_OF_A_RUN, PATHS, load_config, parse
from ..errors import UserError
from ..files import lock
from ..reading import last_line
from .measured import Attempt, Measured, Measurement, State, label, row_words
from .schema import Row, Table, read_rows

SUCCESS, INTERRUPTED = 0, 130


def reproduce(recipe: str, names: Sequence[str] | None, words: Sequence[str]) -> list[Measurement]:
    """Run the rows that no run has measured yet, and return what is then known of every one.

    Each is the training that `mixit train` with the row's settings makes: one that was stopped resumes from its last
    checkpoint. Why a row failed is noted beside the run folders, for `mixit table`.

    Args:
        recipe: its name.
        names: of the rows; None is all.
        words: where data and other places are, and settings that are no part of a run.

    Raises:
        UserError: there is no such row, or a word would make it another run than the row's.
        KeyboardInterrupt: a training was stopped; the same command resumes it.
    """
    rows, wanted = read_rows(recipe), {row.name for _, row in read_rows(recipe, names)}
    check_words(words, [row for _, row in rows])
    # In the order of the table, where rows stand before those that start from them.
    todo = [(table, row, seed) for table, row in rows for seed in row.seeds if row.name in wanted]
    for number, (table, row, seed) in enumerate(todo, 1):
        measured = Measured(recipe, words)
        found = measured.measurement(table, row, seed)
        where = f", in {found.folder}" if found.state is State.MEASURED else ""
        print(f"[{number}/{len(todo)}] {row.name}, seed {seed}: {found.state}{where}", flush=True)
        if found.state not in (State.MEASURED, State.CANNOT):
            attempt(measured, table, row, seed)
    measured = Measured(recipe, words)
    return [measured.measurement(table, row, seed) for table, row, seed in todo]


def check_words(words: Sequence[str], rows: Sequence[Row]) -> None:
    """Refuse settings that would make a row another run.

    Raises:
        UserError: with the first such word.
    """
    places = {"data", *PATHS, *(key for row in rows for key in row.needs)}
    for override in parse(words):
        key = override.key_or_group
        free = [own for own in NOT_PART_OF_A_RUN if own != "checkpoint"]  # a row's figures are of its own
        if key not in places and not any(f"{key}.".startswith(f"{own}.") for own in free):
            raise UserError(
                f"{override.input_line}: a row is run as table.yaml has it; use `mixit train` for other settings"
            )


def attempt(measured: Measured, table: Table, row: Row, seed: int) -> None:
    """Train and evaluate one row with one seed, and note what became of it."""
    path = measured.attempt_path(row, seed)
    line = row_words(measured.recipe, table, row, seed)
    try:
        line += places_of(measured, table, row, seed)
        folder = load_config(line).folder
    except UserError as error:  # nothing that the next call would not find as well
        print(f"  cannot be begun: {error}", flush=True)
        return
    log = path.with_suffix(".log")
    Attempt(words=line, folder=folder.name, reason=None).write(path)
    status = run_train(line, log)
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    reason = None if status == SUCCESS else f"{last_line(log) or 'it said nothing'} (exit status {status}, {log.name})"
    Attempt(words=line, folder=folder.name, reason=reason).write(path)
    if reason is not None:
        print(f"  failed: {reason}", flush=True)


def places_of(measured: Measured, table: Table, row: Row, seed: int) -> list[str]:
    """The given words that a row takes, and the checkpoint that it starts from.

    Raises:
        UserError: one that it needs was not given, or the row that it starts from has no checkpoint here.
    """
    for key in row.needs:
        if key not in measured.given:
            raise UserError(f"row {row.name} needs {key}=PATH")
    others = {*PATHS, *(key for _, one in read_rows(measured.recipe) for key in one.needs)}
    taken = [word for key, word in measured.given.items() if key not in others or key in row.needs]
    if row.starts_from is not None:
        first = next(other for other in table.rows if other.name == row.starts_from)
        found = measured.measurement(table, first, seed)
        checkpoint = found.folder and found.folder / "checkpoints" / "best.ckpt"
        if checkpoint is None or not checkpoint.is_file():
            command = " ".join(row_words(measured.recipe, table, first, seed))
            raise UserError(
                f"row {row.name} starts from the checkpoint of {first.name}, which is not here; run that first "
                f"(`mixit train {command}` with its places)"
            )
        taken.append(f"warm_start={checkpoint}")
    return taken


def run_train(words: Sequence[str], log: Path) -> int:
    """Run `mixit train` in a process of its own; its output is shown and logged. Returns the exit status."""
    command = [sys.executable, "-m", "mixit_lightning.cli", "train", *words]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.with_suffix(".lock").open("w") as held:
        if not lock(held.fileno()):
            raise UserError(f"{log}: this row is being trained by another process; wait for it, or stop it")
        with (
            log.open("w", encoding="utf-8", errors="replace", buffering=1) as file,
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                pass_fds=[held.fileno()],  # it holds the lock as long as it lives, even if this process is killed
                start_new_session=True,  # so that ctrl-C reaches it once, through us
            ) as child,
        ):
            assert child.stdout is not None
            try:
                for line in child.stdout:
                    file.write(line)
                    print(f"  {line}", end="", flush=True)
                return child.wait()
            except KeyboardInterrupt:
                child.send_signal(signal.SIGINT)
                child.communicate()  # until it has left its checkpoint
                return INTERRUPTED


def check_all(found: Sequence[Measurement]) -> None:
    """Say what is known of the rows that were to be run, a line each.

    Raises:
        UserError: some that can be run have not been measured.
    """
    for one in found:
        print(f"{label(one.row, one.seed)}: {one.state}" + (f" ({one.reason})" if one.reason else ""))
    left = [one for one in found if one.state not in (State.MEASURED, State.CANNOT)]
    if left:
        raise UserError(f"{len(left)} of {len(found)} could not be measured: {', '.join(one.row.name for one in left)}")
