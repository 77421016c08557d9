"""Drawings of one run or several: intervals, curves, distributions and separation counts, as inline SVG or pictures.

A run has the colour and the dashes of its place among the runs of a page, wherever it is drawn.
"""

import io
import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter

from .labels import METRICS, OBJECTIVES, UNITS, axis_label, format_count, format_duration, format_number, format_percent
from .runs import INPUT, Run

# Plots are drawn in the light colours. Inside the page each becomes the CSS variable of its name, so that one drawing
# serves light and dark; no two names may therefore share a colour.
LIGHT = {
    "ink": "#1d242b",
    "muted": "#5c6873",
    "rule": "#d3d9df",
    "paper": "#fefefd",
    "panel": "#f4f6f7",
    "series-1": "#1f62a8",
    "series-2": "#bf5513",
    "series-3": "#2b7a57",
    "series-4": "#7a4aa0",
    "series-5": "#8a6d00",
}
DARK = {
    "ink": "#e3e7ea",
    "muted": "#9aa6b1",
    "rule": "#37414a",
    "paper": "#13171b",
    "panel": "#1b2126",
    "series-1": "#74b0f0",
    "series-2": "#f0995e",
    "series-3": "#6cc79e",
    "series-4": "#c39ae6",
    "series-5": "#d9bb52",
}
SERIES = [colour for name, colour in LIGHT.items() if name.startswith("series")]

DASHES = ((), (5, 2), (1, 1.5), (6, 2, 1, 2))
"""Lengths of lines and gaps, in line widths: a run more than there are colours has a broken line."""

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.edgecolor": LIGHT["muted"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.5,
    "text.color": LIGHT["ink"],
    "text.parse_math": False,  # a metric may be named anything
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "svg.fonttype": "none",  # text stays text: it takes the page's font and can be read out
}
"""Settings of matplotlib that all plots share, while they are drawn and saved."""

MAX_CURVE_POINTS = 600  # finer than the page shows, and keeps the file small
MAX_POINTS = 2400  # in a panel: a browser draws each as an element of its own
MAX_BINS = 60
BINS_OF_LEVELS = 10
EXAMPLES_IN_A_BIN = 12
PANEL_SIZE = (4.4, 2.9)  # inches; small, so that lettering stays legible on a telephone


class Panel(NamedTuple):
    """What will be a plot."""

    kind: str
    """In words, for those who cannot see it."""
    draw: Callable[[Axes], str]
    """Draws it and returns its caption."""
    where: str = ""
    """What the caption begins with."""
    height: float = PANEL_SIZE[1]
    """In inches."""


class Line(NamedTuple):
    """A curve of a panel."""

    series: pd.Series
    """Over steps or hours."""
    place: int
    """Which gives it its colour."""
    label: str = ""
    """In the legend, if any."""
    smooth: bool = False
    """Whether to draw it faintly, and its moving average above it."""


class Plot(NamedTuple):
    """A drawing on the page, with words for those who cannot see it."""

    svg: Markup
    alt: str
    caption: str


