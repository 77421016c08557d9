"""The page of one run or several: a self-contained file that one reads and listens to.

It needs no server and asks nothing of the network: plots are inline SVG, spectrograms and sounds are base64. It is
built from run folders alone, so it can be written again at any time, on any machine. Runs keep their order, number and
colour everywhere. Whatever a run folder lacks is said in words.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from ..files import replacing
from .labels import IMPROVEMENTS, NOT_APPLICABLE, axis_label, format_count, quantities, quantity_rows
from .plots import DARK, DASHES, LIGHT, SERIES, Panel, curve_panels, example_panels, inline_plots, separation_panels
from .runs import Run, provenance_rows, read_run, setting_rows
from .sounds import DYNAMIC_RANGE, read_examples


class Means(NamedTuple):
    """What several runs reached in a domain."""

    domain: str
    num_examples: int
    rows: dict[str, list[str]]
    """What is said, and of each run."""
    panels: list[Panel]


def write_report(folder: Path) -> Path:
    """Write `report.html` into a run folder and return its path.

    Raises:
        UserError: the run folder does not hold what the page needs; an existing page is then left as it was.
    """
    path = Path(folder) / "report.html"
    run = read_run("", Path(folder))
    examples = {} if run.examples is None else dict(run.examples.items())
    measured = [name for name in IMPROVEMENTS if name in examples and np.isfinite(examples[name]).any()]
    page = render_runs([run], measured[0] if measured else IMPROVEMENTS[0])
    with replacing(path) as unfinished:
        unfinished.write_bytes(page)
    return path


def render_runs(runs: Sequence[Run], measure: str, means: Sequence[Means] = ()) -> bytes:
    """The page of one run or several.

    Args:
        runs: in the order of the page.
        measure: column of examples.csv whose distribution is shown.
        means: of several runs, by domain.

    Raises:
        UserError: a file of a run folder is broken.
    """
    curves, curve_notes = curve_panels(runs, measure)
    distributions, distribution_notes = example_panels(runs, measure)
    examples, example_notes = read_examples(runs)
    settings, setting_notes = setting_rows(runs)
    first = runs[0].results
    return render_page(
        "report.html",
        runs=runs,
        results=first,
        label=axis_label(measure),
        means=[(one, inline_plots(f"means{number}-", one.panels)) for number, one in enumerate(means)],
        quantities=quantities(first["metrics"]),
        others={name: quantities(of["metrics"]) for name, of in first.get("other_domains", {}).items()},
        figures=quantity_rows([run.results["metrics"] for run in runs]),
        curves=inline_plots("curve", curves),
        curve_notes=curve_notes,
        distributions=inline_plots("distribution", distributions),
        distribution_notes=distribution_notes,
        separations=inline_plots("separation", separation_panels(runs)),
        examples=examples,
        example_notes=example_notes,
        settings=settings,
        setting_notes=setting_notes,
        provenance=provenance_rows(runs),
    )


def render_page(template: str, **values: Any) -> bytes:
    """A page as it is written into a file.

    Args:
        template: file beside this one, which extends `page.html`.
        values: what it shows; text in them is escaped.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names of files and examples come from corpora
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["yaml"] = partial(yaml.safe_dump, sort_keys=False, allow_unicode=True)
    environment.globals |= {
        "light": LIGHT,
        "dark": DARK,
        "colours": len(SERIES),
        "dashes": DASHES,
        "dynamic_range": DYNAMIC_RANGE,
        "count": format_count,
        "not_applicable": NOT_APPLICABLE,
    }
    return environment.get_template(template).render(values).encode("utf-8", errors="replace")
