"""The page one listens to: `report.html`, a single self-contained file inside a run folder.

The page needs no server and asks nothing of the network: curves are inline SVG, spectrograms and sounds are base64.
It is built from the run folder alone, so it can be written again at any time, on any machine.
"""

import base64
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

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

# What each figure is called on the page and what it means; in decibels, higher is better, unless UNITS says otherwise.
METRICS = {
    "si_snri": ("SI-SNRi", "improvement over the mixture, outputs matched to references"),
    "msi": ("MSi", "SI-SNR improvement, inputs of several sources only"),
    "msi_2": ("MSi, 2 sources", "SI-SNR improvement, inputs of two sources"),
    "msi_3": ("MSi, 3 sources", "SI-SNR improvement, inputs of three sources"),
    "msi_4": ("MSi, 4 sources", "SI-SNR improvement, inputs of four sources"),
    "one_source": ("1S", "SI-SNR (not an improvement) of inputs that hold one source"),
    "momi": ("MoMi", "improvement of the mixtures recovered from their mixture (MoM)"),
    "si_snri_oracle_remix": ("Oracle remix", "SI-SNRi after summing outputs as suits the references best"),
    "si_snr": ("SI-SNR", "of the outputs matched to references"),
    "input_si_snr": ("Input SI-SNR", "of the unprocessed mixture"),
    "estoi": ("ESTOI", "intelligibility of the speech output, 0 to 1"),
    "input_estoi": ("Input ESTOI", "of the unprocessed mixture"),
    "pesq": ("PESQ", "quality of the speech output, 1 to 4.6"),
    "input_pesq": ("Input PESQ", "of the unprocessed mixture"),
    "under_separation": ("Under-separation", "inputs with fewer active outputs than sources"),
    "equal_separation": ("Equal separation", "inputs with as many active outputs as sources"),
    "over_separation": ("Over-separation", "inputs with more active outputs than sources"),
}
UNITS = dict.fromkeys(("estoi", "input_estoi"), "") | dict.fromkeys(("pesq", "input_pesq"), "MOS")
UNITS |= dict.fromkeys(("under_separation", "equal_separation", "over_separation"), "%")  # of a share from 0 to 1
OBJECTIVES = {"mixit": "MixIT", "pit": "PIT"}
IMPROVEMENTS = ("si_snri", "momi", "si_snri_oracle_remix")  # the first that was measured has its distribution shown

REQUIRED_RESULTS = ("recipe", "run", "objective", "separator", "metrics", "selection_rule", "num_examples")
CURVE_COLUMNS = ("step", "seconds", "metric", "value")
EXAMPLE_COLUMNS = ("name", "input_si_snr", "momi")

NOT_APPLICABLE = "—"
MAX_CURVE_POINTS = 600  # finer than the page shows, and keeps the file small
MAX_BINS = 60
PANEL_SIZE = (4.4, 2.9)  # inches; small, so that lettering stays legible on a telephone
WINDOW_SECONDS = 0.032
MAX_COLUMNS = 600  # of a spectrogram
DYNAMIC_RANGE = 80.0  # dB below the loudest cell of a card that its spectrograms still show


class Plot(NamedTuple):
    """A drawing on the page, with words for those who cannot see it."""

    svg: "Markup"
    alt: str
    caption: str


class Quantity(NamedTuple):
    """A measured figure, ready to print."""

    label: str
    text: str
    unit: str
    meaning: str


@dataclass
class Sound:
    """One audio file of an example, as the page shows and plays it."""

    role: str  # mixture, reference or output
    number: int
    samples: np.ndarray
    finite: bool
    share: float | None = None  # of the energy of all sounds of the same role, in percent
    spectrogram: str = ""
    audio: str = ""

    @property
    def label(self) -> str:
        """Name shown above the sound."""
        return self.role.capitalize() + (f" {self.number}" if self.number else "")

    @property
    def peak(self) -> str:
        """Peak level in dB relative to full scale."""
        peak = float(np.abs(self.samples).max(initial=0.0))
        return (
            f"{format_number(20 * math.log10(peak), 1)}\N{NO-BREAK SPACE}dBFS"
            if peak > 0
            else "\N{MINUS SIGN}∞\N{NO-BREAK SPACE}dBFS"
        )

    @property
    def share_text(self) -> str:
        """Energy share with enough digits to tell silent from nearly silent."""
        share = self.share or 0.0
        return "< 0.01" if 0 < share < 0.01 else f"{share:.2f}" if 0 < share < 1 else f"{share:.0f}"


