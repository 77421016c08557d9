import inspect
import socket
import sys

import pytest

from mixit_lightning.config import ROOT
from mixit_lightning.errors import UserError
from mixit_lightning.player.serve import listen
from mixit_lightning.reading import read_yaml

SETTINGS = read_yaml(ROOT / "conf" / "listen.yaml")
del SETTINGS["_target_"], SETTINGS["defaults"]


def test_its_settings_are_those_of_the_config():
    assert set(SETTINGS) == set(inspect.signature(listen).parameters)
    assert SETTINGS["host"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("checkpoint", "/nowhere"),
        ("max_seconds", 0),
        ("max_megabytes", -1),
        ("channels", "both"),
        ("port", 99999),
        ("host", "203.0.113.9"),
    ],
)
def test_settings_that_make_no_sense_are_named(checkpoint, key, value):
    with pytest.raises(UserError, match=str(value) if key == "checkpoint" else f"{key}={value}"):
        listen(**SETTINGS | {"checkpoint": str(checkpoint), key: value})


def test_a_port_that_is_taken_is_named(checkpoint):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port={port}"):
            listen(**SETTINGS | {"checkpoint": str(checkpoint), "port": port})


def test_without_gradio_it_says_how_to_install_it(checkpoint, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # to be restored
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "mixit_lightning.player.page", raising=False)
    with pytest.raises(UserError, match=r"pip install -e '\.\[listen\]'"):
        listen(**SETTINGS | {"checkpoint": str(checkpoint)})
