"""What a sweep has found: `sweep.csv`, `sweep.json`, `sweep.png`, and a few lines."""

import csv
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import OmegaConf

from ..config import Config
from ..files import replacing
from ..report.plots import LIGHT, new_figure, plot_style
from .file import distribution, fixed_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_TICKS = 8
"""Values that are all written below the axis."""

FINISHED, PRUNED, FAILED, RUNNING = "finished", "pruned", "failed", "not finished"


class Record(NamedTuple):
    """A run of a sweep; fields are columns of `sweep.csv`."""

    run: str
    """`default` or `run N`."""
    swept: list[str]
    """`key=value` of the swept settings; none for the default."""
    value: float | None
    """Of the metric, the last that was logged, which is W&B's value of a run too."""
    state: str
    reason: str
    """Why it failed or was pruned."""
    iterations: int
    """Values of the metric that were logged."""
    seconds: float
    """Of training."""
    folder: str


class Summary:
    """Writes what is known of a sweep.

    Args:
        folder: for the files.
        config: the sweep, with the recipe's words in its command.
        default: what the runs are compared with.
        line: its words.
        origin: of `provenance`.
    """

    def __init__(
        self, folder: Path, config: dict[str, Any], default: Config, line: list[str], origin: dict[str, Any]
    ) -> None:
        self.folder, self.config, self.default, self.line, self.origin = folder, config, default, line, origin
        self.metric, self.goal = config["metric"]["name"], config["metric"]["goal"]

    def best(self, records: Sequence[Record]) -> Record | None:
        """The finished run with the best value."""
        finished = [
            (record.value, record) for record in records if record.state == FINISHED and record.value is not None
        ]
        choose = min if self.goal == "minimize" else max
        return choose(finished, key=lambda item: item[0])[1] if finished else None

    def gain(self, records: Sequence[Record]) -> float | None:
        """By how much the best run is better than the default; None where one of the two is not there."""
        best, default = self.best(records[1:]), records[0].value
        if best is None or best.value is None or default is None:
            return None
        return default - best.value if self.goal == "minimize" else best.value - default

    def write(self, records: Sequence[Record], picture: bool = True) -> None:
        """Write the files; the default is the first record."""
        with replacing(self.folder / "sweep.csv") as partial, partial.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["run", "words", "value", *Record._fields[3:]])
            for record in records:
                value = "" if record.value is None else record.value
                writer.writerow([record.run, " ".join(record.swept), value, *record[3:]])
        with replacing(self.folder / "sweep.json") as partial:
            partial.write_text(json.dumps(self.content(records), indent=2) + "\n")
        if picture:
            draw(self, records, self.folder / "sweep.png")

    def content(self, records: Sequence[Record]) -> dict[str, Any]:
        """Of `sweep.json`."""
        best, runs = self.best(records[1:]), records[1:]
        return {
            "sweep": self.config["name"],
            "method": self.config["method"],
            "metric": self.config["metric"],
            "value": "the last that a run logged",
            "parameters": self.config["parameters"],
            "words": self.line,
            "default": summarised(records[0]),
            "best": None if best is None else summarised(best),
            "better_than_default_by": self.gain(records),
            "counts": {state: sum(run.state == state for run in runs) for state in (FINISHED, PRUNED, FAILED, RUNNING)},
            "seed": self.default.settings.seed,
            "steps": self.default.settings.trainer.max_steps,
            "seconds": round(sum(record.seconds for record in records), 1),
            **self.origin,
        }

    def text(self, records: Sequence[Record]) -> str:
        """The outcome in a few lines."""
        default, best, gain = records[0], self.best(records[1:]), self.gain(records)
        counts = self.content(records)["counts"]
        lines = [", ".join(f"{count} {state}" for state, count in counts.items() if count)]
        if default.value is None:
            lines.append(f"default: {default.state}" + (f": {default.reason}" if default.reason else ""))
        else:
            lines.append(f"default: {self.metric} {default.value:.4g}")
        if best is not None:
            lines.append(f"best: {self.metric} {best.value:.4g} with {' '.join(best.swept)}")
            if gain is not None and gain > 0:
                lines[-1] += f", better than the default by {gain:.4g} (seed {self.default.settings.seed} alone)"
                lines.append(f"  mixit train {shlex.join([*fixed_words(self.config), *best.swept])}")
        ended = sum(counts.values()) - counts[RUNNING]
        if default.value is not None and ended and (gain is None or gain <= 0):
            lines.append(f"better than the default: none of {ended}")
        lines.append(f"look: {self.folder / 'sweep.png'}, sweep.csv, sweep.json")
        return "\n".join(lines)


