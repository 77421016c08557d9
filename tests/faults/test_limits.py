"""What is wrong with files that anyone may have written is said in one line."""

import json
import struct
import time

import numpy as np
import pytest
import soundfile

from mixit_lightning.audio.claims import SAMPLES_AT_ONCE
from mixit_lightning.audio.opening import opened, read, read_header
from mixit_lightning.cli import main
from mixit_lightning.config import load_config
from mixit_lightning.errors import UserError
from mixit_lightning.reading import listed, read_json, read_yaml

from .mutations import CODE


@pytest.mark.parametrize(
    "text",
    ["[" * 5000, *(f"a: {code}" for code in CODE), "a: [", "2026-13-45: 1", "? [a]\n: 1"],
    ids=lambda text: text[:20],
)
def test_yaml_that_is_none_or_stands_for_code_is_refused(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    start = time.monotonic()
    with pytest.raises(UserError, match=f"^{path}"):
        read_yaml(path)
    assert time.monotonic() - start < 10


def test_files_that_are_too_large_are_not_read(tmp_path):
    path = tmp_path / "a.yaml"
    with path.open("wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(UserError, match=r"a\.yaml: has 67108865 bytes"):
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
        (1, 1, "1 Hz"),
        (3_000_000, 1, "3000000 Hz"),
        (8000, 1000, "1000 channels"),
    ],
)
def test_claims_that_no_recording_makes_are_refused(tmp_path, rate, channels, exceeded):
    path = tmp_path / "a.wav"
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 % 2**32, channels * 2, 16)
    samples = b"\1\0" * 4000
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(samples)) + samples
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    with pytest.raises(UserError, match=f"a.wav: claims {exceeded}"):
        read_header(path, any_channels=True)
    with pytest.raises(UserError, match=r"a\.wav: claims"), opened(path):
        pass


def test_more_samples_than_memory_are_not_read(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(4000), 8000)
    content = bytearray(path.read_bytes())
    content[22:26] = struct.pack(">I", SAMPLES_AT_ONCE + 1)  # the lower bits of their number
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=rf"a\.flac: claims {2**28 + 1} samples of 1 channels, too many to read at once"
    ):
        read(path)
