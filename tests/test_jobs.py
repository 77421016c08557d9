import json
import os
import re
import shutil
import signal
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from mixit_lightning import jobs, pool
from mixit_lightning import progress as progress_module
from mixit_lightning.errors import UserError
from mixit_lightning.files import CannotWrite, replacing
from mixit_lightning.jobs import JOURNAL, Job, run_jobs
from mixit_lightning.progress import ProgressBar


def write(path, text, tally):
    """Runs in another process, so that the calls are counted in a file."""
    with tally.open("a") as file:
        file.write("x")
    with replacing(path, synchronise=False) as half:
        half.write_text(text)
    return {"text": text}


def answer_late(number):
    time.sleep(0.05 if number == 0 else 0)
    return number


def fail_half_way(path):
    with replacing(path) as half:
        half.write_text("half")
        raise UserError(f"{path}: is bad")


def write_for_long(path):
    with replacing(path) as half:
        half.write_text("half")
        time.sleep(1)


def fail_while_another_writes(other):
    while not other.with_name(other.name + ".partial").exists():
        time.sleep(0.01)
    raise UserError("is bad")


@pytest.fixture
def tallies(tmp_path):
    """How often each file was made since the last look."""
    folder = tmp_path / "tallies"
    folder.mkdir()

    def look():
        counts = {path.name: path.stat().st_size for path in folder.iterdir()}
        shutil.rmtree(folder)
        folder.mkdir()
        return counts

    look.folder = folder
    return look


@pytest.fixture
def job(tmp_path, tallies):
    def job(name, text="first", size=10):
        path = tmp_path / "out" / name[0] / name
        return Job(f"{name} {text}", [path], size, partial(write, path, text, tallies.folder / name))

    return job


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


NAMES = ["a1", "a2", "b1", "b2", "b3", "c1"]


def test_all_jobs_are_made(job, out, tallies):
    assert run_jobs([job(name, text=name) for name in NAMES], out) == [{"text": name} for name in NAMES]
    assert [(out / name[0] / name).read_text() for name in NAMES] == NAMES
    assert tallies() == dict.fromkeys(NAMES, 1)
    assert not list(out.rglob("*.partial"))


def test_what_is_done_is_not_made_again_and_answers_the_same(job, out, tallies):
    first = run_jobs([job(name) for name in NAMES], out)
    tallies()
    assert run_jobs([job(name) for name in NAMES], out) == first
    assert tallies() == {}


def test_a_job_whose_key_changed_is_made_again_and_no_other(job, out, tallies):
    run_jobs([job(name) for name in NAMES], out)
    tallies()
    answers = run_jobs([job(name, text="second" if name == "b2" else "first") for name in NAMES], out)
    assert tallies() == {"b2": 1}
    assert (out / "b" / "b2").read_text() == "second"
    assert [answer["text"] for answer in answers] == ["first"] * 3 + ["second"] + ["first"] * 2


def test_a_job_that_is_changed_and_changed_back_is_made_again(job, out):
    for text in ("first", "second", "first"):
        run_jobs([job("a1", text)], out)
    assert (out / "a" / "a1").read_text() == "first"


def test_a_job_whose_output_was_deleted_is_made_again_and_no_other(job, out, tallies):
    run_jobs([job(name) for name in NAMES], out)
    (out / "a" / "a2").unlink()
    tallies()
    run_jobs([job(name) for name in NAMES], out)
    assert tallies() == {"a2": 1}
    assert (out / "a" / "a2").read_text() == "first"


def test_more_jobs_go_on_with_those_that_are_done(job, out, tallies):
    run_jobs([job(name) for name in NAMES[:2]], out)
    run_jobs([job(name) for name in NAMES], out)
    assert tallies() == dict.fromkeys(NAMES, 1)


@pytest.mark.parametrize("cut", [1, 5])
def test_a_journal_that_was_cut_off_stays_in_use(job, out, tallies, cut):
    """Its last line, of which the end or all but the beginning is missing, counts as not done."""
    run_jobs([job(name) for name in NAMES], out)
    journal = out / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    lost = Path(json.loads(lines[-1])[0]).name
    journal.write_bytes(b"".join(lines[:-1]) + (lines[-1][:-cut] if cut == 1 else lines[-1][:cut]))
    tallies()
    run_jobs([job(name) for name in NAMES], out)
    assert tallies() == {lost: 1}
    run_jobs([job(name) for name in NAMES], out)
    assert tallies() == {}


