import json
import os
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import pytest
import soundfile

from mixit_lightning.errors import UserError
from mixit_lightning.inference.folders import RECORD, claimed, filling, folders_of, partial_of, write_record

from ..helpers.recordings import noise

NAMES = ["output_1.wav", "output_2.wav"]


def fill(folder, content="new", names=NAMES):
    with filling(folder) as partial:
        for name in names:
            (partial / name).write_text(content)
        write_record(partial, {"made_of": {"file": "a.wav"}, "recording": {"outputs": list(names)}})


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != RECORD}


@pytest.mark.parametrize(
    ("recordings", "folders"),
    [
        (["a.wav", "b.flac"], ["a", "b"]),
        (["a.wav", "a.flac", "b.wav"], ["a.wav", "a.flac", "b"]),
        (["a.wav", "a/b.wav"], ["a.wav", "a/b"]),
        (["a.wav", "a.wav.flac", "a.flac"], ["a.wav", "a.wav.flac", "a.flac"]),
        (["A.wav", "a.wav"], ["A.wav", "a.wav 2"]),
        (["A/b.wav", "a/c.wav"], ["A/b", "a/c"]),
        (["..wav", "...flac"], ["..wav", "...flac"]),
    ],
)
def test_folders_are_called_like_their_recordings_and_never_collide(recordings, folders):
    found = folders_of([Path("in", name) for name in recordings], Path("in"), Path("out"))
    assert [str(folder.relative_to("out")) for folder in found.values()] == folders


def test_names_that_some_disks_do_not_tell_apart_get_folders_that_all_do():
    name = "caf\N{LATIN SMALL LETTER E WITH ACUTE}.wav"
    names = [unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name), name.upper()]
    found = folders_of([Path("in", name) for name in names], Path("in"), Path("out"))
    assert len({unicodedata.normalize("NFC", str(folder)).casefold() for folder in found.values()}) == 3


def test_outputs_take_the_place_of_earlier_ones_and_of_nothing_else(tmp_path):
    fill(tmp_path / "a", "old")
    (tmp_path / "a" / "remix.wav").write_text("mine")
    fill(tmp_path / "a", "new", NAMES[:1])
    assert contents(tmp_path / "a") == {"output_1.wav": "new", "remix.wav": "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_error_leaves_what_was_there(tmp_path):
    fill(tmp_path / "a", "old")
    with pytest.raises(RuntimeError), filling(tmp_path / "a") as partial:
        (partial / "output_1.wav").write_text("half")
        raise RuntimeError
    assert set(contents(tmp_path / "a").values()) == {"old"} and [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_somebody_saves_meanwhile_is_not_replaced(tmp_path):
    with pytest.raises(UserError, match=r"output_1\.wav"), filling(tmp_path / "a") as partial:
        (partial / "output_1.wav").write_text("new")
        write_record(partial, {"made_of": {}, "recording": {"outputs": NAMES[:1]}})
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "output_1.wav").write_text("mine")
        write_record(tmp_path / "a", {"made_of": {}, "recording": {"outputs": []}})
    assert contents(tmp_path / "a") == {"output_1.wav": "mine"}


@pytest.mark.parametrize("left", [[], [f"{RECORD}.partial"], ["decoded", "output_1.wav", RECORD]])
def test_what_a_killed_process_left_is_no_obstacle(tmp_path, left):
    partial = partial_of(tmp_path / "a")
    partial.mkdir()
    for name in left:
        (partial / name).write_text("left")
    fill(tmp_path / "a")
    assert set(contents(tmp_path / "a").values()) == {"new"} and [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_another_process_fills_is_refused(tmp_path):
    with claimed(partial_of(tmp_path / "a")), pytest.raises(UserError, match="another process"):
        fill(tmp_path / "a")
    fill(tmp_path / "a")


def fill_and_die(folder, changes):
    """Fill a folder in a process that ends before a change of the disk; its exit status."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    left = [changes]

    def die(name, arguments):
        writes = name == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        if name in ("os.mkdir", "os.rename", "os.remove", "os.rmdir") or writes:
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)

    sys.addaudithook(die)
    fill(folder, "new", ["output_1.wav"])
    os._exit(0)


def test_a_process_that_is_killed_anywhere_can_be_followed_by_another(tmp_path):
    """Killed before each of its changes of the disk."""
    statuses = []
    for event in range(30):
        folder = tmp_path / str(event) / "a"
        fill(folder, "old")
        statuses.append(fill_and_die(folder, event))
        listed = set(json.loads((folder / RECORD).read_text())["recording"]["outputs"])
        assert set(contents(folder)) - {f"{RECORD}.partial"} <= listed  # nothing is nobody's
        fill(folder, "new", ["output_1.wav"])
        assert set(contents(folder)) - {f"{RECORD}.partial"} == {"output_1.wav"}
        assert [path.name for path in folder.parent.iterdir()] == ["a"]
    assert statuses[0] == 9 and statuses[-1] == 0 and sum(status == 9 for status in statuses) > 8


def test_of_two_runs_at_once_one_is_refused_and_recordings_stay_whole(save, tmp_path):
    """One run must not take another's unfinished outputs for those of a killed one."""
    for name, seconds in (("x", 60), ("y", 1)):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", noise(seconds), 8000)
    words = [f"checkpoint={save()}", f"output={tmp_path / 'out'}", "window=0.5", "overlap=0.1", "silent=keep"]
    command = [sys.executable, "-m", "mixit_lightning.cli", "separate", *words]
    with subprocess.Popen([*command, f"input={tmp_path / 'x'}"]) as first:
        while not list((tmp_path / "out").glob(".*.partial/output_1.wav")):
            assert first.poll() is None
            time.sleep(0.01)
        second = subprocess.run([*command, f"input={tmp_path / 'y'}"], capture_output=True, text=True)
    assert first.returncode == 0 and second.returncode == 1
    record = json.loads((tmp_path / "out" / "a" / RECORD).read_text())
    assert record["made_of"]["path"] == os.path.realpath(tmp_path / "x" / "a.wav")
    assert soundfile.info(tmp_path / "out" / "a" / "output_1.wav").frames == 60 * 8000
    # nor are finished outputs of one recording replaced by those of another, while that is there
    assert subprocess.run([*command, f"input={tmp_path / 'y'}"], capture_output=True).returncode == 1
    (tmp_path / "x" / "a.wav").unlink()
    assert subprocess.run([*command, f"input={tmp_path / 'y'}"], capture_output=True).returncode == 0
