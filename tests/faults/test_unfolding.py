"""Files that have no end, or claim more than they hold."""

import os
import resource
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mixit_lightning.audio.finding import recordings_below
from mixit_lightning.audio.opening import opened, read, read_header
from mixit_lightning.audio.plain_wav import read_plain_wav
from mixit_lightning.cli import main
from mixit_lightning.errors import UserError
from mixit_lightning.reading import read_text
from mixit_lightning.rooms import RoomBank

from ..helpers.recordings import surveyed
from .mutations import npy_header


@pytest.fixture
def patience():
    """Lets whoever waits for a pipe go on after a while, with nothing read; but nobody should."""
    timers = []

    def patience(pipe: Path) -> Path:
        timer = threading.Timer(20, lambda: os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK)))
        timers.append(timer)
        timer.start()
        return pipe

    yield patience
    waited = not all(timer.is_alive() for timer in timers)
    for timer in timers:
        timer.cancel()
    assert not waited


@pytest.fixture
def little_memory():
    """A gigabyte more than there is now, and an error instead of what is beyond."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("kind", ["<U0", "|S0", "|V0"])
def test_a_bank_of_rooms_of_empty_values_is_refused(tmp_path, little_memory, kind):
    path = tmp_path / "rooms.npz"
    columns = {"sample_rate": np.array(8000), "settings": np.array("x"), "responses": np.zeros(3, np.float32)}
    np.savez(path, **columns)
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("split", "room", "samples", "direct"):
            archive.writestr(f"{name}.npy", npy_header(kind, (10**9,)))
    with pytest.raises(UserError, match=r"rooms\.npz: not a bank of rooms \(split holds nothing\)"):
        RoomBank.load(path)


def test_lines_end_as_in_any_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\r\nb\rc\n")
    assert read_text(path) == "a\nb\nc\n"


def test_pipes_and_devices_are_no_text(tmp_path, patience):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for path in (patience(tmp_path / "pipe"), tmp_path / "zeros"):
        with pytest.raises(UserError, match=f"{path}: cannot be read .no regular file"):
            read_text(path)
    with pytest.raises(UserError, match=f"{tmp_path}: cannot be read .Is a directory"):
        read_text(tmp_path)


@pytest.mark.parametrize("reader", [read_header, read, surveyed, lambda path: opened(path).__enter__()])
def test_pipes_are_no_audio(tmp_path, patience, reader):
    path = tmp_path / "a.wav"
    os.mkfifo(path)
    with pytest.raises(UserError, match=f"^{path}: .*no regular file"):
        reader(patience(path))


def test_pipes_are_left_to_a_decoder_by_those_who_have_none(tmp_path, patience):
    path = tmp_path / "a.wav"
    os.mkfifo(path)
    assert read_plain_wav(patience(path), 0, None) is None
    assert recordings_below(tmp_path) == [path]  # to be named


@pytest.mark.parametrize("words", [["recipe=speech-folder", "data={}"], ["recipe=shards", "data={}/train"]])
def test_a_command_names_a_pipe(tmp_path, patience, capsys, words):
    for split in ("train", "valid", "test"):
        (tmp_path / split / "someone").mkdir(parents=True)
        os.mkfifo(tmp_path / split / "someone" / "a.wav")
        patience(tmp_path / split / "someone" / "a.wav")
    os.mkfifo(tmp_path / "train" / "catalogue.json")
    patience(tmp_path / "train" / "catalogue.json")
    assert main(["train", *(word.format(tmp_path) for word in words), f"runs={tmp_path / 'runs'}"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"mixit: {tmp_path}") and "no regular file" in line
