"""`mixit listen`: serves the page until it is stopped."""

import os
import signal
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import UserError
from ..inference.files import prepare


def listen(
    checkpoint: str,
    host: str,
    port: int | None,
    max_megabytes: float,
    max_seconds: float,
    window: float,
    overlap: float,
    channels: str,
    device: str | None,
) -> None:
    """Serve the page until it is stopped. See `conf/listen.yaml` for the settings.

    Raises:
        UserError: settings that make no sense, no checkpoint, no gradio, or a port that is taken.
    """
    for name, value in (("max_megabytes", max_megabytes), ("max_seconds", max_seconds)):
        if not value > 0:
            raise UserError(f"{name}={value}: must be positive")
    try:
        socket.create_server((host, port or 0)).close()  # as gradio would try a hundred ports, some seconds each
    except (OSError, OverflowError) as error:
        raise UserError(f"host={host} port={port}: nothing can be served there ({error}); give others") from error
    # Silent outputs are kept, so that the page has a player for each from the beginning.
    separator, settings = prepare(
        checkpoint,
        window=window,
        overlap=overlap,
        channels=channels,
        silent="keep",
        silent_below=0.0,
        format="lossless",
        device=device,
    )
    with TemporaryDirectory(prefix="mixit-listen-") as temporary:  # which nobody else on this machine can read
        folder = Path(temporary).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(folder / "served")
        try:
            from .page import make_page
        except ModuleNotFoundError as error:
            raise UserError(f"the package {error.name} is missing; pip install -e '.[listen]'") from error
        page = make_page(separator, settings, max_seconds, folder)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the folder is removed then as well
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            max_file_size=int(max_megabytes * 2**20),
            share=False,
            show_error=True,
            quiet=True,
            prevent_thread_lock=True,
        )
        print(f"look and listen: {address} (ctrl-C ends it)", flush=True)
        page.block_thread()
