"""The page: a place to drop a recording, and the mixer. Gradio sends files, queues and shows; the browser mixes."""

import shutil
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio
from gradio.themes import Base, Font

from ..audio.finding import CONTAINERS, RECORDINGS
from ..errors import UserError
from ..report.plots import DARK, LIGHT
from .guard import MEGABYTE
from .uploads import Limits
from .worker import work

HERE = Path(__file__).parent

QUEUE = 20
"""Recordings that may wait."""

SWEEP = (600, 3600)
"""Seconds between looks for uploads that nobody separated, and their age when they are deleted."""


def make_page(checkpoint: str, settings: dict[str, Any], limits: Limits, max_bytes: int) -> gradio.Blocks:
    """The page, not served yet.

    Args:
        checkpoint: its name, to be shown.
        settings: of `separation.files.prepare`.
        limits: of recordings.
        max_bytes: of their files.
    """
    folders: dict[str, Path] = {}

    def forget(request: gradio.Request) -> None:
        """Delete what was made for a visitor."""
        if folder := folders.pop(str(request.session_hash), None):
            shutil.rmtree(folder, ignore_errors=True)

    def separate(sent: str, request: gradio.Request) -> Iterator[tuple[Any, dict[str, Any]]]:
        path, visitor = Path(sent), str(request.session_hash)
        if not path.resolve().is_relative_to(upload.GRADIO_CACHE):  # gradio lets addresses through that are streams
            raise gradio.Error("Send the recording itself.")
        forget(request)
        folder = folders[visitor] = Path(tempfile.mkdtemp(dir=upload.GRADIO_CACHE))
        named = {"name": path.name, "stem": path.stem}
        news: dict[str, Any] = {}
        try:
            for news in work(path, folder, settings, limits):
                if "tracks" not in news:
                    yield gradio.skip(), named | news
        except UserError as error:
            news = {"error": str(error).removeprefix(f"{path}: ")}
        finally:
            if "tracks" not in news or folders.get(visitor) != folder:  # or the visitor has left
                shutil.rmtree(folder, ignore_errors=True)
        yield None, named | news

    with gradio.Blocks(title="mixit listen", analytics_enabled=False, delete_cache=SWEEP) as page:
        gradio.HTML(
            "<h1>mixit listen</h1><p>Drop a recording, hear what it is made of, mix it again. "
            f"Nothing leaves this machine.<br><small>{escape(checkpoint)}</small></p>",
            elem_id="top",
        )
        upload = gradio.File(
            label=f"Recording, up to {limits.max_seconds / 60:g} minutes and {max_bytes / MEGABYTE:g} MB",
            file_types=[*RECORDINGS, *CONTAINERS],
            height=150,
            elem_id="upload",
        )
        mixer = gradio.HTML(
            {},
            html_template=(HERE / "mixer.html").read_text(),
            css_template=(HERE / "mixer.css").read_text(),
            js_on_load=(HERE / "mixer.js").read_text(),
            apply_default_css=False,
            elem_id="mixer",
        )
        event = upload.upload(
            separate, upload, [upload, mixer], concurrency_limit=1, show_progress="minimal", show_progress_on=mixer
        )
        upload.clear(lambda: {}, None, mixer, cancels=event)
        page.unload(forget)
    return page.queue(max_size=QUEUE)


def colours(values: dict[str, str]) -> str:
    """Colours as CSS variables."""
    return " ".join(f"--{name}: {value};" for name, value in values.items())


# The other pages' colours; gradio's own in the theme are made of them.
CSS = f"""
:root {{ {colours(LIGHT)} }}
:root .dark {{ {colours(DARK)} }}
.gradio-container {{ width: 100% !important; max-width: 72rem !important; margin: 0 auto !important; }}
#top h1 {{ margin: 0; font-size: 1.6rem; font-weight: 600; }}
#top p {{ margin: .25rem 0 0; color: var(--muted); }}
#top small {{ color: var(--muted); }}
#upload [data-testid="status-tracker"] {{ display: none; }}
#mixer {{ min-height: 3.5rem; }}
#mixer .wrap.minimal {{ overflow: visible; }}
#mixer .progress-text {{
  inset: 0 auto auto 0; transform: none; width: 100%; padding: 1rem 1.25rem; border-radius: 8px; justify-content: start;
  background: var(--panel); color: var(--muted); font: inherit; font-size: .875rem;
}}
#top, #mixer, #top .html-container, #mixer .html-container {{ padding: 0; }}
"""

THEME = Base(font=[Font("system-ui"), Font("sans-serif")], font_mono=[Font("ui-monospace"), Font("monospace")]).set(
    **{
        f"{part}{dark}": f"var(--{colour})"
        for dark in ("", "_dark")
        for part, colour in {
            "body_background_fill": "paper",
            "body_text_color": "ink",
            "body_text_color_subdued": "muted",
            "background_fill_primary": "paper",
            "background_fill_secondary": "panel",
            "block_background_fill": "panel",
            "block_label_background_fill": "panel",
            "block_label_text_color": "muted",
            "border_color_primary": "rule",
            "block_border_color": "rule",
            "link_text_color": "series-1",
            "color_accent": "series-1",
            "loader_color": "series-1",
        }.items()
        if not (dark and part == "color_accent")
    }
)
