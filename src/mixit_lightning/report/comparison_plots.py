"""Drawings of several runs in one panel. A run has the colour and the number of its place in the comparison."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .labels import METRICS, axis_label, format_count, format_number
from .plots import LIGHT, SERIES, draw_line

if TYPE_CHECKING:  # slow to import and most commands never need them
    import pandas as pd
    from matplotlib.axes import Axes

DASHES = ((), (5, 2), (1, 1.5), (6, 2, 1, 2))
"""Lengths of lines and gaps, in line widths: a run more than there are colours has a broken line."""

MAX_POINTS = 2400  # in a panel: a browser draws each as an element of its own
POINTS_A_BIN = 12
MAX_BINS = 10
SAME_LEVEL = 1.0
"""dB; inputs whose middle nine tenths lie closer together are as good as equally loud."""

MAX_LABEL = 44  # letters beside a figure in a panel's width


class Interval(NamedTuple):
    """A mean and where it may as well lie."""

    mean: float
    low: float
    high: float


def intervals(table: "pd.DataFrame", name: str) -> list[Interval]:
    """Intervals of a column of a comparison's table, by its `_low` and `_high`."""
    return [Interval(*values) for values in table[[name, f"{name}_low", f"{name}_high"]].itertuples(index=False)]


def colour_of(place: int) -> str:
    """Colour of the run at a place."""
    return SERIES[place % len(SERIES)]


def dashes_of(place: int) -> tuple[float, ...]:
    """Dashes of the line of the run at a place; none for an unbroken one."""
    return DASHES[place // len(SERIES) % len(DASHES)]


def style_of(place: int) -> Any:
    """The same as matplotlib wants it."""
    return (0, dashes_of(place)) if dashes_of(place) else "-"


def intervals_height(count: int) -> float:
    """Height in inches of a panel of intervals."""
    return 0.7 + 0.44 * count


def draw_intervals(
    axes: "Axes",
    labels: Sequence[str],
    intervals: Sequence[Interval],
    base: float,
    unit: str,
    write: Callable[[float], str] = format_number,
) -> None:
    """Means and intervals, one row per run, each below its label, as labels may have any length.

    Args:
        axes: to draw in.
        labels: of the runs.
        intervals: of the runs.
        base: value marked by a dotted line.
        unit: of the values, as the axis is called.
        write: how the means are written.
    """
    axes.axvline(base, linestyle=":", linewidth=1, color=LIGHT["muted"])
    for place, (label, interval) in enumerate(zip(labels, intervals, strict=True)):
        mean, low, high = interval
        axes.errorbar(
            mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color=colour_of(place), capsize=3, markersize=5
        )
        for text, side, start in ((f"{place + 1}  {shorten(label)}", "left", 0), (write(mean), "right", 1)):
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
    axes.set_yticks([])
    axes.set_ylim(len(labels) - 0.6, -0.9)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(unit)


def shorten(label: str) -> str:
    """A label that fits into a panel; the end stays, for it often tells runs apart."""
    return label if len(label) <= MAX_LABEL else f"{label[: MAX_LABEL - 16]}…{label[-15:]}"


def draw_curves(axes: "Axes", values: "Sequence[pd.Series | None]", over: str, unit: str) -> None:
    """One metric of all runs that logged it, over the steps or hours that are their index."""
    for place, one in enumerate(values):
        if one is not None:
            draw_line(axes, one, "", colour_of(place), style_of(place))
    if over == "step":
        from matplotlib.ticker import EngFormatter

        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(left=0)
    axes.set_xlabel({"step": "training step", "hours": "hours of training"}[over])
    axes.set_ylabel(unit)


def draw_levels(axes: "Axes", runs: Sequence[np.ndarray], measure: str) -> str:
    """How a measure depends on the level of the input; where all are equally loud, how it spreads.

    Args:
        axes: to draw in.
        runs: `(example, 2)` of each: level of the input in dB, and the measure.
        measure: its name.

    Returns:
        The caption.
    """
    levels = np.concatenate([points[:, 0] for points in runs])
    low, high = np.quantile(levels, [0.05, 0.95])
    number = max(len(points) for points in runs)
    stride = math.ceil(number * len(runs) / MAX_POINTS)
    axes.axhline(0, color=LIGHT["muted"], linewidth=0.8)
    axes.set_ylabel(axis_label(measure))
    draw = draw_trends if high - low >= SAME_LEVEL else draw_strips
    caption = draw(axes, runs, stride, METRICS.get(measure, (measure,))[0])
    if draw is draw_strips:
        caption = (
            f"All inputs are about equally loud: nine tenths of them have an SI-SNR of {format_number(low, 1)} to "
            f"{format_number(high, 1)} dB. {caption}"
        )
    points = f"{format_count(number)} examples of each run"
    return f"{caption} {points}" + (f", of which one in {stride} is drawn as a point." if stride > 1 else ".")


def draw_trends(axes: "Axes", runs: Sequence[np.ndarray], stride: int, label: str) -> str:
    """Examples as faint points, and above them the means of bins of equally many."""
    import pandas as pd

    for place, points in enumerate(runs):
        axes.plot(*points[::stride].T, "o", color=colour_of(place), markersize=2.5, markeredgewidth=0, alpha=0.3)
    for place, points in enumerate(runs):
        bins = min(MAX_BINS, len(points) // POINTS_A_BIN)
        if bins > 1:
            table = pd.DataFrame(points, columns=["level", "value"])
            means = table.groupby(pd.qcut(table["level"], bins, duplicates="drop"), observed=True).mean()
            style = style_of(place)
            axes.plot(means["level"], means["value"], linestyle=style, color=colour_of(place), linewidth=1.8)
    axes.set_xlabel("input SI-SNR (dB)")
    return f"{label} against the SI-SNR of the input; lines are means of equally many examples of neighbouring levels."


def draw_strips(axes: "Axes", runs: Sequence[np.ndarray], stride: int, label: str) -> str:
    """Examples as points in one column per run, with median and quartiles."""
    for place, points in enumerate(runs):
        if not len(points):
            continue
        values = points[::stride, 1]
        aside = np.random.default_rng(0).uniform(-0.3, 0.3, len(values))  # so that points do not hide each other
        colour = colour_of(place)
        axes.plot(place + 1 + aside, values, "o", color=colour, markersize=2.5, markeredgewidth=0, alpha=0.35)
        lower, median, upper = np.quantile(points[:, 1], [0.25, 0.5, 0.75])
        for value, width in ((lower, 1.0), (median, 2.2), (upper, 1.0)):
            axes.hlines(value, place + 0.6, place + 1.4, color=LIGHT["ink"], linewidth=width)
    axes.set_xticks(range(1, len(runs) + 1))
    axes.set_xlim(0.4, len(runs) + 0.6)
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("run")
    return f"{label} of the examples, one column per run; thick lines are medians, thin ones quartiles."