@dataclass
class Card:
    """One listening example: its mixture, each reference beside its matched output, and the outputs left over."""

    name: str
    why: str
    quantities: list[Quantity]
    mixture: Sound
    pairs: list[tuple[Sound, Sound | None]]
    rest: list[Sound]
    sample_rate: int
    duration: float
    gain: float  # below 1 where a sound would clip; the same for all sounds of the card
    scale: str = field(default="", repr=False)  # picture of the colour scale


def write_report(run: Path) -> Path:
    """Write `report.html` into a run folder and return its path.

    Raises FileNotFoundError or ValueError, naming the file, where the run folder does not hold what the page needs;
    an existing page is then left as it was.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    run = Path(run)
    results = read_results(run / "results.json")
    curves = read_table(run / "metrics.csv", CURVE_COLUMNS, text=("metric",))
    examples = read_table(run / "examples.csv", EXAMPLE_COLUMNS, text=("name", "domain"))
    if examples is not None and "domain" in examples:
        examples = examples[examples["domain"] == results.get("domain")].drop(columns="domain")
    cards = read_cards(run / "examples")
    config = run / "config.yaml"

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names of files and examples come from corpora
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        light=LIGHT,
        dark=DARK,
        results=results,
        quantities=quantities(results["metrics"]),
        others={name: quantities(other["metrics"]) for name, other in results.get("other_domains", {}).items()},
        provenance=provenance(results),
        curves=None if curves is None else curve_plots(curves),
        distributions=None if examples is None else distribution_plots(examples),
        separations=[] if examples is None else separation_plots(examples),
        cards=cards,
        config=config.read_text(encoding="utf-8", errors="replace") if config.is_file() else None,
        dynamic_range=DYNAMIC_RANGE,
        count=format_count,
        not_applicable=NOT_APPLICABLE,
    )
    return replace_file(run / "report.html", page.encode("utf-8", errors="replace"))


def write_curves(run: Path, path: Path) -> Path:
    """Write the loss and metric curves of a run as one PNG picture and return its path."""
    source = Path(run) / "metrics.csv"
    curves = read_table(source, CURVE_COLUMNS, text=("metric",))
    if curves is None:
        raise FileNotFoundError(f"{source} is missing: curves exist only for runs that were trained here")
    panels = curve_panels(curves)
    if not panels:
        raise ValueError(f"{source} holds no loss and no metric to draw")
    with plot_style():
        figure, axes = new_figure(len(panels))
        for draw, axis in zip(panels, axes, strict=True):
            draw(axis)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=160, facecolor="white")
    return replace_file(Path(path), picture.getvalue())


# Files


def replace_file(path: Path, content: bytes) -> Path:
    """Write a file so that a reader sees the old content or the new, never a part."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def read_json(path: Path) -> Any:
    """Content of a JSON file, with an error that names the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not UTF-8
        raise ValueError(f"{path} is not valid JSON ({error}): evaluate the run again") from error


def read_results(path: Path) -> dict[str, Any]:
    """Content of `results.json`, checked for the entries the page cannot do without."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: evaluate the run before writing its report")
    results = read_json(path)
    if not isinstance(results, dict) or not isinstance(results.get("metrics"), dict):
        raise ValueError(f"{path} must be an object with an object 'metrics': evaluate the run again")
    missing = [key for key in REQUIRED_RESULTS if key not in results]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: evaluate the run again")
    return results


def read_table(path: Path, columns: tuple[str, ...], text: tuple[str, ...]) -> "pd.DataFrame | None":
    """A CSV file with the given columns, all numeric except for those in `text`; None where there is no such file."""
    import pandas as pd

    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=True)
        missing = [column for column in columns if column not in table.columns]
        if missing:
            raise ValueError(f"no column {', '.join(missing)}")
        for column in table.columns.difference(list(text)):
            table[column] = pd.to_numeric(table[column])
    except ValueError as error:  # pandas' own parser errors are ValueErrors too
        raise ValueError(f"{path} cannot be read as a table of {', '.join(columns)}: {error}") from error
    return table


# Words and numbers


def format_number(value: float, digits: int = 2) -> str:
    """A number with a true minus sign, or `nan` and `inf` as they are."""
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def format_count(value: float) -> str:
    """A count with its thousands set apart."""
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def format_percent(share: float) -> str:
    """A share from 0 to 1 in whole percent, where seldom is not never."""
    return "< 1" if 0 < share < 0.005 else format_number(100 * share, 0)


