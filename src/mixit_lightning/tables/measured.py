"""Which runs measured the rows of a recipe's table; of those that none did, why."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ..config import PLACES, ROOT, load_config, parse, variable_of
from ..errors import UserError
from ..files import replacing
from ..records import read_results
from ..run import RESULTS, TRAINING_RECORD, differences, digest, look_up, portable, read_config
from .schema import Row, Table, read_rows

CONFIG, CURVES = "config.yaml", "metrics.csv"


class State(StrEnum):
    """What is known of a row with one seed."""

    MEASURED = "measured"
    OTHER_TEST = "measured on another test set"
    CHANGED = "no longer matches its result"
    FAILED = "failed"
    STOPPED = "not finished"
    NOT_RUN = "not run"
    CANNOT = "cannot be run here"


@dataclass(frozen=True)
class Measurement:
    """A row with one seed, and the run that measured it."""

    row: Row
    seed: int
    state: State
    reason: str = ""
    """Why it is in no better state."""
    folder: Path | None = None
    """Of the run, or of what was kept of it."""
    results: dict[str, Any] = field(default_factory=dict)
    """Its results.json, where it has been measured."""


@dataclass(frozen=True)
class Record:
    """A run folder, or what was kept of one; what it lacks is empty."""

    folder: Path
    config: dict[str, Any]
    results: dict[str, Any]
    damage: str = ""
    """What is wrong with one of these, both of which then count as not there."""

    @property
    def shortfall(self) -> str:
        """Why its results are not those of the config: of another checkpoint, or of a training that has not ended."""
        if self.results.get("checkpoint") != "best.ckpt":
            return f"its figures are those of the checkpoint {self.results.get('checkpoint')}"
        steps, wanted = look_up(self.results, "trained_with.steps"), look_up(self.config, "trainer.max_steps")
        return "" if steps == wanted else f"evaluated after {steps or 'part'} of {wanted} steps"


class Attempt(BaseModel):
    """What `reproduce` last did for a row with one seed, beside the run folders."""

    words: list[str]
    """Of `mixit train`."""
    folder: str
    """Of the run."""
    reason: str | None
    """Why it failed, None where it did not."""

    @classmethod
    def read(cls, path: Path) -> "Attempt | None":
        """What was written there; None where nothing was, or nothing that can be read."""
        try:
            return cls.model_validate_json(path.read_bytes()) if path.is_file() else None
        except ValueError:
            return None

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def kept_folder(recipe: str) -> Path:
    """Where what is kept of a recipe's runs stands in the repository."""
    return ROOT / "recipes" / recipe / "results"


def label(row: Row, seed: int) -> str:
    """Name of the files of a row with one seed."""
    return f"{row.name}-seed-{seed}"


class Measured:
    """The runs of a recipe, those in its run folders and those kept in the repository.

    Args:
        recipe: its name.
        words: of the command line: where data and other places are, where run folders go (`runs=`).
    """

    def __init__(self, recipe: str, words: Sequence[str]) -> None:
        self.recipe = recipe
        self.given = {override.key_or_group: word for override, word in zip(parse(words), words, strict=True)}
        self.runs = Path(self.given.get("runs", "runs=runs").partition("=")[2]) / recipe
        self.kept = kept_folder(recipe)
        # Run folders first: they have checkpoints and sounds. What `keep` has not finished is nothing yet.
        folders = [path for root in (self.runs, self.kept) if root.is_dir() for path in sorted(root.iterdir())]
        self.records = [
            read_record(folder)
            for folder in folders
            if folder.suffix != ".partial" and ((folder / RESULTS).exists() or (folder / CONFIG).exists())
        ]

    def attempt_path(self, row: Row, seed: int) -> Path:
        """Where `reproduce` notes what it did."""
        return self.runs / "reproduce" / f"{label(row, seed)}.json"

    def measurement(self, table: Table, row: Row, seed: int) -> Measurement:
        """The run whose resolved config equals that of the row; where there is none, what there is instead."""
        if row.cannot is not None:
            return Measurement(row, seed, State.CANNOT, row.cannot)
        places = (*PLACES, *row.needs)
        try:
            wanted = portable(row_config(self.recipe, table, row, seed), places)
        except UserError as error:
            return Measurement(row, seed, State.FAILED, f"table.yaml: {error}")
        changes = {
            record.folder: differences(portable(record.config, places), wanted)
            for record in self.records
            if record.config
        }
        same = [record for record in self.records if changes.get(record.folder) == []]
        finished = [record for record in same if record.results and not record.shortfall]
        for record in finished:
            if self.started_elsewhere(table, row, seed, record):
                reason = f"did not start from the row {row.starts_from}"
                return Measurement(row, seed, State.CHANGED, reason, record.folder)
            if table.examples in (None, record.results["num_examples"]):
                return Measurement(row, seed, State.MEASURED, "", record.folder, record.results)
        if finished:
            count = finished[0].results["num_examples"]
            return Measurement(row, seed, State.OTHER_TEST, f"{count} examples where the table has {table.examples}")
        attempt = Attempt.read(self.attempt_path(row, seed))
        line = row_words(self.recipe, table, row, seed)
        # A failure of other settings, or before someone resumed the run, no longer counts.
        if attempt is not None and attempt.reason is not None and attempt.words[: len(line)] == line:
            since = self.attempt_path(row, seed).stat().st_mtime
            curves = [record.folder / CURVES for record in same]
            if not any(path.is_file() and path.stat().st_mtime > since for path in curves):
                return Measurement(row, seed, State.FAILED, attempt.reason)
        if same:
            reason = same[0].shortfall if same[0].results else progress(same[0])
            return Measurement(row, seed, State.STOPPED, reason, same[0].folder)
        for record in self.records:
            own = record.folder == self.kept / label(row, seed)
            if own or (attempt is not None and record.folder == self.runs / attempt.folder):
                reason = record.damage or changed(record, wanted, places)
                return Measurement(row, seed, State.CHANGED, reason)
        return Measurement(row, seed, State.NOT_RUN, self.missing(row, wanted))

    def started_elsewhere(self, table: Table, row: Row, seed: int, record: Record) -> bool:
        """Whether a warm start was from another run than that of the row it should start from."""
        if row.starts_from is None:
            return False
        first = next(other for other in table.rows if other.name == row.starts_from)
        wanted = digest(portable(row_config(self.recipe, table, first, seed), PLACES))
        return bool(look_up(record.results, "trained_with.warm_start") != wanted)

    def missing(self, row: Row, wanted: dict[str, Any]) -> str:
        """What has to be given before the row can be run."""
        places = {key: word.partition("=")[2] for key, word in self.given.items()}
        if variable := os.environ.get(variable_of(self.recipe)):
            places.setdefault("data", variable)
        needs = [*(["data"] if wanted.get("data") else []), *row.needs]
        lacking = " and ".join(f"{key}=PATH" for key in needs if key not in places)
        absent = [key for key in needs if key in places and not Path(places[key]).expanduser().exists()]
        return ", ".join([f"needs {lacking}"] * bool(lacking) + [f"{key}={places[key]} is not there" for key in absent])


