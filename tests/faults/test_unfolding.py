"""Files of a few bytes that stand for far more, and files that have no end: refused before they take memory or time."""

import json
import os
import resource
import struct
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from mixit_lightning.audio.finding import recordings_below
from mixit_lightning.audio.opening import opened, read, read_header
from mixit_lightning.audio.plain_wav import read_plain_wav
from mixit_lightning.cli import main
from mixit_lightning.errors import UserError
from mixit_lightning.inference.safe_tensors import read_safetensors
from mixit_lightning.inference.trained import load_trained
from mixit_lightning.limits import VARIABLE, Limits
from mixit_lightning.reading import read_json, read_text
from mixit_lightning.records import read_results
from mixit_lightning.rooms import RoomBank
from mixit_lightning.training.checkpoints import load_checkpoint

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


def nested(depth):
    """A list of two that are one, which are a list of two that are one, and so on."""
    value = ["/a"]
    for _ in range(depth):
        value = [value, value]
    return value


@pytest.mark.parametrize("key", ["settings", "global_step", "provenance", "optimizer_states"])
def test_a_checkpoint_of_lists_of_lists_is_refused_at_once(tmp_path, key):
    path = tmp_path / "a.ckpt"
    weights = {"separator.a": torch.zeros(3)}
    torch.save({"state_dict": weights, "settings": {}, key: {"separator": {"_target_": "x"}, "s": nested(17)}}, path)
    assert path.stat().st_size < 3000
    with pytest.raises(UserError, match=r"a\.ckpt: stands for more values than limits\.values=100000"):
        load_trained(path)


def write_pickle(path, body):
    """A checkpoint with a pickle made by hand, `None` on its stack at the end."""
    torch.save({"state_dict": {}}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, b"\x80\x02" + body + b"." if name.endswith("data.pkl") else content)


@pytest.mark.parametrize("doubled", [b"q%ch%ch%c\x86", b"q%ch%ch%ch%c\x87", b"q%c0(h%ch%ct", b"q%c0h%c2\x86"])
def test_a_key_that_is_hashed_for_ever_is_refused_at_once(tmp_path, doubled):
    path = tmp_path / "a.ckpt"
    tuples = b")" + b"".join(doubled.replace(b"%c", bytes([number])) for number in range(60))
    write_pickle(path, b"}" + tuples + b"Ns.")
    with pytest.raises(UserError, match=r"a\.ckpt: not a checkpoint of plain tensors \(its tuples are too deep\)"):
        load_checkpoint(path)


@pytest.mark.parametrize("body", [b"h\x05", b"0", b"\x86", b"t", b"\xff", b""])
def test_what_is_no_pickle_is_refused(tmp_path, body):
    path = tmp_path / "a.ckpt"
    write_pickle(path, body)
    with pytest.raises(UserError, match=r"a\.ckpt: not a checkpoint"):
        load_checkpoint(path)


def test_pytorch_s_older_format_is_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(3)}}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match=r"a\.ckpt: not a checkpoint of plain tensors \(File is not a zip file\)"):
        load_checkpoint(path)


def test_a_checkpoint_may_hold_more_where_one_allows_it(tmp_path, monkeypatch):
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(3)}, "list": [0] * 100}, path)
    load_checkpoint(path)
    monkeypatch.setenv(VARIABLE, "values=100")
    with pytest.raises(UserError, match=r"limits\.values=100"):
        load_checkpoint(path)


def test_a_checkpoint_that_would_unfold_is_not_unpacked(tmp_path, monkeypatch):
    stored, path = tmp_path / "stored.ckpt", tmp_path / "a.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(2**20)}}, stored)
    load_checkpoint(stored)
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(UserError, match=r"a\.ckpt: not a checkpoint .*its parts are larger than the file"):
        load_checkpoint(path)


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


def test_a_record_with_more_errors_than_memory_is_refused(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"metrics": {}, "wall_time": {str(number): "" for number in range(100_000)}}))
    with pytest.raises(UserError, match=r"results\.json: stands for more values than limits\.values=100000"):
        read_results(path, ())


def test_a_description_that_is_too_long_is_not_parsed(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    header = {"__metadata__": {"description": json.dumps({"a": [{}] * 100})}}
    header["a"] = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    read_safetensors(path)
    monkeypatch.setenv(VARIABLE, "json_bytes=300")
    with pytest.raises(UserError, match=r"a\.safetensors: its description has 407 letters, .*limits\.json_bytes=300"):
        read_safetensors(path)


def test_what_the_limits_let_in_takes_less_than_a_gigabyte(tmp_path, little_memory):
    path = tmp_path / "a.json"
    path.write_text("[" + ",".join(["{}"] * ((Limits().json_bytes - 2) // 3)) + "]")
    assert len(read_json(path)) > 10**6


def test_files_that_claim_no_size_are_read_up_to_the_limit(tmp_path, monkeypatch):
    path = Path("/proc/self/environ")  # has 0 bytes, it says
    monkeypatch.setenv(VARIABLE, "text_bytes=1")
    assert path.stat().st_size == 0
    with pytest.raises(UserError, match=r"limits\.text_bytes=1"):
        read_text(path)


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
