"""Runs side by side on the same test mixtures: means, differences from the first run, and how sure they are."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..errors import UserError
from ..files import replacing
from .plots import plot_style
from .quantities import METRICS, UNITS

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
    results: dict[str, Any]
    examples: dict[str, pd.DataFrame]
    """By domain (called `test` where there is one only), rows by the name of the mixture: the measure, and the level of
    the input, which tells mixtures of the same recordings apart."""


class Estimate(NamedTuple):
    """A mean and its interval."""

    mean: float
    low: float
    high: float


def compare(labelled_runs: Sequence[tuple[str, Path]], target: Path, measure: str = "si_snri") -> pd.DataFrame:
    """Write `comparison.md`, `comparison.csv` and `comparison.png`, a row a run and domain, and return the table.

    Args:
        labelled_runs: what to call each run, and its folder; the first is what the others are compared with.
        target: folder for the files.
        measure: column of examples.csv; examples where it does not apply are left out.

    Raises:
        UserError: a folder without results, or runs that were tested on other mixtures.
    """
    runs = [read_run(label, folder, measure) for label, folder in labelled_runs]
    rows: list[dict[str, Any]] = []
    for domain, first in runs[0].examples.items():
        for (_, folder), run in zip(labelled_runs, runs, strict=True):
            if domain not in run.examples:
                raise UserError(f"{folder}/examples.csv: not tested in the domain {domain}; evaluate it again")
            examples = run.examples[domain]
            if not same_mixtures(examples, first):
                raise UserError(
                    f"{folder}/examples.csv: tested on other mixtures than {labelled_runs[0][1]}; compare runs with "
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
                    "train_seconds": run.results.get("wall_time", {}).get("train"),
                    "commit": str((run.results.get("trained_with") or run.results).get("commit", ""))[:7],
                }
            )
    table = pd.DataFrame(rows)
    target.mkdir(parents=True, exist_ok=True)
    with replacing(target / "comparison.csv") as partial:
        table.to_csv(partial, index=False, float_format="%.4f")
    with replacing(target / "comparison.md") as partial:
        partial.write_text(markdown(table, measure, runs[0].results.get("selection_rule", "not recorded")))
    draw(table, measure, target / "comparison.png")
    return table


def read_run(label: str, folder: Path, measure: str) -> Run:
    """Results and examples of a run folder.

    Raises:
        UserError: they are not there, or lack the measure.
    """
    for name in ("results.json", "examples.csv"):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: no such file; evaluate the run first (`mixit evaluate`)")
    results = json.loads((folder / "results.json").read_text())
    examples = pd.read_csv(folder / "examples.csv", dtype={"name": str, "domain": str})
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
    return Run(label, results, {str(domain): part.groupby("name")[columns].mean() for domain, part in parts})


def same_mixtures(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether examples have the same names, and inputs of the same level: rooms change no name."""
    if set(one.index) != set(other.index):
        return False
    if INPUT not in one or INPUT not in other:
        return True
    return bool(np.allclose(one[INPUT], other.loc[one.index, INPUT], atol=INPUT_TOLERANCE, equal_nan=True))


def bootstrap(values: np.ndarray) -> Estimate:
    """Mean of `(example,)` with its percentile interval; the examples are resampled, so differences stay paired.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    rng = np.random.default_rng(0)
    means = np.concatenate(
        [values[rng.integers(len(values), size=(CHUNK, len(values)))].mean(axis=1) for _ in range(RESAMPLES // CHUNK)]
    )
    low, high = np.quantile(means, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Estimate(float(values.mean()), float(low), float(high))


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
            lines.append(
                f"| {row['run']} | {value} | {difference if place else ''} | {steps} | {duration} | {row['commit']} |"
            )
        lines.append("")
    intervals = (
        f"Intervals: percentile bootstrap over the test mixtures, {RESAMPLES:,} resamples; what another seed "
        "of training would change is not in them."
    )
    return "\n".join([*lines, intervals, f"Selection rule of the first row: {selection_rule}.", ""])


def axis_label(measure: str) -> str:
    """A measure with its unit."""
    return f"{METRICS[measure][0]}, {UNITS.get(measure, 'dB')}".removesuffix(", ") if measure in METRICS else measure


def draw(table: pd.DataFrame, measure: str, path: Path) -> None:
    """Means and intervals of all runs, a panel a domain."""
    from matplotlib.figure import Figure

    domains = list(dict.fromkeys(table["domain"]))
    with plot_style():
        height = 1.2 + 0.42 * table["run"].nunique()
        figure = Figure(figsize=(4.2 + 3.2 * len(domains), height), layout="constrained")
        panels = figure.subplots(1, len(domains), sharey=True, squeeze=False)[0]
        for axes, domain in zip(panels, domains, strict=True):
            part = table[table["domain"] == domain].reset_index(drop=True)
            errors = np.stack([part[measure] - part[f"{measure}_low"], part[f"{measure}_high"] - part[measure]])
            axes.axvline(part[measure][0], linestyle=":", linewidth=1, color="0.5")
            axes.errorbar(part[measure], part.index, xerr=errors, fmt="o", capsize=3, markersize=6)
            for place, value in enumerate(part[measure]):
                axes.annotate(
                    f"{value:.1f}", (value, place), (0, 7), textcoords="offset points", ha="center", fontsize=9
                )
            axes.set_yticks(part.index, part["run"])
            axes.set_ylim(len(part) - 0.5, -0.7)
            axes.set_xlabel(axis_label(measure))
            axes.set_title(domain, fontsize=10)
        with replacing(path) as partial:
            figure.savefig(partial, format="png", dpi=150)