def measured_rows(recipe: str, names: Sequence[str], words: Sequence[str]) -> list[tuple[str, Path]]:
    """What a reader sees of rows, and the folder of the run that measured each; the first seed that there is.

    Raises:
        UserError: there is no such row, or no run has measured it.
    """
    measured = Measured(recipe, words)
    found = []
    for table, row in read_rows(recipe, names):
        seeds = [measured.measurement(table, row, seed) for seed in row.seeds]
        folders = [one.folder for one in seeds if one.state is State.MEASURED and one.folder is not None]
        if not folders:
            raise UserError(f"row {row.name}: {seeds[0].state}{': ' if seeds[0].reason else ''}{seeds[0].reason}")
        found.append((row.what, folders[0]))
    return found


def read_record(folder: Path) -> Record:
    """Config and results of a folder, as far as there are any, and what is wrong with them."""
    try:
        config = read_config(folder / CONFIG) if (folder / CONFIG).is_file() else {}
        return Record(folder, config, read_results(folder / RESULTS) if (folder / RESULTS).is_file() else {})
    except UserError as error:
        return Record(folder, {}, {}, str(error))


def row_config(recipe: str, table: Table, row: Row, seed: int) -> dict[str, Any]:
    """Resolved config of a row, with empty folders for its places, as there may be no data here.

    Raises:
        UserError: a setting that does not exist.
    """
    keys = ["data", *row.needs, *(["warm_start"] if row.starts_from else [])]
    with tempfile.TemporaryDirectory() as folder:
        for key in keys:
            Path(folder, key).mkdir()
        # This machine's own settings are not the table's.
        without = ["local=none"] if (ROOT / "conf" / "local").is_dir() else []
        places = [f"{key}={folder}/{key}" for key in keys]
        return load_config([*row_words(recipe, table, row, seed), *places, *without]).plain()


def row_words(recipe: str, table: Table, row: Row, seed: int) -> list[str]:
    """What a row with one seed is on the command line, without its places."""
    return [f"recipe={recipe}", *table.settings_of(row), f"seed={seed}"]


def progress(record: Record) -> str:
    """How far a run without results has come."""
    if (record.folder / TRAINING_RECORD).is_file():
        return "trained, not evaluated"
    curves = record.folder / CURVES
    lines = curves.read_text().splitlines() if curves.is_file() else []
    step = lines[-1].partition(",")[0] if len(lines) > 1 else "0"
    return f"at step {step} of {look_up(record.config, 'trainer.max_steps')}"


def changed(record: Record, wanted: dict[str, Any], places: Sequence[str]) -> str:
    """How the config of a record differs from that of its row."""
    if not record.config:
        return f"that of commit {str(record.results.get('commit', 'unknown'))[:7]} kept no config.yaml"
    then = portable(record.config, places)
    keys = differences(then, wanted)
    texts = [f"{key} was {look_up(then, key)}, is {look_up(wanted, key)}" for key in keys[:3]]
    return ", ".join(texts) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
