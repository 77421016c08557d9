"""Files that are cut off, have bytes changed or are something else: one line names the file, and nothing worse."""

import json
import shutil
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from mixit_lightning.cli import main

from ..helpers.corpora import (
    make_fuss,
    make_libri,
    make_recordings,
    make_rooms,
    make_speech,
    make_wsj0,
    syllables,
)
from ..helpers.small import COUNTS, SMALL, TINY
from ..helpers.trained import make_network

# Damage.


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """The end is missing."""
    return content[: rng.integers(len(content))]


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bits are others, anywhere or in what is likely to be the header."""
    changed = bytearray(content)
    end = len(changed) if rng.random() < 0.5 else min(64, len(changed))
    for _ in range(rng.integers(1, 9)):
        changed[rng.integers(end)] ^= 1 << rng.integers(8)
    return bytes(changed)


def exaggerate(content: bytes, rng: np.random.Generator) -> bytes:
    """A number in the header is the highest."""
    start = int(rng.integers(max(1, min(96, len(content) - 4))))
    return content[:start] + struct.pack("<I", rng.choice([0, 2**31 - 1, 2**32 - 1])) + content[start + 4 :]


def noise(content: bytes, rng: np.random.Generator) -> bytes:
    """A span holds random bytes."""
    start, end = sorted(rng.integers(len(content) + 1, size=2))
    return content[:start] + rng.bytes(end - start) + content[end:]


def gap(content: bytes, rng: np.random.Generator) -> bytes:
    """A span is missing."""
    start, end = sorted(rng.integers(len(content) + 1, size=2))
    return content[:start] + content[end:]


def replace(content: bytes, rng: np.random.Generator) -> bytes:
    """It is something else altogether."""
    return [b"", b"\0" * 4096, b"\xff\xfe" + "text".encode("utf-16-le"), b"%PDF-1.7\n", b"PK\x03\x04"][rng.integers(5)]


DAMAGE = {damage.__name__: damage for damage in (cut, flip, exaggerate, noise, gap, replace)}

# Files, and the commands that read them.

SOUNDS = {
    "pcm16.wav": "PCM_16",
    "pcm24.wav": "PCM_24",
    "float.wav": "FLOAT",
    "u8.wav": "PCM_U8",
    "ulaw.wav": "ULAW",
    "adpcm.wav": "IMA_ADPCM",
    "sound.flac": "PCM_16",
    "sound.ogg": "VORBIS",
    "sound.mp3": "MPEG_LAYER_III",
}
"""Subtypes by name."""

RUN = [*TINY, "trainer.max_steps=4", "datamodule.steps_per_epoch=2", "trainer.enable_progress_bar=false", "runs=runs"]
QUICK = [*SMALL, "runs=runs"]
OWN = ["doctor", "recipe=own-recordings", "data=own", "runs=runs"]
SPEECH = ["recipe=speech-folder", "data=speech"]
FUSS = ["recipe=fuss", "data=fuss", "datamodule.num_outputs=4", "num_outputs=4"]
WSJ0 = ["prepare", "recipe=wsj0-2mix", "wsj0=wsj0/wsj0", "lists=wsj0/lists", "data=out", "preparation.modes=[min]"]
LIBRI = ["prepare", "recipe=libri2mix", "librispeech=libri", "wham=libri", "metadata=libri/metadata", "data=out"]
SEPARATE = ["separate", "input=own/own0.wav", "output=separated", "device=cpu"]
SHARDS = ["doctor", "recipe=shards", "data=shards", "runs=runs"]


class Kind(NamedTuple):
    """A file, and the commands that read it, of which a case takes one."""

    trees: tuple[str, ...]
    """What a case has a copy of; `runs` has a finished run."""
    file: str
    """The file, perhaps with wild cards."""
    commands: tuple[list[str], ...]
    names: tuple[str, ...] = ()
    """What a message may name instead of the file."""
    first: tuple[str, ...] = ()
    """A command that goes before."""


BEST = "runs/synthetic/*/checkpoints/best.ckpt"
KINDS = {
    "wav of speech": Kind(
        ("speech",),
        "speech/train/train-0/01.wav",
        (["train", *SPEECH, *QUICK, *COUNTS], ["doctor", *SPEECH, "runs=runs"]),
    ),
    "flac of speech": Kind(
        ("speech",),
        "speech/train/train-0/00.flac",
        (["train", *SPEECH, *QUICK, *COUNTS], ["doctor", *SPEECH, "runs=runs"]),
    ),
    "list of fuss": Kind(
        ("fuss",), "fuss/ssdata/train_example_list.txt", (["train", *FUSS, *QUICK], ["doctor", *FUSS]), ("ssdata",)
    ),
    "list of wsj0-2mix": Kind(("wsj0",), "wsj0/lists/mix_2_spk_tr.txt", (WSJ0,), ("wsj0",)),
    "levels of wsj0-2mix": Kind(("wsj0",), "wsj0/lists/activlev.txt", (WSJ0,), ("lists",)),
    "metadata of libri2mix": Kind(("libri",), "libri/metadata/libri2mix_dev-clean.csv", (LIBRI,), ("libri",)),
    "journal of prepare": Kind(("wsj0",), "out/2speakers/preparation.jsonl", (WSJ0,), first=tuple(WSJ0)),
    "index of recordings": Kind(("own",), "runs/index/*.sqlite", (OWN,), first=tuple(OWN)),
    "rooms": Kind(("rooms",), "rooms/rooms.npz", (["train", *RUN, "rooms=rooms/rooms.npz"],)),
    "shard": Kind(("shards",), "shards/train-00000.parquet", (SHARDS,)),
    "catalogue of shards": Kind(("shards",), "shards/catalogue.json", (SHARDS,)),
    "best checkpoint": Kind(
        ("runs", "own"),
        BEST,
        (
            ["evaluate", *RUN],
            [*SEPARATE, "checkpoint=FILE"],
            ["export", "checkpoint=FILE", "output=exported.safetensors"],
            ["train", *RUN, "warm_start=FILE"],
        ),
    ),
    "safetensors": Kind(
        ("network", "own"), "network/model.safetensors", ([*SEPARATE, "checkpoint=network"],), ("network",)
    ),
    "config of a network": Kind(
        ("network", "own"), "network/config.json", ([*SEPARATE, "checkpoint=network"],), ("network",)
    ),
    "config of a run": Kind(("runs",), "runs/synthetic/*/config.yaml", (["train", *RUN], ["table", "runs=runs"])),
    "record of a training": Kind(("runs",), "runs/synthetic/*/training.json", (["evaluate", *RUN], ["train", *RUN])),
    "results of a run": Kind(
        ("runs",),
        "runs/synthetic/*/results.json",
        (["report", *RUN], ["compare", "names=RUN,RUN"], ["table", "runs=runs"]),
    ),
    "scores of a run": Kind(
        ("runs",), "runs/synthetic/*/examples.csv", (["report", *RUN], ["compare", "names=RUN,RUN"])
    ),
    "curves of a run": Kind(
        ("runs",), "runs/synthetic/*/metrics.csv", (["report", *RUN], ["compare", "names=RUN,RUN"])
    ),
    "examples of a run": Kind(("runs",), "runs/synthetic/*/examples/examples.json", (["report", *RUN],), ("examples",)),
    "record of a separation": Kind(
        ("network", "own"),
        "separated/own0/separation.json",
        ([*SEPARATE, "checkpoint=network"],),
        first=(*SEPARATE, "checkpoint=network"),
    ),
}
"""A damaged last checkpoint is in tests/training/test_train.py: the run resumes from the one before."""


@pytest.fixture(scope="module")
def valid(tmp_path_factory) -> Path:
    """Valid files of every kind."""
    folder = tmp_path_factory.mktemp("valid")
    make_network(folder / "network")
    make_recordings(folder / "own")
    make_recordings(folder / "many", 14)
    make_speech(folder / "speech")
    make_fuss(folder / "fuss")
    make_wsj0(folder / "wsj0")
    make_libri(folder / "libri")
    make_rooms(folder / "rooms" / "rooms.npz", 8000)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["seconds=0.5", "shortest=0.25", "sample_rate=8000", "index=index"]
        assert main(["shard", "data=many", "output=shards", *words]) == 0
        assert main(["train", *RUN]) == 0
    return folder


def cases() -> list[object]:
    """Three of every kind of damage, of which a few are tried by default."""
    found = []
    for kind in KINDS:
        for number in range(3 * len(DAMAGE)):
            damage = list(DAMAGE)[number % len(DAMAGE)]
            marks = [] if number == 0 else pytest.mark.slow
            found.append(pytest.param(kind, damage, number, id=f"{kind} {damage} {number}", marks=marks))
    return found


@pytest.mark.parametrize(("kind", "damage", "number"), cases())
def test_a_damaged_file_is_named_in_one_line(valid, tmp_path, monkeypatch, capfd, kind, damage, number):
    of = KINDS[kind]
    path = lay_out(valid, tmp_path, of, monkeypatch)
    rng = np.random.default_rng([*kind.encode(), number])
    path.write_bytes(DAMAGE[damage](path.read_bytes(), rng))
    capfd.readouterr()
    status = main(overrides_of(of.commands[rng.integers(len(of.commands))], path))
    out, err = capfd.readouterr()
    messages = [line for line in err.splitlines() if line.startswith("mixit: ")]
    assert "Traceback" not in err and not list(tmp_path.rglob("*.partial"))
    if status:
        assert status == 1 and len(messages) <= 1 and (not messages or err.splitlines()[-1] == messages[0])
        told = messages[0] if messages else out  # a doctor prints findings
        assert any(name in told for name in (path.name, *of.names)), told
    else:
        assert not messages


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_damaged_is_taken(valid, tmp_path, monkeypatch, kind):
    """Else nothing would be tested."""
    for words in KINDS[kind].commands:
        assert main(overrides_of(words, lay_out(valid, tmp_path, KINDS[kind], monkeypatch))) == 0


def lay_out(valid: Path, place: Path, of: Kind, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy what a case needs, go there, and give the file."""
    monkeypatch.chdir(place)
    for tree in of.trees:
        shutil.copytree(valid / tree, place / tree, dirs_exist_ok=True)
    if of.first:
        assert main(list(of.first)) == 0
    (path,) = place.glob(of.file)
    return path


