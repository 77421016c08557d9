"""Jobs that make many files, on all cores, with progress, a check of the disk space, and resumable."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import written
from .pool import side_by_side
from .progress import ProgressBar, gigabytes

JOURNAL = "preparation.jsonl"
"""Finished jobs, one line per job: its first output, its key and its result; its last line counts."""


@dataclass(frozen=True)
class Job:
    """Some files to make together.

    Args:
        key: changes with everything that the files depend on, such as paths and gains.
        outputs: the files.
        size: bytes of all of them.
        make: makes them, each under a temporary name first; returns their result, fit for JSON.
    """

    key: str
    outputs: Sequence[Path]
    size: int
    make: Callable[[], Any]


def run_jobs(jobs: Sequence[Job], folder: Path) -> list[Any]:
    """Run the jobs that are not finished, and return the result of every job in order.

    A job is done when the journal in `folder` has its key last and its files exist; so the same call resumes
    one that was stopped, and makes again what has changed or was deleted.

    Raises:
        UserError: two jobs make the same file or the disk has not enough room (nothing has been written then), or a job
            fails.
    """
    names = [str(job.outputs[0].relative_to(folder)) for job in jobs]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{folder / twice[0]}: two rows of the lists make this file; remove one of them")
    folder.mkdir(parents=True, exist_ok=True)
    told = read_journal(folder / JOURNAL)
    waiting = {
        name: job
        for name, job in zip(names, jobs, strict=True)
        if told.get(name, (None,))[0] != job.key or not all(path.is_file() for path in job.outputs)
    }
    check_room(folder, sum(job.size for job in waiting.values()), len(waiting), len(jobs))
    for parent in sorted({path.parent for job in waiting.values() for path in job.outputs}):
        parent.mkdir(parents=True, exist_ok=True)
    if waiting:
        try:
            make_all(waiting, folder / JOURNAL, told)
        finally:
            # Workers that were stopped in the middle of a file had no time to tidy up.
            for job in waiting.values():
                for path in job.outputs:
                    path.with_name(f"{path.name}.partial").unlink(missing_ok=True)
    return [told[name][1] for name in names]


def make_all(waiting: dict[str, Job], journal: Path, told: dict[str, tuple[str, Any]]) -> None:
    """Run jobs on all cores, and write each result to the journal as soon as the job is finished."""
    names = [*waiting]
    with (
        side_by_side(methodcaller("make"), [*waiting.values()]) as answers,
        written(journal),  # which is tried once more when it is closed
        journal.open("a") as lines,
        ProgressBar("Preparing", len(waiting)) as progress,
    ):
        for number, answer in answers:
            name = names[number]
            told[name] = (waiting[name].key, answer)
            lines.write(json.dumps([name, *told[name]]) + "\n")
            lines.flush()
            progress.advance()


def read_journal(path: Path) -> dict[str, tuple[str, Any]]:
    """Read the finished jobs; an incomplete last line is removed.

    Raises:
        UserError: a line is not one of a journal.
    """
    if not path.exists():
        return {}
    lines = path.read_bytes().split(b"\n")
    if lines[-1]:
        os.truncate(path, path.stat().st_size - len(lines[-1]))
    told = {}
    for number, line in enumerate(lines[:-1], 1):
        try:
            name, key, answer = json.loads(line)
            told[str(name)] = (str(key), answer)
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}, line {number}: is damaged; remove the file, and all is made again") from error
    return told


def check_room(folder: Path, needed: int, waiting: int, total: int) -> None:
    """Print what will be written, and refuse if the disk has no room for it.

    Raises:
        UserError: more is needed than there is, with both figures.
    """
    free = shutil.disk_usage(folder).free
    done = f"{total - waiting} of {total} are done; " if waiting < total else ""
    print(f"{folder}: {done}{waiting} to make, {gigabytes(needed)}; the disk has {gigabytes(free)}", flush=True)
    if needed > free:
        raise UserError(
            f"{folder}: needs {gigabytes(needed)} and the disk has {gigabytes(free)}; make room, or choose to make less"
        )
