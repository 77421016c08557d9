"""A disk that is full: one line says so, what was saved is whole, and with room the same command resumes."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixit_lightning.errors import UserError
from mixit_lightning.files import CannotWrite, replacing
from mixit_lightning.training.checkpoints import load_checkpoint

from ..helpers.corpora import make_recordings
from ..helpers.folders import assert_same, contents
from ..helpers.process import Outcome, run
from ..helpers.small import TINY
from ..helpers.trained import make_network

PAGE = 4096
"""Bytes, in whole numbers of which files take room."""

TRAIN = ["train", *TINY, "trainer.max_steps=8", "datamodule.steps_per_epoch=2", "trainer.enable_progress_bar=false"]


class Disk:
    """A small disk in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, size: int) -> None:
        """Give it as many bytes, or as few."""
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.folder)], check=True)

    def leave(self, size: int) -> None:
        """Leave as many bytes free; a disk of none would have no limit."""
        self.resize(max(PAGE, shutil.disk_usage(self.folder).used + size))


@pytest.fixture
def disk(tmp_path) -> Iterator[Disk]:
    """Of 64 MB; where it may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def check_said(outcome: Outcome, disk: Disk) -> None:
    """One line that names a file on the disk; nothing half-written stays."""
    lines = outcome.err.splitlines()
    assert outcome.status == 1 and "Traceback" not in outcome.err, outcome.err
    assert [line for line in lines if line.startswith("mixit: ")] == lines[-1:]
    assert str(disk.folder) in lines[-1] and "o space left on device" in lines[-1]
    assert not list(disk.folder.rglob("*.partial"))


def test_a_file_is_whole_or_not_there(disk):
    path = disk.folder / "file"
    disk.leave(2 * PAGE)
    with replacing(path) as partial:
        partial.write_bytes(b"whole")
    with pytest.raises(CannotWrite, match=str(path)), replacing(path) as partial:
        partial.write_bytes(b"x" * 3 * PAGE)
    assert path.read_bytes() == b"whole" and [path.name for path in disk.folder.iterdir()] == ["file"]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    """Runs of an unbroken training."""
    place = tmp_path_factory.mktemp("unbroken")
    outcome = run([*TRAIN, "runs=runs"], place)
    assert outcome.status == 0, outcome.err
    return place / "runs"


def size_on_disk(path: Path) -> int:
    return -(-path.stat().st_size // PAGE) * PAGE


@pytest.mark.parametrize(
    "checkpoints", [2.5, *(pytest.param(number, marks=pytest.mark.slow) for number in (None, 0, 0.5, 1.5, 3.5, 4.5))]
)
def test_training_resumes_when_there_is_room(disk, unbroken, tmp_path, checkpoints):
    """First there is room for the config, the head of the curves and some checkpoints; or (None) not even for these."""
    sizes = {path.name: size_on_disk(path) for path in unbroken.rglob("*") if path.is_file()}
    disk.leave(0 if checkpoints is None else sizes["config.yaml"] + PAGE + round(checkpoints * sizes["best.ckpt"]))
    words = [*TRAIN, f"runs={disk.folder / 'runs'}"]
    for _ in range(2):  # still
        check_said(run(words, tmp_path), disk)
        saved = list(disk.folder.rglob("*.ckpt"))
        assert len(saved) >= (2 if checkpoints in (2.5, 3.5) else 0)
        assert all(load_checkpoint(path)["state_dict"] for path in saved)
    disk.resize(2**26)
    outcome = run(words, tmp_path)
    assert outcome.status == 0, outcome.err
    assert_same(contents(disk.folder / "runs"), contents(unbroken))


@pytest.mark.parametrize("room", [0, PAGE, 6 * PAGE])
def test_separation_resumes_when_there_is_room(disk, tmp_path, room):
    make_recordings(tmp_path / "own", 2)
    output = disk.folder / "separated"
    words = ["separate", f"checkpoint={make_network(tmp_path / 'network')}", f"input={tmp_path / 'own'}"]
    words += [f"output={output}", "silent=keep"]
    disk.leave(room)
    check_said(run(words, tmp_path), disk)
    disk.resize(2**26)
    outcome = run(words, tmp_path)
    assert outcome.status == 0, outcome.err
    assert {path.name for path in output.iterdir() if path.is_dir()} == {"own0", "own1"}


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "file"):
        (tmp_path / "none").read_bytes()
    assert issubclass(CannotWrite, UserError)
