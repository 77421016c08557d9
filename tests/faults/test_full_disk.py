"""A disk that is full: one line says so, what was saved is whole, and with room the same command resumes."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mixit_lightning.errors import UserError
from mixit_lightning.files import CannotWrite, replacing
from mixit_lightning.training.checkpoints import load_checkpoint

from .test_kill import assert_same, contents
from .valid import TRAINING, make_recordings
from .worker import Outcome

PAGE = 4096
"""Bytes, in whole numbers of which files take room."""

TRAIN = ["train", *TRAINING, "trainer.max_steps=8"]


class Disk:
    """A small disk in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, size: int) -> None:
        """Give it as many bytes, or as few."""
        options = f"remount,size={size}"
        subprocess.run(["mount", "-o", options, str(self.folder)], check=True)

    def leave(self, size: int) -> None:
        """Leave as many bytes free; a disk of none would have no limit."""
        self.resize(max(PAGE, shutil.disk_usage(self.folder).used + size))


@pytest.fixture
def disk(tmp_path) -> Iterator[Disk]:
    """Of 64 MB; where it may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def check_said(outcome: Outcome, disk: Disk) -> None:
    """One line that names a place on the disk."""
    assert outcome.status == 1, outcome.err
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("mixit: ")]
    assert outcome.err.splitlines()[-1] == line and "Traceback" not in outcome.err
    assert str(disk.folder) in line and "o space left on device" in line and "make room" in line, line
    assert not list(disk.folder.rglob("*.partial"))


def test_a_file_is_whole_or_not_there(disk):
    path = disk.folder / "file"
    disk.leave(2 * PAGE)
    with replacing(path) as partial:
        partial.write_bytes(b"whole")
    with (
        pytest.raises(CannotWrite, match=r"file: cannot be written \(No space left on device\); make room"),
        replacing(path) as partial,
    ):
        partial.write_bytes(b"x" * 3 * PAGE)
    assert path.read_bytes() == b"whole" and [path.name for path in disk.folder.iterdir()] == ["file"]


@pytest.fixture(scope="module")
def unbroken(worker, tmp_path_factory) -> Path:
    """Runs of an unbroken training."""
    place = tmp_path_factory.mktemp("unbroken")
    outcome = worker.run([*TRAIN, "runs=runs"], place)
    assert outcome.status == 0, outcome.err
    return place / "runs"


def of_config(unbroken: Path) -> int:
    return sum(size_on_disk(path) for path in unbroken.rglob("config.yaml"))


def of_checkpoint(unbroken: Path) -> int:
    return next(size_on_disk(path) for path in unbroken.rglob("best.ckpt"))


def size_on_disk(path: Path) -> int:
    return -(-path.stat().st_size // PAGE) * PAGE


ROOMS: dict[str, Callable[[Path], int]] = {
    "nothing": lambda unbroken: 0,
    "the config": of_config,
    "the config and the heading of the curves": lambda unbroken: of_config(unbroken) + PAGE,
    "half a checkpoint": lambda unbroken: of_config(unbroken) + PAGE + of_checkpoint(unbroken) // 2,
    "one checkpoint and a half": lambda unbroken: of_config(unbroken) + PAGE + 3 * of_checkpoint(unbroken) // 2,
    "two checkpoints and a half": lambda unbroken: of_config(unbroken) + PAGE + 5 * of_checkpoint(unbroken) // 2,
    "three checkpoints and a half": lambda unbroken: of_config(unbroken) + PAGE + 7 * of_checkpoint(unbroken) // 2,
    "checkpoints, not what evaluation writes": lambda unbroken: (
        of_config(unbroken) + PAGE + 9 * of_checkpoint(unbroken) // 2
    ),
}
"""What there is room for, and how many bytes that is."""


@pytest.mark.parametrize(
    "room", [pytest.param(room, marks=[] if "two" in room else [pytest.mark.slow]) for room in ROOMS]
)
def test_training_goes_on_when_there_is_room(worker, disk, unbroken, tmp_path, room):
    disk.leave(ROOMS[room](unbroken))
    words = [*TRAIN, f"runs={disk.folder / 'runs'}"]
    check_said(worker.run(words, tmp_path), disk)
    checkpoints = list(disk.folder.rglob("*.ckpt"))
    assert len(checkpoints) >= (2 if "two" in room or "three" in room else 0)
    for path in checkpoints:
        assert load_checkpoint(path)["state_dict"]
    check_said(worker.run(words, tmp_path), disk)  # still
    disk.resize(2**26)
    outcome = worker.run(words, tmp_path)
    assert outcome.status == 0, outcome.err
    assert_same(contents(disk.folder / "runs"), contents(unbroken))


@pytest.mark.parametrize("room", [0, PAGE, 6 * PAGE])
def test_separation_goes_on_when_there_is_room(worker, disk, unbroken, tmp_path, room):
    make_recordings(tmp_path / "own", 2)
    best = next(unbroken.rglob("best.ckpt"))
    output = disk.folder / "separated"
    words = ["separate", f"checkpoint={best}", f"input={tmp_path / 'own'}", f"output={output}", "silent=keep"]
    disk.leave(room)
    check_said(worker.run(words, tmp_path), disk)
    disk.resize(2**26)
    outcome = worker.run(words, tmp_path)
    assert outcome.status == 0 and "2 separated, 0 skipped" in outcome.out, outcome.err


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "file"):
        (tmp_path / "none").read_bytes()
    assert issubclass(CannotWrite, UserError)
