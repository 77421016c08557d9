"""The page on which runs are compared: `comparison.html`, a single self-contained file like the report of a run.

Runs keep their order, number and colour everywhere. Whatever a run folder lacks is said in words.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import UserError
from ..reading import read_yaml
from ..records import CURVE_COLUMNS, read_table
from ..run import differences
from .comparison_plots import (
    colour_of,
    dashes_of,
    draw_curves,
    draw_intervals,
    draw_levels,
    intervals,
    intervals_height,
)
from .labels import METRICS, NOT_APPLICABLE, axis_label, format_count, format_duration, format_number, quantity
from .page import render_page
from .plots import LIGHT, Plot, curve, inline_plot
from .run_page import provenance
from .sounds import LISTING, Card, read_card, read_entries, render

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from .comparison import Run

VARIABLES = {colour: name for name, colour in LIGHT.items()}

INPUT = "input_si_snr"

OVER = {"step": "training steps", "hours": "hours of training"}

ROUNDING = 0.05
"""What is left of a mixture, relative to it, when the same one is subtracted as another run has written it."""


class Mark(NamedTuple):
    """How the page shows which run is meant."""

    number: int
    label: str
    colour: str
    """Name of one of the page's colours."""
    dashes: str
    """Of its lines, as SVG wants them; empty for an unbroken line."""


class Row(NamedTuple):
    """A row of a table with one column per run."""

    term: str
    values: list[str]

    @property
    def same(self) -> bool:
        """Whether one cell says it for all runs."""
        return len(set(self.values)) == 1


class Domain(NamedTuple):
    """Means and intervals over one test set."""

    name: str
    num_examples: int
    rows: list[dict[str, str]]
    plots: list[Plot]


class Example(NamedTuple):
    """A test mixture that runs kept: mixture, references, scale and gain stand on the card of the first of them."""

    runs: list[Mark]
    cards: list[Card]
    figures: list[Row]


def render_comparison(runs: "Sequence[Run]", table: "pd.DataFrame", measure: str) -> bytes:
    """The page.

    Args:
        runs: in the order of the page.
        table: their means and intervals, one row per domain and run.
        measure: what is compared.

    Raises:
        UserError: a file of a run folder is broken.
    """
    marks = [
        Mark(place + 1, run.label, VARIABLES[colour_of(place)], " ".join(map(str, dashes_of(place))))
        for place, run in enumerate(runs)
    ]
    parts = table.groupby("domain", sort=False)
    curves, curve_notes = curve_plots(runs, measure)
    levels, level_notes = level_plots(runs, measure)
    examples, example_notes = read_examples(runs, marks)
    settings, setting_notes = read_settings(runs)
    return render_page(
        "comparison.html",
        runs=marks,
        label=axis_label(measure),
        domains=[domain_part(number, str(name), part, measure) for number, (name, part) in enumerate(parts)],
        figures=figure_rows([run.results.get("metrics") or {} for run in runs]),
        figures_domain=runs[0].results.get("domain"),
        curves=curves,
        curve_notes=curve_notes,
        levels=levels,
        level_notes=level_notes,
        examples=examples,
        example_notes=example_notes,
        settings=settings,
        setting_notes=setting_notes,
        provenance=provenance_rows(runs),
    )


def domain_part(number: int, name: str, part: "pd.DataFrame", measure: str) -> Domain:
    """Means, intervals and their pictures over one test set."""
    label, labels = axis_label(measure), part["run"].tolist()
    means, changes = intervals(part, measure), intervals(part, "difference")
    rows = [
        {
            "mean": f"{format_number(mean.mean)} [{format_number(mean.low)}, {format_number(mean.high)}]",
            "difference": f"{signed(change.mean)} [{signed(change.low)}, {signed(change.high)}]",
            "steps": "?" if missing(row["steps"]) else format_count(row["steps"]),
            "training": "?" if missing(row["train_seconds"]) else format_duration(row["train_seconds"]),
        }
        for row, mean, change in zip(part.to_dict("records"), means, changes, strict=True)
    ]

    def draw_means(axes: "Axes") -> str:
        draw_intervals(axes, labels, means, means[0].mean, label)
        return "Means with their 95 % intervals; the dotted line is the mean of the first run."

    def draw_differences(axes: "Axes") -> str:
        draw_intervals(axes, labels, changes, 0, f"difference of {label}", signed)
        return "Mean differences from the first run, mixture by mixture, with their 95 % intervals."

    height = intervals_height(len(labels))
    plots = [
        inline_plot(f"means{number}", draw_means, "Intervals", height),
        inline_plot(f"differences{number}", draw_differences, "Intervals", height),
    ]
    return Domain(name, int(part["num_examples"].iloc[0]), rows, plots)


