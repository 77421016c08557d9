import signal
import sys

import pytest

import mixit_lightning.cli  # noqa: F401 - before torch, as it says how its threads wait

from .wandb_server import serving

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell starts `make test &` like this, and commands that tests start and interrupt would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def wandb_server(tmp_path, monkeypatch):
    """A stand-in for Weights & Biases that this process and those that it starts talk to."""
    with serving() as server:
        for name, value in server.settings(tmp_path / "wandb").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOME", str(tmp_path))  # no key of whoever runs the tests
        yield server
        if "wandb" in sys.modules:
            sys.modules["wandb"].teardown()  # it remembers servers and settings
    assert not server.unknown
