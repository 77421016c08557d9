"""Runs side by side on the same test mixtures: means, differences from the first run, and how sure they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..errors import UserError
from ..files import replacing
from ..records import read_results, read_table
from .comparison_page import render_comparison
from .comparison_plots import Interval, draw_intervals, intervals, intervals_height
from .labels import axis_label
from .plots import new_figure, plot_style

RESAMPLES = 10_000
CHUNK = 1000
"""Resamples at a time, for the memory."""

COVERAGE = 0.95

INPUT = "input_si_snr"
INPUT_TOLERANCE = 0.01
"""dB by which other processors may round."""


class Run(NamedTuple):
    """A run that was evaluated."""

    label: str
    folder: Path
    results: dict[str, Any]
    examples: dict[str, pd.DataFrame]
    """By domain (called `test` where there is one only), rows by the name of the mixture: the measure, and the level of
    the input, which tells mixtures of the same recordings apart."""


def compare(labelled_runs: Sequence[tuple[str, Path]], target: Path, measure: str = "si_snri") -> pd.DataFrame:
    """Write `comparison.html`, `.md`, `.csv` and `.png`, one row per run and domain, and return the table.

    Args:
        labelled_runs: what to call each run, and its folder; the first is what the others are compared with.
        target: folder for the files.
        measure: column of examples.csv; examples where it does not apply are left out.

    Raises:
        UserError: a folder without results or with broken files, or runs that were tested on other mixtures.
    """
    runs = [read_run(label, folder, measure) for label, folder in labelled_runs]
    table = tabulate(runs, measure)
    page = render_comparison(runs, table, measure)
    target.mkdir(parents=True, exist_ok=True)
    with replacing(target / "comparison.csv") as partial:
        table.to_csv(partial, index=False, float_format="%.4f")
    with replacing(target / "comparison.md") as partial:
        partial.write_text(markdown(table, measure, runs[0].results.get("selection_rule", "not recorded")))
    draw(table, measure, target / "comparison.png")
    with replacing(target / "comparison.html") as partial:
        partial.write_bytes(page)
    return table


def tabulate(runs: Sequence[Run], measure: str) -> pd.DataFrame:
    """One row per domain and run: mean, difference from the first run, their intervals, and what the run was.

    Raises:
        UserError: runs that were tested on other mixtures.
    """
    rows: list[dict[str, Any]] = []
    for domain, first in runs[0].examples.items():
        for run in runs:
            if domain not in run.examples:
                raise UserError(f"{run.folder}/examples.csv: not tested in the domain {domain}; evaluate it again")
            examples = run.examples[domain]
            if not same_mixtures(examples, first):
                raise UserError(
                    f"{run.folder}/examples.csv: tested on other mixtures than {runs[0].folder}; compare runs with "
                    "the same test set"
                )
            values = examples[measure]
            value = bootstrap(values.to_numpy())
            difference = bootstrap((values - first.loc[values.index, measure]).to_numpy())
            rows.append(
                {
                    "domain": domain,
                    "run": run.label,
                    measure: value.mean,
                    f"{measure}_low": value.low,
                    f"{measure}_high": value.high,
                    "difference": difference.mean,
                    "difference_low": difference.low,
                    "difference_high": difference.high,
                    "num_examples": len(values),
                    "seed": run.results.get("seed"),
                    "steps": (run.results.get("trained_with") or {}).get("steps"),
                    "train_seconds": (run.results.get("wall_time") or {}).get("train"),
                    "commit": str((run.results.get("trained_with") or run.results).get("commit", ""))[:7],
                }
            )
    return pd.DataFrame(rows)


def find_run(word: str, among: Path) -> Path:
    """Folder of a run, given as it is or by its name among the runs of a recipe.

    Raises:
        UserError: there is no such folder and no run of that name.
    """
    if "/" in word or Path(word).is_dir():
        return Path(word)
    if not (among / word).is_dir():
        from ..config import nearest

        names = sorted(path.parent.name for path in among.glob("*/results.json"))
        known = nearest(word, names) if names else "; there are no finished runs in it"
        raise UserError(f"{word}: no such folder, and no run of {among}{known}")
    return among / word


def read_run(label: str, folder: Path, measure: str) -> Run:
    """Results and examples of a run folder.

    Raises:
        UserError: they are not there, or lack the measure.
    """
    for name in ("results.json", "examples.csv"):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: no such file; evaluate the run first (`mixit evaluate`)")
    results = read_results(folder / "results.json", required=())
    examples = read_table(folder / "examples.csv", ("name",), text=("name", "domain"))
    assert examples is not None
    if measure not in examples:
        raise UserError(
            f"{folder / 'examples.csv'}: has no column {measure}; there are: {', '.join(map(str, examples))}"
        )
    known = examples[examples[measure].notna()]
    if known.empty:
        raise UserError(f"{folder / 'examples.csv'}: {measure} applies to no example of it")
    parts = known.groupby("domain", sort=False) if "domain" in known else [("test", known)]
    columns = [column for column in (measure, INPUT) if column in known]
    # Mixtures of one name differ in nothing that we know.
    return Run(label, folder, results, {str(domain): part.groupby("name")[columns].mean() for domain, part in parts})


def same_mixtures(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether examples have the same names, and inputs of the same level: rooms change no name."""
    if set(one.index) != set(other.index):
        return False
    if INPUT not in one or INPUT not in other:
        return True
    return bool(np.allclose(one[INPUT], other.loc[one.index, INPUT], atol=INPUT_TOLERANCE, equal_nan=True))


