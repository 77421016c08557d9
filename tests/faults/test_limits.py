"""Limits on what anyone may have written: each is reached by a few bytes and said in one line."""

import json
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from mixit_lightning.audio.opening import opened, read, read_header
from mixit_lightning.cli import main
from mixit_lightning.config import load_config
from mixit_lightning.errors import UserError
from mixit_lightning.inference.trained import check
from mixit_lightning.limits import VARIABLE, Limits, changed_limits, limits, parse_limits
from mixit_lightning.reading import listed, read_json, read_yaml
from mixit_lightning.rooms import RoomBank

from .mutations import BOMB, CODE, npy_header

MERGES = "a0: &a0 {x: 1, y: 2}\n" + "\n".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 10)
)
"""A thousand million keys by merges of merges."""


@pytest.mark.parametrize(
    "text",
    [BOMB, "a: &a [*a]", "[" * 5000, *(f"a: {code}" for code in CODE), "a: [", "2026-13-45: 1", "? [a]\n: 1"],
    ids=lambda text: text[:20],
)
def test_yaml_that_stands_for_too_much_or_for_code_is_refused_at_once(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    start = time.monotonic()
    with pytest.raises(UserError, match=f"^{path}"):
        read_yaml(path)
    assert time.monotonic() - start < 10


def test_merges_of_merges_take_no_time(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(MERGES)
    start = time.monotonic()
    assert read_yaml(path)["a9"] == {"x": 1, "y": 2}
    assert time.monotonic() - start < 10


def test_files_that_are_too_large_are_not_read(tmp_path):
    path = tmp_path / "a.yaml"
    with path.open("wb") as file:
        file.truncate(Limits().yaml_bytes + 1)
    with pytest.raises(UserError, match=r"a\.yaml: has 262145 bytes, more than limits.yaml_bytes=262144"):
        read_yaml(path)


def test_aliases_are_taken(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}\n")
    assert read_yaml(path) == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"9" * 5000, b"\xff"], ids=lambda content: str(content[:9]))
def test_json_that_is_none_is_named(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path}"):
        read_json(path)


@pytest.mark.parametrize("name", ["", "..", "../a", "a/../../b", "/etc/passwd", "a\0b", "x" * 300])
def test_paths_that_lead_out_of_a_folder_are_refused(name):
    with pytest.raises(UserError, match="list, line 1: "):
        listed(name, "list, line 1")


def test_other_paths_are_taken():
    assert listed("train/a..b/c.wav", "list") == "train/a..b/c.wav"


def test_a_config_of_a_run_proposes_no_code(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    soundfile.write(data / "a.wav", np.random.default_rng(0).normal(size=32000) / 10, 16000)
    words = ["recipe=own-recordings", f"data={data}", f"runs={tmp_path / 'runs'}"]
    folder = load_config(words).folder
    folder.mkdir(parents=True)
    for value in ({"_target_": "os.getcwd"}, "${oc.env:HOME}"):
        (folder / "config.yaml").write_text(json.dumps({"sample_rate": value}))
        with pytest.raises(UserError, match=r"config\.yaml: sample_rate is no value that was proposed"):
            load_config(words)


@pytest.mark.parametrize("word", ["~runs", "datamodule=null", "++trainer=3", "~schedule", "separator=0"])
def test_configs_without_what_a_run_needs_are_refused(word, capsys):
    assert main(["report", word]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mixit: ") and word.strip("~+").partition("=")[0] in line


@pytest.mark.parametrize(
    ("rate", "channels", "exceeded"),
    [
        (1, 1, "limits.lowest_rate=1000"),
        (3_000_000, 1, "limits.highest_rate=2000000"),
        (8000, 1000, "limits.channels=256"),
    ],
)
def test_claims_that_no_recording_makes_are_refused(tmp_path, rate, channels, exceeded):
    path = tmp_path / "a.wav"
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 % 2**32, channels * 2, 16)
    samples = b"\1\0" * 4000
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(samples)) + samples
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    with pytest.raises(UserError, match=f"a.wav: claims .* {exceeded}; "):
        read_header(path, any_channels=True)
    with pytest.raises(UserError, match=r"a\.wav: claims"), opened(path):
        pass


def test_more_samples_than_memory_are_not_read(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(4000), 8000)
    content = bytearray(path.read_bytes())
    content[22:26] = struct.pack(">I", Limits().samples_at_once + 1)  # the lower bits of their number
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=rf"a\.flac: claims {2**28 + 1} samples of 1 channels, too many to read at once"
    ):
        read(path)


def test_a_bank_of_rooms_that_would_unfold_is_not_read(tmp_path):
    import zipfile

    path = tmp_path / "rooms.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("responses.npy", npy_header("<f4", (2**24,)) + b"\0" * 2**26)
    with pytest.raises(UserError, match=r"rooms\.npz: not a bank of rooms \(its parts are larger than the file\)"):
        RoomBank.load(path)


def test_a_limit_that_is_raised_lets_more_in(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    path.write_text("#" * 300_000 + "\na: 1")
    with pytest.raises(UserError, match=r"a\.yaml: has 300005 bytes, more than limits\.yaml_bytes=262144; .*raise it"):
        read_yaml(path)
    monkeypatch.setenv(VARIABLE, "yaml_bytes=300005")
    assert read_yaml(path) == {"a": 1}


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_limit_that_is_lowered_keeps_more_out(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.zeros(4000), 8000, "PCM_16")
    monkeypatch.setenv(VARIABLE, "samples_at_once=4000")
    assert len(read(path)) == 4000
    monkeypatch.setenv(VARIABLE, "samples_at_once=3999")
    with pytest.raises(UserError, match=r"claims 4000 samples .* with limits\.samples_at_once=3999"):
        read(path)
    assert len(read(path, 1)) == 3999


@pytest.mark.parametrize("given", ["variable", "word"])
def test_processes_that_are_started_have_the_limits_too(given, monkeypatch):
    monkeypatch.setenv(VARIABLE, "channels=3" if given == "variable" else "")
    assert main(["recipes", *(["limits.channels=3"] if given == "word" else [])]) == 0
    assert limits() == Limits(channels=3)
    ask = "from mixit_lightning.limits import limits; print(limits().channels)"
    assert subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True).stdout == "3\n"


def test_the_word_comes_before_the_variable(monkeypatch):
    monkeypatch.setenv(VARIABLE, "channels=3 json_bytes=100")
    assert main(["recipes", "limits.channels=4"]) == 0
    assert limits() == Limits(channels=4, json_bytes=100)
    assert changed_limits() == ["limits.channels=4", "limits.json_bytes=100"]


@pytest.mark.parametrize(
    "text", ["chanels=3", "channels", "channels=0", "channels=-1", "channels=1e3", "channels=" + "9" * 5000]
)
def test_limits_that_are_none_are_refused(text, monkeypatch, capsys):
    with pytest.raises(UserError, match=r"^limits\.chan"):
        parse_limits(text)
    monkeypatch.setenv(VARIABLE, "")
    assert main(["recipes", f"limits.{text}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mixit: limits.chan")
    assert limits() == Limits()


def test_no_settings_raise_the_limits():
    with pytest.raises(UserError, match=r"^limits: no file of settings can set them"):
        load_config(["+limits.channels=1000"])


def test_a_larger_network_is_made_where_one_allows_it(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    with pytest.raises(UserError, match=r"more than 10000, .* unless limits\.network_size is raised"):
        check({"width": 20_000}, path, limits().network_size)
    monkeypatch.setenv(VARIABLE, "network_size=20000")
    check({"width": 20_000}, path, limits().network_size)
