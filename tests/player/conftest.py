import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mixit_lightning.separators import TDCNpp

from ..inference.conftest import DESCRIBED

MAX_BYTES = 2_000_000

SETTINGS = {
    "window": 1.0,
    "overlap": 0.2,
    "channels": "each",
    "silent": "drop",
    "silent_below": -60.0,
    "format": "lossless",
    "device": "cpu",
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    network = TDCNpp(**{name: value for name, value in DESCRIBED.items() if name != "_target_"})
    state = {f"separator.{name}": value for name, value in network.state_dict().items()}
    path = tmp_path_factory.mktemp("checkpoint") / "best.ckpt"
    described = {"separator": DESCRIBED, "sample_rate": 8000, "num_outputs": 3}
    torch.save({"state_dict": state, "settings": described}, path)
    return path


@pytest.fixture(scope="session")
def server(checkpoint, tmp_path_factory):
    """The page, served in this process: its address, and its folder."""
    pytest.importorskip("gradio", reason="gradio is not installed: pip install -e '.[listen]'")
    import uvicorn

    from mixit_lightning.player.serve import bound, make_app
    from mixit_lightning.player.uploads import Limits

    folder = Path(tmp_path_factory.mktemp("page")).resolve()
    before = dict(os.environ)
    listener = bound("127.0.0.1", None)
    app = make_app(folder, str(checkpoint), "127.0.0.1", MAX_BYTES, Limits(60, 16, 192_000), SETTINGS)
    running = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=running.run, args=([listener],), daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield SimpleNamespace(url=f"http://127.0.0.1:{listener.getsockname()[1]}", folder=folder)
    running.should_exit = True
    thread.join(5)
    for name in set(os.environ) - set(before):
        del os.environ[name]