def overrides_of(words: list[str], path: Path) -> list[str]:
    """The words of a command, with the file and the folder of its run."""
    run = next((str(folder) for folder in path.parents if folder.parent.name == "synthetic"), "")
    return [word.replace("FILE", str(path)).replace("RUN", run) for word in words]


@pytest.mark.parametrize("number", [0, 1, *(pytest.param(number, marks=pytest.mark.slow) for number in range(2, 20))])
def test_damaged_recordings_are_separated_or_skipped_by_name(valid, tmp_path, capfd, number):
    rng = np.random.default_rng(number)
    folder = tmp_path / "audio"
    folder.mkdir()
    for seed, (name, subtype) in enumerate(SOUNDS.items()):
        soundfile.write(folder / name, syllables(seed, 1.5, 16000), 16000, subtype=subtype)
        damage = list(DAMAGE.values())[rng.integers(len(DAMAGE))]
        (folder / name).write_bytes(damage((folder / name).read_bytes(), rng))
    words = [f"checkpoint={valid / 'network'}", f"input={folder}", f"output={tmp_path / 'out'}", "device=cpu"]
    assert main(["separate", *words, "json=true"]) in (0, 1)
    summary = json.loads(capfd.readouterr().out)
    skipped = {Path(entry["file"]).name for entry in summary["skipped"]}
    assert len(summary["recordings"]) + len(skipped) == len(SOUNDS) and skipped <= SOUNDS.keys()
    assert main(["doctor", "recipe=own-recordings", f"data={folder}", f"runs={tmp_path / 'runs'}"]) in (0, 1)
