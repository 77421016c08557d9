import os
import re
import signal
import subprocess
import sys

import pytest
import torch

from ..helpers.trained import LEARNED, network_of, settings_of

# Writes down whom the server and its processes try to reach.
SPY = """
import os, sys
def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        with open(os.environ["SPY"], "a") as file:
            print(event, arguments[1:] if event != "socket.getaddrinfo" else arguments, file=file)
sys.addaudithook(note)
"""


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "best.ckpt"
    state = {f"separator.{name}": value for name, value in network_of(LEARNED).state_dict().items()}
    torch.save({"state_dict": state, "settings": settings_of(LEARNED)}, path)
    return path


@pytest.fixture(scope="session")
def address(checkpoint, tmp_path_factory):
    """Address of the page as people start it; in the end it has asked nobody, and nothing of it is left."""
    pytest.importorskip("gradio", reason="gradio is not installed: pip install -e '.[listen]'")
    folder = tmp_path_factory.mktemp("served")
    (folder / "sitecustomize.py").write_text(SPY)
    (folder / "temporary").mkdir()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH")))),
        "SPY": str(folder / "asked"),
        "TMPDIR": str(folder / "temporary"),
    }
    settings = [
        f"checkpoint={checkpoint}",
        "max_seconds=10",
        "max_megabytes=2",
        "window=1",
        "overlap=0.2",
        "device=cpu",
    ]
    command = [sys.executable, "-m", "mixit_lightning.cli", "listen", *settings]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        yield re.search(r"http://\S+", line)[0]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert list((folder / "temporary").glob("mixit-listen-*")) == []
    assert [line for line in (folder / "asked").read_text().splitlines() if "127.0.0.1" not in line] == []
