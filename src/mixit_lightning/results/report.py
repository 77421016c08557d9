"""The page one listens to: `report.html`, a single self-contained file inside a run folder.

The page needs no server and asks nothing of the network: curves are inline SVG, spectrograms and sounds are base64.
It is built from the run folder alone, so it can be written again at any time, on any machine.
"""

import io
from pathlib import Path
from typing import Any

from .plots import DARK, LIGHT, curve_panels, curve_plots, distribution_plots, new_figure, plot_style, separation_plots
from .quantities import NOT_APPLICABLE, format_count, format_duration, quantities
from .records import CURVE_COLUMNS, EXAMPLE_COLUMNS, read_results, read_table
from .sounds import DYNAMIC_RANGE, read_cards


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


def replace_file(path: Path, content: bytes) -> Path:
    """Write a file so that a reader sees the old content or the new, never a part."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
