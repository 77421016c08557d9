"""What errors of engines mean to whoever trains."""

import errno

import pytest
import torch

from mixit_lightning.errors import UserError
from mixit_lightning.training import faults
from mixit_lightning.training.faults import explaining

CAUGHT = "Caught {} in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File x\n{}: {}\n"


def told(folder, error):
    with explaining(folder):
        raise error


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "datamodule.num_workers"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "datamodule.num_workers"),
        (torch.OutOfMemoryError("CUDA out of memory"), "datamodule.batch_size"),
        (OSError(errno.ENOSPC, "No space left on device", "x/y"), "x/y"),
        (OSError(CAUGHT.format("OSError", "OSError", "[Errno 28] No space left on device: 'a.npy'")), "a.npy"),
    ],
)
def test_what_is_known_is_explained(tmp_path, error, named):
    with pytest.raises(UserError, match=f"^{tmp_path}: .*{named}"):
        told(tmp_path, error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(CAUGHT.format("RuntimeError", "RuntimeError", "sizes of tensors must match")),
        PermissionError(errno.EACCES, "Permission denied", "a.wav"),
        TimeoutError("the read operation timed out"),
        ConnectionResetError("Connection reset by peer"),
    ],
)
def test_what_is_not_stays_as_it_is(tmp_path, error):
    with pytest.raises(type(error)) as caught:
        told(tmp_path, error)
    assert caught.value is error


@pytest.mark.parametrize(
    "said",
    [
        "[enforce fail at x.cc:1] Connection closed by peer [127.0.0.1]:7",
        "Application timeout caused pair closure",
        "Expected to have finished ... were not used in producing the loss.",
    ],
)
def test_of_others_where_there_are_others(tmp_path, monkeypatch, said):
    with pytest.raises(RuntimeError):
        told(tmp_path, RuntimeError(said))
    monkeypatch.setattr(faults, "together", lambda: True)
    with pytest.raises(UserError, match=f"^{tmp_path}: "):
        told(tmp_path, RuntimeError(said))