def summarised(record: Record) -> dict[str, Any]:
    """A run in `sweep.json`."""
    return {"words": record.swept, **{key: getattr(record, key) for key in ("value", "state", "reason", "folder")}}


def draw(summary: Summary, records: Sequence[Record], path: Path) -> None:
    """The best value so far, and the value over every swept setting, with the default marked."""
    swept = [key for key, specification in summary.config["parameters"].items() if "value" not in specification]
    with plot_style():
        figure, (first, *others) = new_figure(1 + len(swept))
        draw_progress(summary, records, first)
        for key, axes in zip(swept, others, strict=True):
            draw_parameter(summary, records, key, axes)
        if first.get_legend_handles_labels()[0]:
            first.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.2, columnspacing=1.2)
        with replacing(path) as partial:
            figure.savefig(partial, format="png", dpi=150)


def draw_progress(summary: Summary, records: Sequence[Record], axes: "Axes") -> None:
    """Values in the order of the runs, and the best so far."""
    from matplotlib.ticker import MaxNLocator

    runs = [(number, record) for number, record in enumerate(records[1:], 1) if record.value is not None]
    draw_default(records[0], axes)
    draw_points(runs, axes)
    better = min if summary.goal == "minimize" else max
    places: list[int] = []
    best: list[float] = []
    for number, record in runs:
        if record.state == FINISHED and record.value is not None:
            places.append(number)
            best.append(better([*best[-1:], record.value]))
    if places:
        axes.step(
            [*places, len(records) - 1],
            [*best, best[-1]],
            where="post",
            color=LIGHT["series-3"],
            linewidth=1.4,
            label="best so far",
        )
    axes.set_xlabel("run")
    axes.set_ylabel(summary.metric)
    axes.set_xlim(0.5, max(len(records) - 0.5, 1.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_parameter(summary: Summary, records: Sequence[Record], key: str, axes: "Axes") -> None:
    """Values over one swept setting: a number where all are numbers, otherwise a place for each."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    specification = summary.config["parameters"][key]
    runs = [(value_of(record, key), record) for record in records[1:] if record.value is not None]
    default = default_of(summary, key)
    known = [str(value) for value in specification.get("values", [])]
    texts = known or [text for text, _ in runs]
    draw_default(records[0], axes)
    if all(is_number(text) for text in texts):
        place = {text: float(text) for text in texts}
        if default is not None and is_number(default):
            place[default] = float(default)
        if 0 < len(known) <= MAX_TICKS:
            axes.set_xticks([float(text) for text in known], known)
        if "log" in (distribution(specification) or ""):
            axes.set_xscale("log")
            axes.set_xlim(0.9 * specification["min"], specification["max"] / 0.9)
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        place = {text: number for number, text in enumerate(texts)}
        rotation, alignment = (30, "right") if len(texts) > 3 else (0, "center")
        axes.set_xticks(range(len(texts)), texts, rotation=rotation, ha=alignment)
        axes.set_xlim(-0.5, len(texts) - 0.5)
    draw_points([(place[text], record) for text, record in runs], axes)
    if default in place and records[0].value is not None:
        axes.plot([place[default]], [records[0].value], "D", color=LIGHT["series-2"], markersize=6)
    axes.set_xlabel(key)


def draw_default(default: Record, axes: "Axes") -> None:
    """A line at the default's value."""
    if default.value is not None:
        axes.axhline(default.value, color=LIGHT["series-2"], linestyle=":", linewidth=1.2, label="default")


def draw_points(runs: Sequence[tuple[float, Record]], axes: "Axes") -> None:
    """Finished runs as dots; hollow ones were pruned, and show their last value."""
    for state, fill in ((FINISHED, LIGHT["series-1"]), (PRUNED, LIGHT["paper"])):
        points = [(place, record.value) for place, record in runs if record.state == state]
        if points:
            axes.plot(
                *zip(*points, strict=True),
                "o",
                color=LIGHT["series-1"],
                markerfacecolor=fill,
                markersize=4.5,
                label=state,
            )


def value_of(record: Record, key: str) -> str:
    """What a run has set."""
    return next(word.partition("=")[2] for word in record.swept if word.partition("=")[0] == key)


def default_of(summary: Summary, key: str) -> str | None:
    """What the default has, as it would be written; None where that cannot be said."""
    settings = summary.default.settings
    if key in ("objective", "separator"):  # a group, whose option is in the run's name
        return str(dict(zip(("objective", "recipe", "separator"), settings.run.split("."), strict=False))[key])
    value = OmegaConf.select(settings, key)
    return None if value is None or OmegaConf.is_config(value) else str(value)


def is_number(text: str) -> bool:
    """Whether it can be drawn on an axis."""
    try:
        float(text)
    except ValueError:
        return False
    return True