def format_duration(seconds: float) -> str:
    """A duration in the two units that matter."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest} s"


def quantities(metrics: dict[str, float | None]) -> list[Quantity]:
    """The figures of a metrics entry, known ones first, in the order of METRICS."""
    names = [name for name in METRICS if name in metrics] + [name for name in metrics if name not in METRICS]
    return [quantity(name, metrics[name]) for name in names]


def quantity(name: str, value: float | None) -> Quantity:
    """One figure with its label and unit; a metric this module does not know keeps its own name and has no unit."""
    label, meaning = METRICS.get(name, (name.replace("_", " "), ""))
    if not isinstance(value, int | float):
        text = NOT_APPLICABLE if value is None else str(value)
        return Quantity(label, text, "", "not applicable" if value is None else meaning)
    if name in METRICS:
        unit = UNITS.get(name, "dB")
        return Quantity(label, format_number(100 * value, 0) if unit == "%" else format_number(value), unit, meaning)
    return Quantity(label, f"{value:.4g}".replace("-", "\N{MINUS SIGN}"), "", meaning)


def provenance(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the figures come from, as terms and descriptions."""

    def listed(entry: Any) -> str | None:
        return ", ".join(f"{key} {value}" for key, value in entry.items()) if isinstance(entry, dict) else entry

    def durations(entry: Any) -> str | None:
        known = {key: value for key, value in (entry or {}).items() if value is not None}
        return ", ".join(f"{key} {format_duration(value)}" for key, value in known.items())

    steps = results.get("steps")
    rows = {
        "Recipe": results["recipe"],
        "Objective": results["objective"],
        "Separator": results["separator"],
        "Test examples": results["num_examples"],
        "Selection rule": results["selection_rule"],
        "Checkpoint": results.get("checkpoint"),
        "Training steps": None if steps is None else format_count(steps),
        "Seed": results.get("seed"),
        "Commit": results.get("commit"),
        "Wall time": durations(results.get("wall_time")),
        "Hardware": listed(results.get("hardware")),
        "Versions": listed(results.get("versions")),
    }
    return [(term, "not recorded" if value in (None, "") else str(value)) for term, value in rows.items()]


# Plots


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


