"""Papers' tables beside what was measured: published, measured, difference, and what stands behind each figure."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..files import replacing
from ..report.labels import METRICS, NOT_APPLICABLE, UNITS, format_duration, format_number, markdown_table
from ..report.page import render_page
from ..run import look_up
from .measured import Measured, Measurement, State
from .reproduce import check_words
from .schema import Figure, Published, Row, Table, read_tables

OF_A_FIGURE = ("figure", "published", "measured", "difference")
"""Columns that differ between the figures of a row."""

COLUMNS = ("row", *OF_A_FIGURE, "state", "examples", "seeds", "steps", "training", "commit", "hardware")


@dataclass(frozen=True)
class Line:
    """One figure of a row, over all its seeds."""

    table: Table
    row: Row
    figure: Figure
    measurements: list[Measurement]

    @property
    def measured(self) -> list[Measurement]:
        """The seeds that a run measured."""
        return [found for found in self.measurements if found.state is State.MEASURED]

    @property
    def values(self) -> list[float]:
        """The figure of each of these; a run to which it does not apply has none."""
        values = [value_of(found.results, self.figure) for found in self.measured]
        return [value for value in values if value is not None]

    @property
    def difference(self) -> float | None:
        """Measured minus published, where both were measured on the same data."""
        published = self.figure.published
        if not self.values or published is None or published.value is None or published.elsewhere is not None:
            return None
        return statistics.fmean(self.values) - published.value

    @property
    def state(self) -> str:
        """`measured`, or why not, for each seed that was not."""
        reasons: dict[str, list[str]] = {}
        for found in self.measurements:
            if found.state is not State.MEASURED:
                text = f"{found.state}: {found.reason}" if found.reason else str(found.state)
                reasons.setdefault(text, []).append(str(found.seed))
        if self.measured and len(self.values) < len(self.measured):
            reasons["the figure does not apply to the run"] = []
        if not reasons or len(self.measurements) == 1:
            return next(iter(reasons), str(State.MEASURED))
        return "; ".join(f"seed {' '.join(seeds)}: {text}" if seeds else text for text, seeds in reasons.items())


def value_of(results: dict[str, Any], figure: Figure) -> float | None:
    """A figure of a results.json."""
    metrics = results.get("metrics", {})
    if figure.domain is not None and figure.domain != results.get("domain"):
        metrics = results.get("other_domains", {}).get(figure.domain, {}).get("metrics", {})
    if figure.metric == "si_snr" and metrics.get("si_snr") is None:
        parts = [metrics.get(name) for name in ("si_snri", "input_si_snr")]
        return None if None in parts else sum(parts)
    return metrics.get(figure.metric)


def agreed(values: Sequence[Any]) -> Any:
    """The value that all have in common, or `various`."""
    distinct = list(dict.fromkeys(values))
    return distinct[0] if len(distinct) == 1 else "various" if distinct else None


def hardware_of(results: dict[str, Any]) -> str:
    """On what a run was trained, in a few words."""
    hardware = (results.get("trained_with") or results).get("hardware", {})
    gpus, count = hardware.get("gpus") or [], hardware.get("threads")
    return f"{len(gpus)} x {gpus[0]}" if gpus else f"{hardware.get('cpu')}, {count} thread{'s' if count != 1 else ''}"


def plain(line: Line) -> dict[str, Any]:
    """A line as numbers, for programs."""
    published, results = line.figure.published, [found.results for found in line.measured]
    seconds = [time for found in results if (time := look_up(found, "wall_time.train"))]
    return {
        "table": line.table.title,
        "row": line.row.name,
        "what": line.row.what,
        "settings": " ".join(line.table.settings_of(line.row)),
        "metric": line.figure.metric,
        "domain": line.figure.domain,
        "published": published and published.value,
        "published_says": published and (published.says or published.elsewhere),
        "source": published and published.source,
        "published_rule": published and published.rule,
        "measured": statistics.fmean(line.values) if line.values else None,
        "spread": statistics.stdev(line.values) if len(line.values) > 1 else None,
        "difference": line.difference,
        "examples": agreed([found["num_examples"] for found in results]),
        "seeds": " ".join(str(found.seed) for found in line.measured),
        "steps": agreed([found.get("steps") for found in results]),
        "train_seconds": statistics.fmean(seconds) if seconds else None,
        "commit": agreed([(found.get("trained_with") or found).get("commit") for found in results]),
        "hardware": agreed([hardware_of(found) for found in results]),
        "rule": agreed([found["selection_rule"] for found in results]),
        "state": line.state,
    }


def shown(line: Line) -> dict[str, str]:
    """A line as a reader sees it, by COLUMNS."""
    values = plain(line)
    label, unit = METRICS.get(line.figure.metric, (line.figure.metric,))[0], UNITS.get(line.figure.metric, "dB")

    def number(value: float, sign: str = "") -> str:
        return format_number(100 * value, 0, sign) if unit == "%" else format_number(value, sign=sign)

    measured = NOT_APPLICABLE if values["measured"] is None else number(values["measured"])
    measured += "" if values["spread"] is None else f" ± {number(values['spread'])}"
    published, seconds, commit = line.figure.published, values["train_seconds"], str(values["commit"] or "")
    return {
        "row": line.row.what,
        "figure": f"{label}{f', {unit}' if unit else ''}{f' ({line.figure.domain})' if line.figure.domain else ''}",
        "published": published_text(published, number) if published else "",
        "measured": measured,
        "difference": "" if values["difference"] is None else number(values["difference"], "+"),
        "state": line.state,
        "examples": "" if values["examples"] is None else str(values["examples"]),
        "seeds": values["seeds"],
        "steps": "" if values["steps"] is None else str(values["steps"]),
        "training": "" if seconds is None else format_duration(seconds),
        "commit": commit[:7] + ("+changes" if commit.endswith("+changes") else ""),
        "hardware": values["hardware"] or "",
    }


def cells(lines: Sequence[Line]) -> list[dict[str, str]]:
    """Lines as a reader sees them: what all figures of a row have in common stands in its first line only."""
    rows = [shown(line) for line in lines]
    same = [False, *(line.row is before.row for before, line in pairwise(lines))]
    return [
        {
            column: "" if same[n] and column not in OF_A_FIGURE and row[column] == rows[n - 1][column] else row[column]
            for column in COLUMNS
        }
        for n, row in enumerate(rows)
    ]


def published_text(published: Published, number: Callable[[float], str]) -> str:
    """What was published, in a cell; numbers are written by `number`."""
    if published.value is None:
        return published.says or "not verified"
    return number(published.value) + (f" ({published.elsewhere})" if published.elsewhere else "")


@dataclass(frozen=True)
class Measures:
    """A table with its lines."""

    table: Table
    lines: list[Line]
    damage: list[str]
    """Run folders that could not be read."""

    @property
    def notes(self) -> list[str]:
        """What stands below the table: where figures come from, how theirs and ours were selected, what is damaged."""
        notes = []
        for published in filter(None, (line.figure.published for line in self.lines)):
            rule = f"; selection rule: {published.rule}" if published.rule else ""
            missing = "" if published.value is not None or published.says else "; its digits could not be verified"
            notes.append(f"Published: {published.source}{rule}{missing}.")
        rules = [found.results["selection_rule"] for line in self.lines for found in line.measured]
        notes += sorted(f"Measured: {rule}." for rule in rules)
        return list(dict.fromkeys([*notes, *(f"Not counted: {text}." for text in self.damage)]))

    @property
    def count(self) -> str:
        """How many rows have been measured with all their seeds."""
        rows = self.table.rows
        whole = {row.name for row in rows} - {line.row.name for line in self.lines if line.state != State.MEASURED}
        return f"{len(whole)} of {len(rows)} rows measured with all their seeds"


def measure_tables(recipe: str, words: Sequence[str]) -> list[Measures]:
    """The tables of a recipe with what was measured of them.

    Raises:
        UserError: there is no such table, or something in it or in a run folder is damaged.
    """
    tables = read_tables(recipe)
    check_words(words, [row for table in tables for row in table.rows])
    measured = Measured(recipe, words)
    damage = [record.damage for record in measured.records if record.damage]
    found = []
    for table in tables:
        rows = [(row, [measured.measurement(table, row, seed) for seed in row.seeds]) for row in table.rows]
        lines = [Line(table, row, figure, seeds) for row, seeds in rows for figure in row.figures]
        found.append(Measures(table, lines, damage))
    return found


def markdown(recipe: str, tables: Sequence[Measures]) -> str:
    """All tables of a recipe as Markdown."""
    text = [f"# {recipe}", ""]
    for part in tables:
        text += [f"## {part.table.title}", "", *([part.table.about, ""] if part.table.about else [])]
        rows = cells(part.lines)
        text += markdown_table({column: [row[column] for row in rows] for column in COLUMNS})
        text += ["", *(f"- {note}" for note in part.notes), "", f"{part.count}.", ""]
    return "\n".join(text)


def write_tables(recipe: str, tables: Sequence[Measures], folder: Path) -> list[Path]:
    """Write `table.md`, `table.csv`, `table.tex` and `table.html`.

    Args:
        recipe: its name.
        tables: see `measure_tables`.
        folder: is made where it does not exist.
    """
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    every = pd.DataFrame([plain(line) for part in tables for line in part.lines])
    shown_tables = [(part, cells(part.lines), part.notes) for part in tables]
    content = {
        "table.md": markdown(recipe, tables).encode(),
        "table.csv": every.to_csv(index=False, float_format="%.4f").encode(),
        "table.tex": "\n".join(map(latex_table, tables)).encode(),
        "table.html": render_page("table.html", recipe=recipe, columns=COLUMNS, tables=shown_tables),
    }
    for name, text in content.items():
        with replacing(folder / name) as partial:
            partial.write_bytes(text)
    return [folder / name for name in content]


def latex_table(part: Measures) -> str:
    """A table for a paper: without what only a reader of the page needs."""
    import pandas as pd

    columns = ["row", "figure", "published", "measured", "difference", "examples", "seeds"]
    frame = pd.DataFrame(cells(part.lines))[columns]
    # The reasons are too long for a paper.
    frame["state"] = ["" if line.measured else str(line.measurements[0].state) for line in part.lines]
    style = frame.style.hide(axis="index").format(escape="latex")
    text = style.to_latex(hrules=True, caption=escaped(part.table.title), column_format="ll" + "r" * 3 + "rll")
    notes = "\n\n".join(escaped(note) for note in part.notes)
    text = text.replace("\\end{table}", f"\\footnotesize {notes}\n\\end{{table}}") if notes else text
    # What stands for itself on a page has a name here.
    for sign, name in (("\N{MINUS SIGN}", "$-$"), ("±", "$\\pm$"), (NOT_APPLICABLE, "---")):
        text = text.replace(sign, name)
    return text


def escaped(text: str) -> str:
    """Words as LaTeX prints them."""
    names = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(names.get(sign, f"\\{sign}" if sign in "&%$#_{}" else sign) for sign in text)