def bootstrap(values: np.ndarray) -> Interval:
    """Mean of `(example,)` with its percentile interval; the examples are resampled, so differences stay paired.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    rng = np.random.default_rng(0)
    means = np.concatenate(
        [values[rng.integers(len(values), size=(CHUNK, len(values)))].mean(axis=1) for _ in range(RESAMPLES // CHUNK)]
    )
    low, high = np.quantile(means, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def markdown(table: pd.DataFrame, measure: str, selection_rule: str) -> str:
    """A table for people."""
    label = axis_label(measure)
    lines = []
    for domain in table["domain"].unique():
        part = table[table["domain"] == domain]
        first = part.iloc[0]
        lines += [
            f"{domain}: {first['num_examples']} mixtures",
            "",
            f"| run | {label} [95 %] | minus the first row [95 %, paired] | steps | training | commit |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for place, row in enumerate(part.to_dict("records")):
            value = f"{row[measure]:.2f} [{row[f'{measure}_low']:.2f}, {row[f'{measure}_high']:.2f}]"
            difference = f"{row['difference']:+.2f} [{row['difference_low']:+.2f}, {row['difference_high']:+.2f}]"
            seconds = row["train_seconds"]
            duration = "?" if seconds is None or seconds != seconds else f"{seconds / 60:.0f} min"
            steps = "?" if row["steps"] is None or row["steps"] != row["steps"] else f"{row['steps']:.0f}"
            label = str(row["run"]).replace("|", "\\|")
            lines.append(
                f"| {label} | {value} | {difference if place else ''} | {steps} | {duration} | {row['commit']} |"
            )
        lines.append("")
    sources = (
        f"Intervals: percentile bootstrap over the test mixtures, {RESAMPLES:,} resamples; what another seed "
        "of training would change is not in them."
    )
    return "\n".join([*lines, sources, f"Selection rule of the first row: {selection_rule}.", ""])


def draw(table: pd.DataFrame, measure: str, path: Path) -> None:
    """Means and intervals of all runs, one panel per domain."""
    domains = list(dict.fromkeys(table["domain"]))
    height = intervals_height(len(table) // len(domains))
    with plot_style():
        figure, panels = new_figure(len(domains), height)
        for axes, domain in zip(panels, domains, strict=True):
            part = table[table["domain"] == domain]
            means = intervals(part, measure)
            draw_intervals(axes, part["run"].tolist(), means, means[0].mean, axis_label(measure))
            axes.set_title(domain, fontsize=10)
        with replacing(path) as partial:
            figure.savefig(partial, format="png", dpi=150, facecolor="white")