def test_too_little_disk_is_refused_before_anything_is_written(job, out, tallies, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2_999_999_999))
    with pytest.raises(UserError, match=r"3\.1 GB .* 3\.0 GB"):
        run_jobs([job("a1", size=2_000_000_000), job("a2", size=1_100_000_000)], out)
    assert not list(out.iterdir()) and tallies() == {}


def test_what_is_done_needs_no_more_disk(job, out, monkeypatch):
    run_jobs([job("a1", size=800)], out)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=200))
    run_jobs([job("a1", size=800), job("a2", size=200)], out)
    assert (out / "a" / "a2").exists()


def test_answers_stand_in_the_order_of_the_jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "num_cores", lambda: 2)
    todo = [Job("", [tmp_path / str(number)], 0, partial(answer_late, number)) for number in range(20)]
    assert run_jobs(todo, tmp_path) == list(range(20))


def test_an_error_of_a_job_reaches_the_caller_and_leaves_nothing_half_written(job, out, tallies):
    path = out / "b" / "bad"
    bad = Job("bad", [path], 1, partial(fail_half_way, path))
    with pytest.raises(UserError, match=f"^{path}: "):
        run_jobs([job("a1"), bad, job("a2")], out)
    assert not path.exists() and not list(out.rglob("*.partial"))
    run_jobs([job("a1"), job("a2")], out)
    assert (out / "a" / "a2").read_text() == "first"


def test_an_error_of_a_job_leaves_nothing_half_written_of_others(out, monkeypatch):
    monkeypatch.setattr(pool, "num_cores", lambda: 2)
    first, *others = [out / f"long{number}" for number in range(9)]
    bad = Job("", [out / "bad"], 1, partial(fail_while_another_writes, first))
    first, *others = [Job("", [path], 1, partial(write_for_long, path)) for path in (first, *others)]
    with pytest.raises(UserError, match="is bad"):
        run_jobs([first, bad, *others], out)
    assert len(list(out.glob("long*"))) < 9
    assert not list(out.rglob("*.partial"))


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_an_error_and_the_same_call_resumes(job, out, tallies):
    with pytest.raises(pool.ProcessDied):
        run_jobs([job("a1"), Job("", [out / "b" / "lost"], 1, die), job("a2")], out)
    run_jobs([job("a1"), job("a2")], out)
    assert (out / "a" / "a2").read_text() == "first"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_under_the_journal_is_one_error(job, out, monkeypatch):
    monkeypatch.setattr(jobs, "read_journal", lambda path: {})  # as what is always full can be read without end
    out.mkdir()
    (out / JOURNAL).symlink_to("/dev/full")
    with pytest.raises(CannotWrite, match=JOURNAL):
        run_jobs([job("a1")], out)


def test_two_jobs_that_make_the_same_file_are_refused(job, out, tallies):
    with pytest.raises(UserError, match=str(out / "a" / "a1")):
        run_jobs([job("a1"), job("a2"), job("a1", "other")], out)
    assert tallies() == {}


def test_it_is_said_what_will_be_written(job, out, capsys):
    run_jobs([job("a1", size=3_000_000)], out)
    assert re.match(rf"{out}: 1 .* 3\.0 MB", capsys.readouterr().out)
    run_jobs([job("a1", size=3_000_000), job("a2", size=1_000_000)], out)
    assert re.match(rf"{out}: 1 of 2 .* 1\.0 MB", capsys.readouterr().out)


def test_progress_is_told_in_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "LINE_SECONDS", -1.0)
    with ProgressBar("Doing", 3) as progress:
        for _ in range(2):
            progress.advance()
    assert capsys.readouterr().out.splitlines() == [
        "Doing: 1 of 3, 0.0 min left",
        "Doing: 2 of 3, 0.0 min left",
        "Doing: 2 of 3 in 0 s",
    ]


def test_progress_lines_are_rare(capsys):
    with ProgressBar("Doing", 1000) as progress:
        for _ in range(1000):
            progress.advance()
    assert capsys.readouterr().out.splitlines() == ["Doing: 1000 of 1000 in 0 s"]


def test_quiet_progress_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "LINE_SECONDS", -1.0)
    with ProgressBar("Doing", 1, quiet=True) as progress:
        progress.advance()
    assert not capsys.readouterr().out