def new_figure(columns: int = 1) -> "tuple[Figure, list[Axes]]":
    """An empty figure with a row of panels."""
    from matplotlib.figure import Figure

    width, height = PANEL_SIZE
    figure = Figure(figsize=(width * columns, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def inline_plot(name: str, draw: "Callable[[Axes], str]", alt: str) -> Plot:
    """Draw one panel for the page; what `draw` returns becomes the caption."""
    with plot_style():
        figure, (axes,) = new_figure()
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


def curve(curves: "pd.DataFrame", name: str) -> "pd.Series":
    """Values of one metric indexed by step; of steps that were repeated after a restart, the last holds."""
    rows = curves.loc[curves["metric"] == name].drop_duplicates("step", keep="last")
    return rows.set_index("step")["value"].sort_index().replace([math.inf, -math.inf], math.nan)


def thin(values: "pd.Series") -> "pd.Series":
    """At most MAX_CURVE_POINTS of the values, evenly spaced, the last one among them."""
    stride = math.ceil(len(values) / MAX_CURVE_POINTS)
    return values[::-1][::stride][::-1] if stride > 1 else values


def draw_line(axes: "Axes", values: "pd.Series", label: str, colour: str) -> None:
    """A curve, with its points marked where they are few."""
    values = thin(values)
    marker = "o" if len(values) <= 40 else ""
    axes.plot(values.index, values, color=colour, linewidth=1.4, marker=marker, markersize=2.5, label=label)


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


# Examples to listen to


def read_cards(folder: Path) -> list[Card]:
    """The listening examples of a run; empty where it has none."""
    listing = folder / "examples.json"
    if not listing.is_file():
        return []
    entries = read_json(listing)
    if not isinstance(entries, list):
        raise ValueError(f"{listing} must be a list of examples: evaluate the run again")
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("folder"), str) or "name" not in entry:
            raise ValueError(f"{listing} has an entry without 'folder' or 'name': evaluate the run again")
    return [read_card(listing, entry) for entry in entries]


def read_card(listing: Path, entry: dict[str, Any]) -> Card:
    """One listening example: sounds read, matched and drawn."""
    folder = (listing.parent / entry["folder"]).resolve()
    if not folder.is_relative_to(listing.parent.resolve()):
        raise ValueError(f"{listing} names a folder outside its own: {entry['folder']}")
    sounds, sample_rate = read_sounds(folder)
    scale = render_sounds(sounds, sample_rate)

    references = [sound for sound in sounds if sound.role == "reference"]
    outputs = {sound.number: sound for sound in sounds if sound.role == "output"}
    matched = read_matches(listing, entry, set(outputs))
    pairs = [
        (reference, outputs.pop(matched[reference.number]) if reference.number in matched else None)
        for reference in references
    ]
    return Card(
        name=str(entry["name"]),
        why=str(entry.get("why") or ""),
        quantities=quantities(entry.get("metrics") or {}),
        mixture=sounds[0],
        pairs=pairs,
        rest=list(outputs.values()),
        sample_rate=sample_rate,
        duration=max(len(sound.samples) for sound in sounds) / sample_rate,
        gain=common_gain(sounds),
        scale=scale,
    )


def read_matches(listing: Path, entry: dict[str, Any], outputs: set[int]) -> dict[int, int]:
    """The output number matched to each reference number, an output at most once."""
    try:
        matched = {int(key): int(value) for key, value in (entry.get("matched") or {}).items() if value is not None}
    except (AttributeError, TypeError, ValueError):
        matched = {0: 0}  # no such output, so refused below
    if not set(matched.values()) <= outputs or len(set(matched.values())) < len(matched):
        raise ValueError(
            f"{listing}: 'matched' of {entry['folder']!r} must give each reference an output of its own among "
            f"{sorted(outputs)}, got {entry['matched']}: evaluate the run again"
        )
    return matched


def read_sounds(folder: Path) -> tuple[list[Sound], int]:
    """The sounds of an example, mixture first, then references and outputs by number; and their sample rate."""
    import soundfile

    mixture = folder / "mixture.wav"
    if not mixture.is_file():
        raise FileNotFoundError(f"{mixture} is missing: evaluate the run again to write its examples")
    found = [
        (role, int(match[1]), path)
        for role in ("reference", "output")
        for path in folder.glob(f"{role}_*.wav")
        if (match := re.fullmatch(r"[a-z]+_(\d+)\.wav", path.name))
    ]
    found.sort(key=lambda item: (item[0] == "output", item[1]))
    sounds, sample_rates = [], set()
    for role, number, path in [("mixture", 0, mixture), *found]:
        try:
            samples, sample_rate = soundfile.read(path, dtype="float32")
        except soundfile.LibsndfileError as error:
            raise ValueError(f"{path} is not a sound file that can be read: {error}") from error
        samples = samples.mean(axis=1) if samples.ndim > 1 else samples
        finite = bool(np.isfinite(samples).all())
        sounds.append(Sound(role, number, np.nan_to_num(samples, posinf=0, neginf=0), finite))
        sample_rates.add(int(sample_rate))
    if len(sample_rates) > 1:
        raise ValueError(f"{folder} mixes sample rates {sorted(sample_rates)} Hz: write its examples again")
    return sounds, sample_rates.pop()


def render_sounds(sounds: list[Sound], sample_rate: int) -> str:
    """Give each sound its picture, its player's data and its share of energy; return the colour scale's picture."""
    gain = common_gain(sounds)
    length = max(len(sound.samples) for sound in sounds)
    levels = [spectrogram(sound.samples, length, sample_rate) for sound in sounds]
    top = max(float(level.max()) for level in levels)
    for sound, level in zip(sounds, levels, strict=True):
        sound.spectrogram = picture(level, top)
        sound.audio = encode_sound(sound.samples * gain, sample_rate)
    for role in ("reference", "output"):
        group = [sound for sound in sounds if sound.role == role]
        energies = [float(np.square(sound.samples, dtype=np.float64).sum()) for sound in group]
        for sound, energy in zip(group, energies, strict=True):
            sound.share = 100 * energy / (sum(energies) or 1.0)
    return picture(np.linspace(top - DYNAMIC_RANGE, top, 128)[None], top)


def common_gain(sounds: list[Sound]) -> float:
    """The gain that keeps all sounds of a card within full scale; never above 1, for silence is a finding."""
    peak = max(float(np.abs(sound.samples).max(initial=0.0)) for sound in sounds)
    return min(1.0, 0.999 / peak) if peak > 0 else 1.0


def spectrogram(samples: np.ndarray, length: int, sample_rate: int) -> np.ndarray:
    """Level in dB (frequency, time) of samples padded to `length`, with at most MAX_COLUMNS columns."""
    window = int(WINDOW_SECONDS * sample_rate)
    hop = window // 4
    padded = np.pad(samples, (window // 2, window // 2 + length - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(window).astype(np.float32), axis=1)))
    starts = np.unique(np.linspace(0, len(power), min(len(power), MAX_COLUMNS), endpoint=False).astype(int))
    power = np.add.reduceat(power, starts, axis=0) / np.diff([*starts, len(power)])[:, None]
    return 10 * np.log10(power.T + 1e-12)


def picture(levels: np.ndarray, top: float) -> str:
    """Levels as a base64 JPEG on the colour scale that ends at `top`."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    options = {"quality": 80}
    imsave(
        buffer,
        levels,
        vmin=top - DYNAMIC_RANGE,
        vmax=top,
        cmap="magma",
        origin="lower",
        format="jpg",
        pil_kwargs=options,
    )
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def encode_sound(samples: np.ndarray, sample_rate: int) -> str:
    """Samples as a base64 WAV file of 16 bits, which every browser plays."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format="WAV", subtype="PCM_16")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
