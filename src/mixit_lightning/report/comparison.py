"""Runs side by side on the same test mixtures: means, differences from the first run, and how sure they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes

from ..config import nearest
from ..errors import UserError
from ..files import replacing
from .labels import axis_label, format_count, format_duration, format_number, markdown_table
from .page import Means, render_runs
from .plots import LIGHT, STYLE, Panel, line_style, new_figure
from .runs import INPUT, Run, read_run

RESAMPLES = 10_000
CHUNK = 1000
"""Resamples at a time, for the memory."""

COVERAGE = 0.95

INPUT_TOLERANCE = 0.01
"""dB by which other processors may round."""

MAX_LABEL = 44
"""Letters beside a figure in a panel's width."""


class Interval(NamedTuple):
    """A mean and where it may as well lie."""

    mean: float
    low: float
    high: float

    def text(self, sign: str = "") -> str:
        """As it is written; `sign="+"` signs positive numbers too."""
        mean, low, high = (format_number(value, sign=sign) for value in self)
        return f"{mean} [{low}, {high}]"


def compare(labelled_runs: Sequence[tuple[str, Path]], target: Path, measure: str = "si_snri") -> pd.DataFrame:
    """Write `comparison.html`, `.md`, `.csv` and `.png`, one row per run and domain, and return the table.

    Args:
        labelled_runs: what to call each run, and its folder; the first is what the others are compared with.
        target: folder for the files.
        measure: column of examples.csv; examples where it does not apply are left out.

    Raises:
        UserError: a folder without results or with broken files, or runs that were tested on other mixtures.
    """
    runs = [read_run(label, folder) for label, folder in labelled_runs]
    table = tabulate(runs, measure)
    page = render_runs(runs, measure, [means_of(part, measure) for _, part in table.groupby("domain", sort=False)])
    target.mkdir(parents=True, exist_ok=True)
    with replacing(target / "comparison.csv") as partial:
        table.to_csv(partial, index=False, float_format="%.4f")
    with replacing(target / "comparison.md") as partial:
        partial.write_text(markdown(table, measure, str(runs[0].results["selection_rule"])))
    draw(table, measure, target / "comparison.png")
    with replacing(target / "comparison.html") as partial:
        partial.write_bytes(page)
    return table


def find_run(word: str, among: Path) -> Path:
    """Folder of a run, given as it is or by its name among the runs of a recipe.

    Raises:
        UserError: there is no such folder and no run of that name.
    """
    if "/" in word or Path(word).is_dir():
        return Path(word)
    if not (among / word).is_dir():
        names = sorted(path.parent.name for path in among.glob("*/results.json"))
        known = nearest(word, names) if names else "; there are no finished runs in it"
        raise UserError(f"{word}: no such folder, and no run of {among}{known}")
    return among / word


def tabulate(runs: Sequence[Run], measure: str) -> pd.DataFrame:
    """One row per domain and run: mean, difference from the first run, their intervals, and what the run was.

    Raises:
        UserError: runs that were tested on other mixtures, or not with this measure.
    """
    scores = [scores_of(run, measure) for run in runs]
    rows = []
    for domain, first in scores[0].items():
        for run, by_domain in zip(runs, scores, strict=True):
            path = run.folder / "examples.csv"
            if domain not in by_domain:
                raise UserError(f"{path}: not tested in the domain {domain}; evaluate it again")
            if not same_mixtures(by_domain[domain], first):
                raise UserError(
                    f"{path}: tested on other mixtures than {runs[0].folder}; compare runs with the same test set"
                )
            values, training = by_domain[domain][measure], run.results.get("trained_with") or {}
            row: dict[str, Any] = {"domain": domain, "run": run.label}
            for name, of in ((measure, values), ("difference", values - first[measure])):
                row |= dict(zip((name, f"{name}_low", f"{name}_high"), bootstrap(of.to_numpy()), strict=True))
            rows.append(
                row
                | {
                    "num_examples": len(values),
                    "seed": run.results.get("seed"),
                    "steps": training.get("steps"),
                    "train_seconds": (run.results.get("wall_time") or {}).get("train"),
                    "commit": str((training or run.results).get("commit") or "")[:7],
                }
            )
    return pd.DataFrame(rows)


def scores_of(run: Run, measure: str) -> dict[str, pd.DataFrame]:
    """By domain, the measure of every mixture, and the level of its input, which tells mixtures of one name apart.

    Raises:
        UserError: the run has no such measure.
    """
    path = run.folder / "examples.csv"
    if run.examples is None:
        raise UserError(f"{path}: no such file; evaluate the run first (`mixit evaluate`)")
    if measure not in run.examples:
        raise UserError(f"{path}: has no column {measure}; there are: {', '.join(map(str, run.examples))}")
    if run.examples[measure].isna().all():
        raise UserError(f"{path}: {measure} applies to no example of it")
    known = {domain: examples[examples[measure].notna()] for domain, examples in run.domains.items()}
    columns = [column for column in (measure, INPUT) if column in run.examples]
    # Mixtures of one name differ in nothing that we know; names are sorted.
    return {domain: part.groupby("name")[columns].mean() for domain, part in known.items() if len(part)}


