"""`mixit listen`: the page on an address of this machine, until it is stopped."""

import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from ..errors import UserError
from .guard import MEGABYTE, App, Guard
from .uploads import Limits

PORTS = range(7860, 7960)

ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SSR_MODE": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Set before gradio is imported, so that it asks nobody anything."""


def listen(
    checkpoint: str,
    host: str,
    port: int | None,
    max_megabytes: float,
    max_seconds: float,
    max_channels: int,
    max_rate: int,
    **settings: Any,
) -> None:
    """Serve the page until it is stopped. See `conf/listen.yaml` for the settings.

    Raises:
        UserError: settings that make no sense, no checkpoint, no gradio, or a port that is taken.
    """
    if not max_megabytes > 0:
        raise UserError(f"max_megabytes={max_megabytes}: must be positive")
    limits = Limits(max_seconds, max_channels, max_rate)
    with TemporaryDirectory(prefix="mixit-listen-") as folder, bound(host, port) as listener:
        # its path resolved, as gradio's are
        root = Path(folder).resolve()
        app = make_app(root, checkpoint, host, int(max_megabytes * MEGABYTE), limits, settings)
        import uvicorn

        name = f"[{host}]" if ":" in host else host
        print(f"look and listen: http://{name}:{listener.getsockname()[1]} (Ctrl-C ends it)", flush=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, server_header=False)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the folder is deleted then as well
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run([listener])


def make_app(folder: Path, checkpoint: str, host: str, max_bytes: int, limits: Limits, settings: dict[str, Any]) -> App:
    """The page with all that stands before it, not served yet.

    Args:
        folder: for uploaded and made files, empty.
        checkpoint: of the separator.
        host: that the server listens at.
        max_bytes: of an upload.
        limits: of a recording.
        settings: the others of `separation.files.prepare`.

    Raises:
        UserError: no checkpoint, settings that make no sense, or no gradio.
    """
    os.environ |= ENVIRONMENT | {"GRADIO_TEMP_DIR": str(folder), "GRADIO_EXAMPLES_CACHE": str(folder)}
    try:
        import gradio
        from fastapi import FastAPI
    except ModuleNotFoundError as error:
        raise UserError(
            "mixit listen needs gradio: `pip install 'mixit-lightning[listen]'`, in a checkout "
            "`pip install -e '.[listen]'`"
        ) from error
    from ..inference.files import prepare
    from .page import CSS, THEME, make_page
    from .worker import get_ready

    settings = {"checkpoint": checkpoint, **settings}
    prepare(**settings | {"device": "cpu"})  # now, so that mistakes are known before anybody waits
    get_ready()
    page = make_page(checkpoint, settings, limits, max_bytes)
    app = gradio.mount_gradio_app(
        FastAPI(openapi_url=None, docs_url=None, redoc_url=None),
        page,
        path="",
        footer_links=[],
        run_history=False,
        show_error=True,
        max_file_size=max_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=THEME,
        css=CSS,
    )
    page.has_launched = True  # else gradio takes a path of this machine for an upload
    gradio.processing_utils.async_ssrf_protected_get = refuse_address
    return Guard(app, folder, host, max_bytes)


async def refuse_address(url: str) -> NoReturn:
    """In place of what fetches an address that a request gives instead of a file.

    Raises:
        UserError: always.
    """
    raise UserError(f"{url}: is not fetched; send the recording itself")


def bound(host: str, port: int | None) -> socket.socket:
    """A socket that listens at a port, or at the first free one.

    Raises:
        UserError: there is none.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    why = ""
    for number in PORTS if port is None else [port]:
        try:
            return socket.create_server((host, number), family=family)
        except (OSError, OverflowError) as error:
            why = str(error)
    raise UserError(f"host={host} port={port}: cannot listen there ({why}); give another host= or port=")
