"""What makes a page one file: the templates and what all of them know."""

from pathlib import Path
from typing import Any

from .labels import NOT_APPLICABLE, format_count
from .plots import DARK, LIGHT
from .sounds import DYNAMIC_RANGE


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
    environment.globals |= {
        "light": LIGHT,
        "dark": DARK,
        "dynamic_range": DYNAMIC_RANGE,
        "count": format_count,
        "not_applicable": NOT_APPLICABLE,
    }
    return environment.get_template(template).render(values).encode("utf-8", errors="replace")
