"""The page one listens to: `report.html`, a single self-contained file inside a run folder.

The page needs no server and asks nothing of the network: curves are inline SVG, spectrograms and sounds are base64.
It is built from the run folder alone, so it can be written again at any time, on any machine.
"""

from pathlib import Path
from typing import Any

from ..files import replacing
from ..records import CURVE_COLUMNS, EXAMPLE_COLUMNS, read_results, read_table
from .labels import format_count, format_duration, quantities
from .page import render_page
from .plots import curve_plots, distribution_plots, separation_plots
from .sounds import draw_card, read_card, read_entries


def write_report(run: Path) -> Path:
    """Write `report.html` into a run folder and return its path.

    Raises:
        UserError: the run folder does not hold what the page needs; an existing page is then left as it was.
    """
    run = Path(run)
    results = read_results(run / "results.json")
    curves = read_table(run / "metrics.csv", CURVE_COLUMNS, text=("metric",))
    examples = read_table(run / "examples.csv", EXAMPLE_COLUMNS, text=("name", "domain"))
    if examples is not None and "domain" in examples:
        examples = examples[examples["domain"] == results.get("domain")].drop(columns="domain")
    folder, config = run / "examples", run / "config.yaml"
    page = render_page(
        "report.html",
        results=results,
        quantities=quantities(results["metrics"]),
        others={name: quantities(other["metrics"]) for name, other in results.get("other_domains", {}).items()},
        provenance=provenance(results),
        curves=None if curves is None else curve_plots(curves),
        distributions=None if examples is None else distribution_plots(examples),
        separations=[] if examples is None else separation_plots(examples),
        cards=[draw_card(read_card(folder, entry)) for entry in read_entries(folder)],
        config=config.read_text(encoding="utf-8", errors="replace") if config.is_file() else None,
    )
    with replacing(run / "report.html") as partial:
        partial.write_bytes(page)
    return run / "report.html"


def provenance(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the figures come from, as terms and descriptions."""

    def listed(entry: Any) -> str | None:
        if not isinstance(entry, dict):
            return entry
        plain = {key: ", ".join(map(str, value)) if isinstance(value, list) else value for key, value in entry.items()}
        return ", ".join(f"{key} {'none' if value == '' else value}" for key, value in plain.items())

    def durations(entry: Any) -> str | None:
        known = {key: value for key, value in (entry or {}).items() if value is not None}
        return ", ".join(f"{key} {format_duration(value)}" for key, value in known.items())

    steps = results.get("steps")
    training = results.get("trained_with") or {}
    rows = {
        "Recipe": results.get("recipe"),
        "Objective": results.get("objective"),
        "Separator": results.get("separator"),
        "Test examples": results.get("num_examples"),
        "Selection rule": results.get("selection_rule"),
        "Checkpoint": results.get("checkpoint"),
        "Training steps": None if steps is None else format_count(steps),
        "Seed": results.get("seed"),
        "Trained at commit": training.get("commit"),
        "Tested at commit": results.get("commit"),
        "Wall time": durations(results.get("wall_time")),
        "Trained on": listed(training.get("hardware")),
        "Tested on": listed(results.get("hardware")),
        "Versions": listed(results.get("versions")),
    }
    return [(term, "not recorded" if value in (None, "") else str(value)) for term, value in rows.items()]
