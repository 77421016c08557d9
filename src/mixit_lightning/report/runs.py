"""What pages show of runs: the files of a run folder, and rows with one value per run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..records import CURVE_COLUMNS, read_results, read_table
from ..run import differences, look_up, read_config
from .labels import format_count, format_duration

if TYPE_CHECKING:  # slow to import and most commands never need it
    import pandas as pd

NOT_RECORDED = "not recorded"

INPUT = "input_si_snr"
"""Column of examples.csv: the level of the input, as the SI-SNR of the mixture."""


class Run(NamedTuple):
    """A run that was evaluated. All but its results may be missing: a checkpoint from elsewhere has no curves."""

    label: str
    folder: Path
    results: dict[str, Any]
    curves: "pd.DataFrame | None"
    """metrics.csv: one row per step and metric."""
    examples: "pd.DataFrame | None"
    """examples.csv: one row per test mixture and domain."""
    config: dict[str, Any] | None
    """config.yaml, resolved."""

    @property
    def domains(self) -> "dict[str, pd.DataFrame]":
        """Rows of the examples by domain, called `test` where there is one only."""
        if self.examples is None:
            return {}
        if "domain" not in self.examples:
            return {"test": self.examples}
        return {str(name): part for name, part in self.examples.groupby("domain", sort=False)}


def read_run(label: str, folder: Path) -> Run:
    """Read a run folder.

    Args:
        label: what to call it; its own name where this is empty.
        folder: of the run.

    Raises:
        UserError: it has no results, or one of its files is broken.
    """
    results = read_results(folder / "results.json")
    curves = read_table(folder / "metrics.csv", CURVE_COLUMNS, text=("metric",))
    examples = read_table(folder / "examples.csv", ("name",), text=("name", "domain"))
    path = folder / "config.yaml"
    config = read_config(path) if path.is_file() else None
    return Run(label or str(results["run"]), folder, results, curves, examples, config)


def setting_rows(runs: Sequence[Run]) -> tuple[dict[str, list[str]], list[str]]:
    """Settings that differ between runs, with the value of each; and whose are not known."""
    known = [run.config for run in runs if run.config is not None]
    notes = [f"{run.label}: no settings, as the run folder has no config.yaml." for run in runs if run.config is None]
    keys = dict.fromkeys(key for config in known for key in differences(known[0], config) if key != "run")
    if not keys and len(known) > 1:
        notes.append("No setting differs.")

    def written(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)

    rows = {key: ["?" if run.config is None else written(look_up(run.config, key)) for run in runs] for key in keys}
    return rows, notes


def provenance_rows(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Where the figures of runs come from."""
    columns = [dict(provenance(run.results)) for run in runs]
    folders = {"Folder": [str(run.folder) for run in runs]} if len(runs) > 1 else {}  # in which the page of one lies
    return folders | {term: [column[term] for column in columns] for term in columns[0]}


def provenance(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the figures of a run come from, as terms and descriptions."""

    def listed(entry: dict[str, Any] | None) -> str:
        plain = {key: ", ".join(map(str, of)) if isinstance(of, list) else of for key, of in (entry or {}).items()}
        return ", ".join(f"{key} {'none' if value == '' else value}" for key, value in plain.items())

    steps, training = results.get("steps"), results.get("trained_with") or {}
    times = {key: format_duration(of) for key, of in (results.get("wall_time") or {}).items() if of is not None}
    rows = {
        "Recipe": results.get("recipe"),
        "Objective": results.get("objective"),
        "Separator": results.get("separator"),
        "Test examples": results.get("num_examples"),
        "Selection rule": results.get("selection_rule"),
        "Checkpoint": results.get("checkpoint"),
        "Training steps": None if steps is None else format_count(steps),
        "Seed": results.get("seed"),
        "Trained at commit": training.get("commit"),
        "Tested at commit": results.get("commit"),
        "Wall time": listed(times),
        "Trained on": listed(training.get("hardware")),
        "Tested on": listed(results.get("hardware")),
        "Versions": listed(results.get("versions")),
    }
    return [(term, NOT_RECORDED if value in (None, "") else str(value)) for term, value in rows.items()]
