"""Limits on what anyone may have written: each is reached by a few bytes and said in one line."""

import json
import struct
import time

import numpy as np
import pytest
import soundfile
from omegaconf import OmegaConf

from mixit_lightning.cli import main
from mixit_lightning.config import build, load_config, load_described
from mixit_lightning.data.audio import MOST_SAMPLES, read, read_header
from mixit_lightning.data.formats import opened
from mixit_lightning.errors import UserError
from mixit_lightning.reading import MOST_BYTES, listed, read_json, read_yaml
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
        file.truncate(MOST_BYTES["YAML"] + 1)
    with pytest.raises(UserError, match=r"a\.yaml: 262145 bytes are too many for YAML"):
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


TARGETS = ["os.getcwd", "builtins.eval", "mixit_lightning.sweeps.trainings.subprocess.Popen", "torch.hub.load", "[]"]


@pytest.mark.parametrize("target", TARGETS)
def test_what_no_file_of_the_checkout_describes_is_not_made(target):
    settings = load_config([f"++optimizer.extra._target_={target}"]).settings
    with pytest.raises(UserError, match=r"optimizer\.extra\._target_="):
        build(settings, "optimizer")


@pytest.mark.parametrize(
    "word",
    [
        "++optimizer.x='${oc.create:{_target_: os.getcwd}}'",
        "++optimizer.x='${oc.decode:\"{_target_: os.getcwd}\"}'",
        "++optimizer.x=[{_target_:os.getcwd}]",
    ],
)
def test_nor_is_what_resolvers_or_lists_hide(word):
    with pytest.raises(UserError, match=r"optimizer\.x"):
        build(load_config([word]).settings, "optimizer")


def test_nor_is_it_where_one_command_is_described(tmp_path):
    words = ["checkpoint=a", "output=b", "+extra={_target_:os.getcwd}"]
    with pytest.raises(UserError, match=r"export\.extra\._target_=os.getcwd"):
        build(load_described("export", words), "export")


def test_what_anyone_may_ask_for_is_made():
    described = OmegaConf.create({"loss": {"_target_": "mixit_lightning.metrics.SeparationScoring"}})
    assert type(build(described, "loss")).__name__ == "SeparationScoring"


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


@pytest.mark.parametrize("word", ["~runs", "runs={a:1}", "datamodule=null", "++trainer=3", "~schedule", "separator=0"])
def test_configs_without_what_a_run_needs_are_refused(word, capsys):
    assert main(["report", word]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mixit: ") and word.strip("~+").partition("=")[0] in line


@pytest.mark.parametrize(("rate", "channels"), [(1, 1), (3_000_000, 1), (8000, 1000)])
def test_claims_that_no_recording_makes_are_refused(tmp_path, rate, channels):
    path = tmp_path / "a.wav"
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 % 2**32, channels * 2, 16)
    samples = b"\1\0" * 4000
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(samples)) + samples
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    with pytest.raises(UserError, match=f"a.wav: claims {rate} Hz and {channels} channels"):
        read_header(path, any_channels=True)
    with pytest.raises(UserError, match=r"a\.wav: claims"), opened(path):
        pass


def test_more_samples_than_memory_are_not_read(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(4000), 8000)
    content = bytearray(path.read_bytes())
    content[22:26] = struct.pack(">I", MOST_SAMPLES + 1)  # the lower bits of their number
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.flac: claims {MOST_SAMPLES + 1} samples, too many to read at once"):
        read(path)


def test_a_bank_of_rooms_that_would_unfold_is_not_read(tmp_path):
    import zipfile

    path = tmp_path / "rooms.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("responses.npy", npy_header("<f4", (2**24,)) + b"\0" * 2**26)
    with pytest.raises(UserError, match=r"rooms\.npz: not a bank of rooms \(its parts are larger than the file\)"):
        RoomBank.load(path)
