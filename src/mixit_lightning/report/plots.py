"""Drawings of the pages: curves, distributions and separation counts, as inline SVG or as a picture."""

import io
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .labels import (
    IMPROVEMENTS,
    METRICS,
    OBJECTIVES,
    UNITS,
    format_count,
    format_duration,
    format_number,
    format_percent,
)

if TYPE_CHECKING:  # matplotlib and pandas are slow to import and most commands never need them
    import pandas as pd
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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

MAX_CURVE_POINTS = 600  # finer than the page shows, and keeps the file small
MAX_BINS = 60
PANEL_SIZE = (4.4, 2.9)  # inches; small, so that lettering stays legible on a telephone


class Plot(NamedTuple):
    """A drawing on the page, with words for those who cannot see it."""

    svg: "Markup"
    alt: str
    caption: str


@contextmanager
def plot_style() -> Iterator[None]:
    """Settings all plots share, in force while they are drawn and saved."""
    import matplotlib

    with matplotlib.rc_context(
        {
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
    ):
        yield


def new_figure(columns: int = 1, height: float = PANEL_SIZE[1]) -> "tuple[Figure, list[Axes]]":
    """An empty figure with a row of panels, their height in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(PANEL_SIZE[0] * columns, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def inline_plot(name: str, draw: "Callable[[Axes], str]", alt: str, height: float = PANEL_SIZE[1]) -> Plot:
    """Draw one panel for the page; what `draw` returns becomes the caption."""
    with plot_style():
        figure, (axes,) = new_figure(height=height)
        caption = draw(axes)
        return Plot(inline_svg(figure, name), f"{alt}. {caption}", caption)


def inline_svg(figure: "Figure", name: str) -> "Markup":
    """A figure as an SVG element whose colours follow the page and whose identifiers are its own."""
    from markupsafe import Markup

    buffer = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]  # the XML prologue has no place inside HTML
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for variable, colour in LIGHT.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return Markup(svg)


def curve_plots(curves: "pd.DataFrame") -> list[Plot]:
    """The training curves, drawn for the page."""
    return [
        inline_plot(f"curve{number}", draw, "Line chart over training steps")
        for number, draw in enumerate(curve_panels(curves))
    ]


def curve_panels(curves: "pd.DataFrame") -> "list[Callable[[Axes], str]]":
    """The panels there is something to draw in."""
    names = list(curves.dropna(subset=["metric", "value"])["metric"].unique())
    losses = [name for name in names if name.endswith("loss")]
    # MSi by the number of sources would hide the others.
    metrics = [name for name in METRICS if name not in UNITS and not name.startswith("msi_")]
    metrics = [f"val/{name}" for name in metrics if f"val/{name}" in names]
    panels: list[Callable[[Axes], str]] = []
    if losses:
        panels.append(lambda axes: draw_losses(axes, curves, losses))
    if metrics:
        panels.append(lambda axes: draw_metrics(axes, curves, metrics))
    return panels


def curve(curves: "pd.DataFrame", name: str, over: str = "step") -> "pd.Series":
    """Values of one metric indexed by step or seconds; of steps that were repeated after a restart, the last holds."""
    rows = curves.loc[curves["metric"] == name].drop_duplicates("step", keep="last")
    return rows.set_index(over)["value"].sort_index().replace([math.inf, -math.inf], math.nan)


def thin(values: "pd.Series") -> "pd.Series":
    """At most MAX_CURVE_POINTS of the values, evenly spaced, the last one among them."""
    stride = math.ceil(len(values) / MAX_CURVE_POINTS)
    return values[::-1][::stride][::-1] if stride > 1 else values


def draw_line(axes: "Axes", values: "pd.Series", label: str, colour: str, style: Any = "-") -> None:
    """A curve, with its points marked where they are few."""
    values = thin(values)
    marker = "o" if len(values) <= 40 else ""
    axes.plot(
        values.index, values, linestyle=style, color=colour, linewidth=1.4, marker=marker, markersize=2.5, label=label
    )


def draw_losses(axes: "Axes", curves: "pd.DataFrame", names: list[str]) -> str:
    """Losses over steps: training as measured and smoothed, validation as measured."""
    for name, colour in zip(sorted(names), SERIES * len(names), strict=False):
        stage, _, kind = name.rpartition("/")
        kind = kind.removesuffix("loss").strip("_")
        label = {"train": "training", "val": "validation"}.get(stage, stage)
        label += f", {OBJECTIVES.get(kind, kind)}" if kind else ""
        values = curve(curves, name)
        if stage == "train":
            raw = thin(values)
            axes.plot(raw.index, raw, color=colour, linewidth=0.6, alpha=0.3)
            values = values.ewm(span=max(1, len(values) // 50)).mean()
            label += " (smoothed)"
        draw_line(axes, values, label, colour)
    finish_curves(axes, "loss (dB)")
    return f"Loss over training, lower is better.{elapsed(curves)}"


def draw_metrics(axes: "Axes", curves: "pd.DataFrame", names: list[str]) -> str:
    """Validation metrics over steps."""
    for name, colour in zip(names, SERIES * len(names), strict=False):
        draw_line(axes, curve(curves, name), METRICS[name.removeprefix("val/")][0], colour)
    finish_curves(axes, "validation metric (dB)")
    return "Metrics on the validation examples, higher is better."


def finish_curves(axes: "Axes", label: str) -> None:
    """Labels and legend that all curves share."""
    from matplotlib.ticker import EngFormatter

    axes.set_xlabel("training step")
    axes.set_ylabel(label)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2, columnspacing=1.2)


def elapsed(curves: "pd.DataFrame") -> str:
    """How long the steps on the curves took, in words."""
    seconds = curves["seconds"].max()
    if not math.isfinite(seconds):
        return ""
    return f" {format_count(curves['step'].max())} steps in {format_duration(float(seconds))}."


def distribution_plots(examples: "pd.DataFrame") -> list[Plot]:
    """How the improvement spreads over examples, and how it depends on the input; empty where none was measured."""
    measured = [name for name in ("input_si_snr", *IMPROVEMENTS) if name in examples]
    finite = examples[measured].replace([math.inf, -math.inf], math.nan)
    name = next((name for name in measured[1:] if finite[name].notna().any()), None)
    if name is None:
        return []
    values = finite[name].dropna().to_numpy()
    plots = [
        inline_plot("histogram", lambda axes: draw_histogram(axes, values, len(examples), name), "Histogram"),
    ]
    both = finite[["input_si_snr", name]].dropna().to_numpy()
    if len(both):
        plots.append(inline_plot("scatter", lambda axes: draw_scatter(axes, both, name), "Scatter plot"))
    return plots


def draw_histogram(axes: "Axes", values: np.ndarray, total: int, name: str) -> str:
    """Histogram of improvements with median and 10th percentile marked."""
    edges = np.histogram_bin_edges(values, "auto")
    axes.hist(values, bins=min(len(edges) - 1, MAX_BINS), color=LIGHT["series-1"], alpha=0.55)
    tenth, median = np.percentile(values, [10, 50])
    # Each label stands on the outer side of its line, so the two never meet.
    for mark, text, side in [(tenth, "10 % below", "right"), (median, "median", "left")]:
        axes.axvline(mark, color=LIGHT["ink"], linewidth=1)
        axes.annotate(
            f"{text} {format_number(mark, 1)}",
            (mark, 1.02),
            xycoords=("data", "axes fraction"),
            xytext=(-2 if side == "right" else 2, 0),
            textcoords="offset points",
            ha=side,
        )
    label = METRICS[name][0]
    axes.set_xlabel(f"{label} (dB)")
    axes.set_ylabel("examples")
    caption = (
        f"{label} of {format_count(len(values))} examples: median {format_number(median, 1)} dB, "
        f"10th percentile {format_number(tenth, 1)} dB."
    )
    left_out = total - len(values)
    return caption + (f" {format_count(left_out)} without a finite {label} are left out." if left_out else "")


def draw_scatter(axes: "Axes", points: np.ndarray, name: str) -> str:
    """Improvement of each example against how hard its input was."""
    label = METRICS[name][0]
    axes.axhline(0, color=LIGHT["muted"], linewidth=0.8)
    alpha = float(np.clip(200 / len(points), 0.4, 0.8))  # dense clouds stay readable
    axes.plot(*points.T, "o", color=LIGHT["series-1"], markersize=3, markeredgewidth=0, alpha=alpha)
    axes.set_xlabel("input SI-SNR (dB)")
    axes.set_ylabel(f"{label} (dB)")
    count = format_count(len(points))
    return f"{label} against the SI-SNR of the input, {count} examples; below the line, separation did harm."


def separation_plots(examples: "pd.DataFrame") -> list[Plot]:
    """How many outputs are active and how they share the energy; empty where a recipe does not measure it."""
    counts = ["num_references", "num_active_outputs"]
    shares = examples.filter(regex=r"^energy_share_\d+$")
    if shares.empty or not set(counts) <= set(examples.columns):
        return []
    known = examples[examples["num_references"] > 0].dropna(subset=counts)
    if known.empty:  # nothing but silence
        return []
    sources, active = known[counts].to_numpy(dtype=int).T
    by_output = shares.loc[known.index].to_numpy(dtype=float)
    plots = [inline_plot("active", lambda axes: draw_active(axes, sources, active, by_output.shape[1]), "Grid")]
    if np.isfinite(by_output).all(axis=1).any():
        plots.append(inline_plot("shares", lambda axes: draw_shares(axes, sources, by_output), "Line chart"))
    return plots


def draw_active(axes: "Axes", sources: np.ndarray, active: np.ndarray, num_outputs: int) -> str:
    """Percentage of the examples with so many sources (column) that have so many active outputs (row)."""
    from matplotlib.patches import Rectangle

    font_size = min(9.0, 150 / (num_outputs + 1))  # rows of many outputs are low
    numbers = np.unique(sources)
    for column, number in enumerate(numbers):
        for row in range(num_outputs + 1):
            share = float((active[sources == number] == row).mean())
            # Never so strong that lettering in ink would not be legible on it, be it in light or dark.
            face = (LIGHT["series-1"], 0.55 * share)
            edge, width, above = (LIGHT["ink"], 1.2, 2) if row == number else (LIGHT["rule"], 0.5, 1)
            cell = Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=face, edgecolor=edge, linewidth=width)
            axes.add_patch(cell).set(zorder=above, clip_on=False)
            axes.text(
                column,
                row,
                format_percent(share),
                color=LIGHT["ink" if share else "muted"],
                size=font_size,
                ha="center",
                va="center_baseline",
            )
    axes.set_xticks(range(len(numbers)), [str(number) for number in numbers])
    axes.set_yticks(range(num_outputs + 1))
    axes.set_xlim(-0.5, len(numbers) - 0.5)
    axes.set_ylim(-0.5, num_outputs + 0.5)
    axes.set_aspect(0.4, anchor="W")  # cells look alike, however many there are
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=font_size)
    axes.set_xlabel("true number of sources")
    axes.set_ylabel("active outputs")
    surplus = active - sources
    under, equal, over = (format_percent(float(holds.mean())) for holds in (surplus < 0, surplus == 0, surplus > 0))
    return (
        f"Active outputs by true number of sources, in percent of each column, {format_count(len(sources))} examples. "
        f"Of all, {under} % are under-separated (fewer active outputs than sources), {equal} % equal (outlined) and "
        f"{over} % over-separated (more). An output is active above \N{MINUS SIGN}20 dB of the quietest source."
    )


def draw_shares(axes: "Axes", sources: np.ndarray, shares: np.ndarray) -> str:
    """Mean share of the energy from the loudest output of an example to its faintest."""
    sounding = np.isfinite(shares).all(axis=1)
    places = np.arange(1, shares.shape[1] + 1)
    numbers = np.unique(sources[sounding])
    for index, number in enumerate(numbers):
        percent = 100 * np.sort(shares[sounding & (sources == number)], axis=1)[:, ::-1].mean(axis=0)
        colour = SERIES[index % len(SERIES)]
        style = "-" if index < len(SERIES) else "--"
        axes.plot(places, percent, style, color=colour, linewidth=1.4, label=str(number))
        for some, fill in [(slice(number), colour), (slice(number, None), LIGHT["paper"])]:
            dots = axes.plot(places[some], percent[some], "o", color=colour, markersize=4, markerfacecolor=fill)
            dots[0].set_clip_on(False)  # else those at 0 and 100 would be cut in half
    axes.set_xticks(places)
    axes.set_ylim(0, 100)
    axes.set_xlabel("outputs, loudest first")
    axes.set_ylabel("share of energy (%)")
    axes.legend(
        title="number of sources",
        alignment="left",
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=8,
        borderaxespad=0.4,
        columnspacing=0.8,
        handletextpad=0.5,
    )
    caption = (
        f"Mean share of the energy of all outputs, {format_count(sounding.sum())} examples: for n sources, the n "
        "loudest outputs (filled dots) should hold nearly all energy and the others (hollow dots) nearly none."
    )
    silent = len(shares) - int(sounding.sum())
    return caption + (f" {format_count(silent)} with silent outputs only are left out." if silent else "")