def new_figure(columns: int = 1, height: float = PANEL_SIZE[1]) -> tuple[Figure, list[Axes]]:
    """An empty figure with a row of panels, their height in inches."""
    figure = Figure(figsize=(PANEL_SIZE[0] * columns, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def inline_plots(name: str, panels: Iterable[Panel]) -> list[Plot]:
    """Draw panels for the page; `name` sets them apart from others on it."""
    plots = []
    with rc_context(STYLE):
        for number, panel in enumerate(panels):
            figure, (axes,) = new_figure(height=panel.height)
            caption = panel.where + panel.draw(axes)
            plots.append(Plot(inline_svg(figure, f"{name}{number}"), f"{panel.kind}. {caption}", caption))
    return plots


def inline_svg(figure: Figure, name: str) -> Markup:
    """A figure as an SVG element whose colours follow the page and whose identifiers are its own."""
    buffer = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]  # the XML prologue has no place inside HTML
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for variable, colour in LIGHT.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return Markup(svg)


def line_style(place: int) -> dict[str, Any]:
    """Colour and dashes of the run at a place, as matplotlib wants them."""
    dashes = DASHES[place // len(SERIES) % len(DASHES)]
    return {"color": SERIES[place % len(SERIES)], "linestyle": (0, dashes) if dashes else "-"}


def curve_panels(runs: Sequence[Run], measure: str) -> tuple[list[Panel], list[str]]:
    """The curves of one run, or the validation curves of several over steps and hours; and what there is none of."""
    known = [(place, run.curves) for place, run in enumerate(runs) if run.curves is not None]
    notes = [
        f"{run.label}: no curves, as the run folder has no metrics.csv; was the checkpoint trained elsewhere?"
        for run in runs
        if run.curves is None
    ]
    if len(runs) == 1:
        panels = [panel for _, curves in known for panel in curve_panels_of_one(curves)]
        return panels, notes if panels or notes else ["No curves: metrics.csv holds no loss and no metric."]
    if known:
        notes.append("Hours depend on the machine and on what else it did; the provenance below names it.")
    if len({runs[place].results["objective"] for place, _ in known}) > 1:
        notes.append("val/loss is that of a run's own objective: those of different objectives are not to be compared.")
    panels = []
    for name in dict.fromkeys(("loss", measure, "si_snri", "momi")):
        logged = {place: curves for place, curves in known if curve(curves, f"val/{name}").notna().any()}
        if lacking := [runs[place].label for place, _ in known if place not in logged]:
            notes.append(f"val/{name} is not in the metrics.csv of {', '.join(lacking)}.")
        label = "val/loss, dB (lower is better)" if name == "loss" else f"{axis_label(name)}, on validation examples"
        for over in ("step", "hours") if logged else ():
            lines = [Line(curve(curves, f"val/{name}", over), place) for place, curves in logged.items()]
            caption = f"{label}, over {'training steps' if over == 'step' else 'hours of training'}."
            panels.append(Panel("Line chart", partial(draw_curves, lines=lines, label=label, caption=caption)))
    return panels, notes


def curve_panels_of_one(curves: pd.DataFrame) -> list[Panel]:
    """The losses of a run, and its validation metrics."""
    names = list(curves.dropna(subset=["metric", "value"])["metric"].unique())
    losses = []
    for place, name in enumerate(sorted(name for name in names if name.endswith("loss"))):
        stage, _, kind = name.rpartition("/")
        kind = kind.removesuffix("loss").strip("_")
        label = {"train": "training (smoothed)", "val": "validation"}.get(stage, stage)
        label += f", {OBJECTIVES.get(kind, kind)}" if kind else ""
        losses.append(Line(curve(curves, name), place, label, smooth=stage == "train"))
    # MSi by the number of sources would hide the others.
    shown = [name for name in METRICS if name not in UNITS and not name.startswith("msi_") and f"val/{name}" in names]
    metrics = [Line(curve(curves, f"val/{name}"), place, METRICS[name][0]) for place, name in enumerate(shown)]
    seconds, steps = float(curves["seconds"].max()), format_count(curves["step"].max())
    elapsed = f" {steps} steps in {format_duration(seconds)}." if math.isfinite(seconds) else ""
    return [
        Panel("Line chart over training steps", partial(draw_curves, lines=lines, label=label, caption=caption))
        for lines, label, caption in (
            (losses, "loss (dB)", f"Loss over training, lower is better.{elapsed}"),
            (metrics, "validation metric (dB)", "Metrics on the validation examples, higher is better."),
        )
        if lines
    ]


def curve(curves: pd.DataFrame, name: str, over: str = "step") -> pd.Series:
    """Values of a metric indexed by step or hours; of steps repeated after a restart, the last holds."""
    rows = curves.loc[curves["metric"] == name].drop_duplicates("step", keep="last")
    values = rows.assign(hours=rows["seconds"] / 3600).set_index(over)["value"]
    return values.sort_index().replace([math.inf, -math.inf], math.nan)


def draw_curves(axes: Axes, lines: Sequence[Line], label: str, caption: str) -> str:
    """Curves over the steps or hours that are their index; with their points where these are few."""
    for line in lines:
        style, series = line_style(line.place), line.series
        if line.smooth:
            raw = thin(series)
            axes.plot(raw.index, raw, **style, linewidth=0.6, alpha=0.3)
            series = series.ewm(span=max(1, len(series) // 50)).mean()
        shown = thin(series)
        marker = "o" if len(shown) <= 40 else ""
        axes.plot(shown.index, shown, **style, linewidth=1.4, marker=marker, markersize=2.5, label=line.label)
    over_steps = lines[0].series.index.name == "step"
    if over_steps:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(left=0)
    axes.set(xlabel="training step" if over_steps else "hours of training", ylabel=label)
    if lines[0].label:
        draw_legend(axes, 2)
    return caption


def thin(values: pd.Series) -> pd.Series:
    """At most MAX_CURVE_POINTS of the values, evenly spaced, the last one among them."""
    return values[::-1][:: math.ceil(len(values) / MAX_CURVE_POINTS) or 1][::-1]


def example_panels(runs: Sequence[Run], measure: str) -> tuple[list[Panel], list[str]]:
    """By domain, how a measure spreads over examples and depends on the level of the input; and what is missing."""
    panels, notes = [], []
    common = [domain for domain in runs[0].domains if all(domain in run.domains for run in runs)]
    for domain in common:
        where = f"{domain}: " if len(common) > 1 else ""
        tables = [run.domains[domain].replace([math.inf, -math.inf], math.nan) for run in runs]
        points = [table.reindex(columns=[INPUT, measure]).dropna().to_numpy() for table in tables]
        if any(measure in table and table[measure].notna().any() for table in tables):
            panels.append(Panel("Histogram", partial(draw_histogram, runs=[table[measure] for table in tables]), where))
        if any(map(len, points)):
            panels.append(Panel("Scatter plot", partial(draw_levels, runs=points, measure=measure), where))
        notes += [
            f"{where}{run.label}: examples.csv has no levels ({INPUT}) of inputs."
            for run, some in zip(runs, points, strict=True)
            if not len(some)
        ]
    return panels, notes if panels else ["No distribution: examples.csv has no finite improvement, or is not there."]


def draw_histogram(axes: Axes, runs: Sequence[pd.Series]) -> str:
    """Histograms of a measure, with lines at its medians (whole) and 10th percentiles (dotted)."""
    label = axis_label(str(runs[0].name))
    known = [run.dropna().to_numpy() for run in runs]
    every = np.concatenate(known)
    edges = np.histogram_bin_edges(every, min(math.isqrt(len(every)) + 1, MAX_BINS)).tolist()
    captions = []
    for place, (run, values) in enumerate(zip(runs, known, strict=True)):
        if not len(values):
            continue
        style = line_style(place)
        tenth, median = np.percentile(values, [10, 50])
        axes.hist(values, edges, histtype="step", linewidth=1.2, **style)
        if len(runs) == 1:
            axes.hist(values, edges, color=style["color"], alpha=0.4)
        axes.axvline(median, color=style["color"], linewidth=1)
        axes.axvline(tenth, color=style["color"], linewidth=1, linestyle=":")
        captions.append(
            f"{f'run {place + 1}: ' * (len(runs) > 1)}median {format_number(median, 1)} (line), "
            f"10th percentile {format_number(tenth, 1)} (dotted), {format_count(len(values))} examples"
        )
        if left_out := len(run) - len(values):
            captions[-1] += f" ({format_count(left_out)} without a finite value are left out)"
    axes.set(xlabel=label, ylabel="examples")
    return f"Distribution of {label}; {'; '.join(captions)}."


def draw_levels(axes: Axes, runs: Sequence[np.ndarray], measure: str) -> str:
    """How a measure depends on the level of the input: examples as points, and means of bins of equally many.

    Args:
        axes: to draw in.
        runs: `(example, 2)` of each: level of the input in dB, and the measure.
        measure: its name.

    Returns:
        The caption.
    """
    number = max(len(points) for points in runs)
    stride = math.ceil(number * len(runs) / MAX_POINTS)
    alpha = float(np.clip(200 / number, 0.3, 0.8))  # dense clouds stay readable
    axes.axhline(0, color=LIGHT["muted"], linewidth=0.8)
    for place, points in enumerate(runs):
        colour = line_style(place)["color"]
        axes.plot(*points[::stride].T, "o", color=colour, markersize=2.5, markeredgewidth=0, alpha=alpha)
    for place, points in enumerate(runs):
        bins = min(BINS_OF_LEVELS, len(points) // EXAMPLES_IN_A_BIN)
        if bins > 1:
            table = pd.DataFrame(points, columns=["level", "value"])
            means = table.groupby(pd.qcut(table["level"], bins, duplicates="drop"), observed=True).mean()
            axes.plot(means["level"], means["value"], linewidth=1.8, **line_style(place))
    axes.set(xlabel="input SI-SNR (dB)", ylabel=axis_label(measure))
    thinned = f", of which one in {stride} is drawn as a point" if stride > 1 else ""
    return (
        f"{METRICS.get(measure, (measure,))[0]} against the SI-SNR of the input; lines are means of equally many "
        f"examples of neighbouring levels. {format_count(number)} examples{' of each run' * (len(runs) > 1)}{thinned}."
    )


def separation_panels(runs: Sequence[Run]) -> list[Panel]:
    """How many outputs are active and how they share the energy; empty where a recipe does not measure it."""
    panels = []
    for run in runs:
        for domain, examples in run.domains.items():
            words = [run.label] * (len(runs) > 1) + [domain] * (len(run.domains) > 1)
            where = "".join(f"{word}: " for word in words)
            shares = examples.filter(regex=r"^energy_share_\d+$")
            if shares.empty or not {"num_references", "num_active_outputs"} <= set(examples):
                continue
            known = examples[(examples["num_references"] > 0) & examples["num_active_outputs"].notna()]
            if known.empty:  # nothing but silence
                continue
            sources, active = known[["num_references", "num_active_outputs"]].to_numpy(dtype=int).T
            by_output = shares.loc[known.index].to_numpy(dtype=float)
            draw = partial(draw_active, sources=sources, active=active, num_outputs=by_output.shape[1])
            panels.append(Panel("Grid", draw, where))
            if np.isfinite(by_output).all(axis=1).any():
                panels.append(Panel("Line chart", partial(draw_shares, sources=sources, shares=by_output), where))
    return panels


def draw_active(axes: Axes, sources: np.ndarray, active: np.ndarray, num_outputs: int) -> str:
    """Percentage of the examples with so many sources (column) that have so many active outputs (row)."""
    size = min(9.0, 150 / (num_outputs + 1))  # of letters: rows of many outputs are low
    numbers = np.unique(sources)
    for column, number in enumerate(numbers):
        for row in range(num_outputs + 1):
            share = float((active[sources == number] == row).mean())
            # Never so strong that lettering in ink would not be legible on it, be it in light or dark.
            face = (LIGHT["series-1"], 0.55 * share)
            edge, width, above = (LIGHT["ink"], 1.2, 2) if row == number else (LIGHT["rule"], 0.5, 1)
            cell = Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=face, edgecolor=edge, linewidth=width)
            axes.add_patch(cell).set(zorder=above, clip_on=False)
            colour = LIGHT["ink" if share else "muted"]
            axes.text(column, row, format_percent(share), color=colour, size=size, ha="center", va="center_baseline")
    axes.set_xticks(range(len(numbers)), [str(number) for number in numbers])
    axes.set_yticks(range(num_outputs + 1))
    axes.set(xlim=(-0.5, len(numbers) - 0.5), ylim=(-0.5, num_outputs + 0.5))
    axes.set(xlabel="true number of sources", ylabel="active outputs")
    axes.set_aspect(0.4, anchor="W")  # cells look alike, however many there are
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=size)
    surplus = active - sources
    under, equal, over = (format_percent(float(holds.mean())) for holds in (surplus < 0, surplus == 0, surplus > 0))
    return (
        f"Active outputs by true number of sources, in percent of each column, {format_count(len(sources))} examples. "
        f"Of all, {under} % are under-separated (fewer active outputs than sources), {equal} % equal (outlined) and "
        f"{over} % over-separated (more). An output is active above \N{MINUS SIGN}20 dB of the quietest source."
    )


def draw_shares(axes: Axes, sources: np.ndarray, shares: np.ndarray) -> str:
    """Mean share of the energy from the loudest output of an example to its faintest."""
    sounding = np.isfinite(shares).all(axis=1)
    places = np.arange(1, shares.shape[1] + 1)
    for place, number in enumerate(np.unique(sources[sounding])):
        percent = 100 * np.sort(shares[sounding & (sources == number)], axis=1)[:, ::-1].mean(axis=0)
        style = line_style(place)
        axes.plot(places, percent, **style, linewidth=1.4, label=str(number))
        for some, fill in [(slice(number), style["color"]), (slice(number, None), LIGHT["paper"])]:
            dots = axes.plot(places[some], percent[some], "o", color=style["color"], markersize=4, markerfacecolor=fill)
            dots[0].set_clip_on(False)  # else those at 0 and 100 would be cut in half
    axes.set_xticks(places)
    axes.set(ylim=(0, 100), xlabel="outputs, loudest first", ylabel="share of energy (%)")
    draw_legend(axes, 8, title="number of sources", alignment="left")
    caption = (
        f"Mean share of the energy of all outputs, {format_count(sounding.sum())} examples: for n sources, the n "
        "loudest outputs (filled dots) should hold nearly all energy and the others (hollow dots) nearly none."
    )
    silent = len(shares) - int(sounding.sum())
    return caption + (f" {format_count(silent)} with silent outputs only are left out." if silent else "")


def draw_legend(axes: Axes, columns: int, **options: Any) -> None:
    """A legend above a panel."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2, columnspacing=1, **options)
