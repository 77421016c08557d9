"""Names of files that would move the cursor, start a line of their own or pass for mark-up."""

import json
import pickle

import numpy as np
import pytest
import soundfile
from torch.utils.data import DataLoader

from mixit_lightning.cli import main
from mixit_lightning.errors import UserError, visible
from mixit_lightning.files import CannotWrite

from ..helpers.trained import make_network

NAMES = ["[red]c.wav", "d\nmixit: all is well.wav", "e\x1b[2J\x07f.wav", "g\u202ev.wav", "h\udce4.wav"]


@pytest.mark.parametrize("terminal", [False, True])
def test_names_are_shown_as_they_can_be_seen(tmp_path, monkeypatch, capsys, terminal):
    if terminal:  # where names stand beside a progress bar as well
        monkeypatch.setenv("FORCE_COLOR", "1")
    folder = tmp_path / "own"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        with (folder / name).open("wb") as file:
            soundfile.write(file, np.random.default_rng(number).normal(size=12_000) / 10, 8000, format="WAV")
        (folder / f"broken {name}").write_bytes(b"RIFF")
    network = make_network(tmp_path / "network")
    words = [f"checkpoint={network}", f"input={folder}", f"output={tmp_path / 'out'}", "device=cpu"]
    assert main(["separate", *words]) == 0
    assert main(["doctor", "recipe=own-recordings", f"data={folder}", f"runs={tmp_path / 'runs'}"]) in (0, 1)
    said = "".join(capsys.readouterr())
    assert not any(name in said for name in NAMES[1:])
    assert "\x1b[2J" not in said and (terminal or "\x1b" not in said)
    assert not any(line.startswith("mixit: ") for line in said.splitlines())
    for name in NAMES:
        assert said.count(visible(name).removesuffix(".wav")) >= 2, name


@pytest.mark.parametrize("name", NAMES)
def test_errors_are_one_line(name, tmp_path, capsys):
    assert main(["separate", f"checkpoint={tmp_path}", f"input={json.dumps(name)}", "output=out"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    error = UserError(f"{name}: is broken")
    assert str(error) == f"{visible(name)}: is broken"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def refuse(number):
    raise CannotWrite(f"row {number}\n: is broken")


def test_errors_of_loading_processes_are_the_message_alone():
    loader = DataLoader([1], num_workers=1, collate_fn=refuse)
    with pytest.raises(CannotWrite, match=r"^row \[1\]\\n: is broken$"):
        next(iter(loader))