def missing(value: Any) -> bool:
    """Whether a cell of a table is empty."""
    return value is None or value != value


def signed(value: float) -> str:
    """A difference, with its sign."""
    return format_number(value) if value < 0 else f"+{format_number(value)}"


def figure_rows(metrics: Sequence[dict[str, Any]]) -> list[Row]:
    """All figures that runs have, one row per metric, known ones first."""
    found = dict.fromkeys(name for one in metrics for name in one)
    names = [name for name in METRICS if name in found] + [name for name in found if name not in METRICS]
    rows = []
    for name in names:
        items = [quantity(name, one.get(name)) for one in metrics]
        rows.append(Row(items[0].label, [f"{item.text}\N{NO-BREAK SPACE}{item.unit}".strip() for item in items]))
    return rows


def curve_plots(runs: "Sequence[Run]", measure: str) -> tuple[list[Plot], list[str]]:
    """Validation curves of all runs, over steps and over hours; and what there is none of."""
    tables = [read_table(run.folder / "metrics.csv", CURVE_COLUMNS, text=("metric",)) for run in runs]
    known = [(run, table) for run, table in zip(runs, tables, strict=True) if table is not None]
    notes = [
        f"{run.label}: no curves, as the run folder has no metrics.csv; was the checkpoint trained elsewhere?"
        for run, table in zip(runs, tables, strict=True)
        if table is None
    ]
    if known:
        notes.append("Hours depend on the machine and on what else it did; the provenance below names it.")
    if len({run.results.get("objective") for run, _ in known}) > 1:
        notes.append("val/loss is that of a run's own objective: those of different objectives are not to be compared.")
    plots: list[Plot] = []
    for name in dict.fromkeys(("loss", measure, "si_snri", "momi")):
        logged = f"val/{name}"
        lacking = [run.label for run, table in known if table.loc[table["metric"] == logged, "value"].dropna().empty]
        if lacking:
            notes.append(f"{logged} is not in the metrics.csv of {', '.join(lacking)}.")
        if len(lacking) < len(known):
            label = (
                f"{logged}, dB (lower is better)" if name == "loss" else f"{axis_label(name)}, on validation examples"
            )
            plots += [curve_plot(f"curve{len(plots) + n}", tables, logged, over, label) for n, over in enumerate(OVER)]
    return plots, notes


def curve_plot(identifier: str, tables: "Sequence[pd.DataFrame | None]", name: str, over: str, label: str) -> Plot:
    """One metric of all runs over one of OVER."""
    values = [
        None if table is None else curve(table.assign(hours=table["seconds"] / 3600), name, over) for table in tables
    ]

    def draw(axes: "Axes") -> str:
        draw_curves(axes, values, over, label)
        return f"{label}, over {OVER[over]}."

    return inline_plot(identifier, draw, "Line chart")


def level_plots(runs: "Sequence[Run]", measure: str) -> tuple[list[Plot], list[str]]:
    """The measure of every example against the level of its input, one panel per domain, and notes on missing ones."""
    plots, notes = [], []
    for number, domain in enumerate(runs[0].examples):
        points = []
        for run in runs:
            examples = run.examples[domain]
            if INPUT in examples:
                values = examples[[INPUT, measure]].to_numpy()
                points.append(values[np.isfinite(values).all(axis=1)])
            else:
                points.append(np.empty((0, 2)))
            if not len(points[-1]):
                where = f" in the domain {domain}" if len(runs[0].examples) > 1 else ""
                notes.append(f"{run.label}: examples.csv has no levels ({INPUT}) of inputs{where}.")
        if any(len(some) for some in points):
            plots.append(level_plot(f"levels{number}", points, measure, domain if len(runs[0].examples) > 1 else ""))
    return plots, notes


def level_plot(identifier: str, points: Sequence[np.ndarray], measure: str, domain: str) -> Plot:
    """One panel of level_plots."""

    def draw(axes: "Axes") -> str:
        caption = draw_levels(axes, points, measure)
        return f"{domain}: {caption}" if domain else caption

    return inline_plot(identifier, draw, "Scatter plot")


