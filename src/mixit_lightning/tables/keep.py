"""What is kept of a run in the repository: its record, without checkpoints, sounds and paths of the machine."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import yaml

from ..config import PLACES
from ..errors import UserError
from ..files import written
from ..run import RESULTS, portable
from .measured import CONFIG, CURVES, Measured, State, label, read_record
from .reproduce import check_words
from .schema import read_rows

EXAMPLES = "examples.csv"


def keep(recipe: str, names: Sequence[str] | None, words: Sequence[str]) -> list[Path]:
    """Copy config, results, curves and figures of the runs that measured a recipe's rows to `recipes/<name>/results/`.

    Args:
        recipe: its name.
        names: of the rows; None is all that were measured.
        words: where run folders are.

    Raises:
        UserError: there is no such row, or no run has measured it.
    """
    measured = Measured(recipe, words)
    check_words(words, [row for _, row in read_rows(recipe)])
    kept = []
    for table, row in read_rows(recipe, names):
        for seed in row.seeds:
            found = measured.measurement(table, row, seed)
            if found.state is not State.MEASURED or found.folder is None:
                if names:
                    raise UserError(
                        f"row {row.name}, seed {seed}: {found.state}" + (f", {found.reason}" if found.reason else "")
                    )
                continue
            target = measured.kept / label(row, seed)
            if found.folder != target:
                copy_record(found.folder, target, (*PLACES, *row.needs))
                kept.append(target)
    return kept


def copy_record(folder: Path, target: Path, places: Sequence[str]) -> None:
    """Copy the record of a run folder; its places become `${key}`."""
    config = yaml.safe_dump(portable(read_record(folder).config, places), sort_keys=False)
    partial = target.with_name(f"{target.name}.partial")
    with written(target):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / CONFIG).write_text(config, encoding="utf-8")
        for name in (RESULTS, CURVES, EXAMPLES):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, partial / name)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