def same_mixtures(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether examples have the same names, and inputs of the same level: rooms change no name."""
    if not one.index.equals(other.index):
        return False
    if INPUT not in one or INPUT not in other:
        return True
    return bool(np.allclose(one[INPUT], other[INPUT], atol=INPUT_TOLERANCE, equal_nan=True))


def bootstrap(values: np.ndarray) -> Interval:
    """Mean of `(example,)` with its percentile interval; the examples are resampled, so differences stay paired.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    from scipy import stats

    mean = float(values.mean())
    if len(values) == 1:  # which SciPy refuses
        return Interval(mean, mean, mean)
    resampling = {"n_resamples": RESAMPLES, "batch": CHUNK, "rng": np.random.default_rng(0)}
    found = stats.bootstrap((values,), np.mean, confidence_level=COVERAGE, method="percentile", **resampling)
    return Interval(mean, *map(float, found.confidence_interval))


def shown(table: pd.DataFrame, measure: str) -> dict[str, list[str]]:
    """The columns for readers of one domain of the table, one entry per run."""
    changes = [one.text("+") for one in intervals(table, "difference")]
    return {
        f"{axis_label(measure)} [95 %]": [one.text() for one in intervals(table, measure)],
        "minus the first run [95 %, paired]": ["", *changes[1:]],
        "steps": ["?" if pd.isna(steps) else format_count(steps) for steps in table["steps"]],
        "training": ["?" if pd.isna(seconds) else format_duration(seconds) for seconds in table["train_seconds"]],
        "commit": table["commit"].tolist(),
    }


def markdown(table: pd.DataFrame, measure: str, selection_rule: str) -> str:
    """The table as Markdown."""
    lines = []
    for domain, part in table.groupby("domain", sort=False):
        columns = {"run": part["run"].tolist(), **shown(part, measure)}
        lines += [f"{domain}: {part['num_examples'].iloc[0]} mixtures", "", *markdown_table(columns), ""]
    sources = (
        f"Intervals: percentile bootstrap over the test mixtures, {RESAMPLES:,} resamples; what another seed "
        "of training would change is not in them."
    )
    return "\n".join([*lines, sources, f"Selection rule of the first run: {selection_rule}.", ""])


def means_of(table: pd.DataFrame, measure: str) -> Means:
    """One domain of the table as the page shows it."""
    label, labels = axis_label(measure), table["run"].tolist()
    means, changes = intervals(table, measure), intervals(table, "difference")

    def draw_means(axes: Axes) -> str:
        draw_intervals(axes, labels, means, means[0].mean, label)
        return "Means with their 95 % intervals; the dotted line is the mean of the first run."

    def draw_differences(axes: Axes) -> str:
        draw_intervals(axes, labels, changes, 0, f"difference of {label}", "+")
        return "Mean differences from the first run, mixture by mixture, with their 95 % intervals."

    panels = [Panel("Intervals", draw, height=intervals_height(len(labels))) for draw in (draw_means, draw_differences)]
    return Means(str(table["domain"].iloc[0]), int(table["num_examples"].iloc[0]), shown(table, measure), panels)


def draw(table: pd.DataFrame, measure: str, path: Path) -> None:
    """Means and intervals of all runs as a picture, one panel per domain."""
    parts = table.groupby("domain", sort=False)
    with rc_context(STYLE):
        figure, panels = new_figure(len(parts), intervals_height(len(table) // len(parts)))
        for axes, (domain, part) in zip(panels, parts, strict=True):
            means = intervals(part, measure)
            draw_intervals(axes, part["run"].tolist(), means, means[0].mean, axis_label(measure))
            axes.set_title(str(domain), fontsize=10)
        with replacing(path) as partial:
            figure.savefig(partial, format="png", dpi=150, facecolor="white")


def intervals(table: pd.DataFrame, name: str) -> list[Interval]:
    """Intervals of a column, by its `_low` and `_high`."""
    return [Interval(*values) for values in table[[name, f"{name}_low", f"{name}_high"]].itertuples(index=False)]


def intervals_height(count: int) -> float:
    """Height in inches of a panel of intervals."""
    return 0.7 + 0.44 * count


def draw_intervals(
    axes: Axes, labels: Sequence[str], intervals: Sequence[Interval], base: float, unit: str, sign: str = ""
) -> None:
    """Means and intervals, one row per run, each below its label, as labels may have any length.

    Args:
        axes: to draw in.
        labels: of the runs.
        intervals: of the runs.
        base: value marked by a dotted line.
        unit: of the values, as the axis is called.
        sign: `+` signs positive means too.
    """
    axes.axvline(base, linestyle=":", linewidth=1, color=LIGHT["muted"])
    for place, (label, (mean, low, high)) in enumerate(zip(labels, intervals, strict=True)):
        colour = line_style(place)["color"]
        axes.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color=colour, capsize=3, markersize=5)
        # The end of a long label stays, for it often tells runs apart.
        short = label if len(label) <= MAX_LABEL else f"{label[: MAX_LABEL - 16]}…{label[-15:]}"
        for text, side, start in ((f"{place + 1}  {short}", "left", 0), (format_number(mean, sign=sign), "right", 1)):
            axes.annotate(
                text,
                (start, place),
                xycoords=("axes fraction", "data"),
                xytext=(0, 5),
                textcoords="offset points",
                ha=side,
                va="bottom",
                bbox={"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 0.5},
            )
    axes.margins(x=0.08)
    axes.set(yticks=[], ylim=(len(labels) - 0.6, -0.9), xlabel=unit)
    axes.spines["left"].set_visible(False)