def read_examples(runs: "Sequence[Run]", marks: Sequence[Mark]) -> tuple[list[Example], list[str]]:
    """The examples that are saved in all runs that saved any; and notes on audio that cannot be played."""
    kept: list[tuple[Mark, Path, dict[str, Any]]] = []
    notes = []
    for run, mark in zip(runs, marks, strict=True):
        folder = run.folder / "examples"
        if entries := {str(entry["name"]): entry for entry in reversed(read_entries(folder))}:
            kept.append((mark, folder, entries))
        else:
            notes.append(f"{mark.label}: no examples, as the run folder has no examples/{LISTING}.")
    if len(kept) < 2:
        return [], [*notes, "There is nothing to hear side by side: evaluate the runs again to keep examples."]
    common = [name for name in reversed(kept[0][2]) if all(name in entries for _, _, entries in kept)]
    if not common:
        notes.append(
            "The runs kept no example in common. Evaluate them again: some examples are then the same in every run."
        )
    examples = []
    for name in common:
        cards = [read_card(folder, entries[name]) for _, folder, entries in kept]
        others = [mark.label for (mark, _, _), card in zip(kept, cards, strict=True) if not fit(card, cards[0])]
        if others:
            notes.append(f"{name}: not shown, as other sounds have this name in {', '.join(others)}.")
            continue
        first = cards[0]
        together = [first.mixture, *(reference for reference, _ in first.pairs)]
        together += [output for card in cards for output in card.outputs]
        first.gain, first.scale = render(together, first.sample_rate)
        figures = figure_rows([entries[name].get("metrics") or {} for _, _, entries in kept])
        reasons = Row("Kept as", [card.why or NOT_APPLICABLE for card in cards])
        examples.append(Example([mark for mark, _, _ in kept], cards, figures + [reasons] * (not reasons.same)))
    left_out = [f"{len(entries) - len(common)} of {mark.label}" for mark, _, entries in kept]
    if any(len(entries) > len(common) for _, _, entries in kept):
        notes.append(f"Examples that not all runs kept are on the runs' own pages: {', '.join(left_out)}.")
    return examples, notes


def fit(card: Card, first: Card) -> bool:
    """Bring the outputs of a card to the level of another run's; False where the two hold other sounds.

    Runs write an example at one gain each, below 1 where a sound would clip.
    """
    ours, theirs = (one.mixture.samples.astype(np.float64) for one in (card, first))
    if ours.shape != theirs.shape or card.sample_rate != first.sample_rate or len(card.pairs) != len(first.pairs):
        return False
    gain = float(ours @ theirs / (ours @ ours)) if ours.any() else 1.0
    if np.linalg.norm(theirs - gain * ours) > ROUNDING * np.linalg.norm(theirs):
        return False
    for output in card.outputs:
        output.samples = output.samples * np.float32(gain)
    return True


def read_settings(runs: "Sequence[Run]") -> tuple[list[Row], list[str]]:
    """Settings that differ between runs, with the value of each; and whose are not known."""
    configs = [read_config(run.folder / "config.yaml") for run in runs]
    known = [config for config in configs if config is not None]
    notes = [
        f"{run.label}: no settings, as the run folder has no config.yaml."
        for run, config in zip(runs, configs, strict=True)
        if config is None
    ]
    keys = dict.fromkeys(key for config in known for key in differences(known[0], config) if key != "run")
    rows = [Row(key, ["?" if config is None else setting(config, key) for config in configs]) for key in keys]
    if not rows and len(known) > 1:
        notes.append("No setting differs.")
    return rows, notes


def read_config(path: Path) -> dict[str, Any] | None:
    """Content of a `config.yaml`; None where there is no such file.

    Raises:
        UserError: it does not hold settings.
    """
    if not path.is_file():
        return None
    config = read_yaml(path)
    if not isinstance(config, dict):
        raise UserError(f"{path} must hold settings, key by key")
    return config


def setting(config: dict[str, Any], key: str) -> str:
    """Value at a dotted key, as it would be written; a dash where there is no such key."""
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return NOT_APPLICABLE
        value = value[part]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def provenance_rows(runs: "Sequence[Run]") -> list[Row]:
    """Where the figures of all runs come from."""
    columns = [provenance(run.results) for run in runs]
    rows = [Row("Folder", [str(run.folder) for run in runs])]
    return rows + [Row(cells[0][0], [text for _, text in cells]) for cells in zip(*columns, strict=True)]
