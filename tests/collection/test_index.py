import json
import os
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from mixit_lightning.collection import index as module
from mixit_lightning.collection.index import index_recordings
from mixit_lightning.errors import UserError

RATE = 8000


@pytest.fixture
def root(tmp_path):
    """Three recordings, one of them below."""
    root = tmp_path / "recordings"
    for number, name in enumerate(("a.wav", "b.flac", "below/c.ogg")):
        write(root / name, number)
    return root


def write(path, seed=0, seconds=0.5):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).uniform(-0.1, 0.1, round(seconds * RATE)), RATE)


def write_film(path, samples):
    with av.open(str(path), "w") as film:
        stream = film.add_stream("pcm_s16le", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        film.mux(stream.encode(frame))


def names(index):
    return [one.name for one in index.recordings]


class Log:
    """Names of the files that were analysed, in whatever process."""

    def __init__(self, path):
        self.path = path

    def take(self):
        """What was analysed since the last time."""
        names = sorted(self.path.read_text().split()) if self.path.exists() else []
        self.path.unlink(missing_ok=True)
        return names


@pytest.fixture
def analysed(monkeypatch, tmp_path):
    log, survey = Log(tmp_path / "analysed"), module.survey

    def logged(path, sound):
        with log.path.open("a") as lines:
            lines.write(f"{path.name}\n")
        return survey(path, sound)

    monkeypatch.setattr(module, "survey", logged)
    return log


def test_an_index_is_built_once_and_kept_up_to_date(root, tmp_path, analysed, capfd):
    first = index_recordings(root, tmp_path / "index")
    assert names(first) == ["a.wav", "b.flac", "below/c.ogg"] and analysed.take() == ["a.wav", "b.flac", "c.ogg"]
    out, err = capfd.readouterr()
    assert "Scanning: 3 of 3" in err and not out
    again = index_recordings(root, tmp_path / "index")
    assert not analysed.take()
    for one, other in zip(first.recordings, again.recordings, strict=True):
        assert one.path == other.path and (one.survey.levels == other.survey.levels).all()
        assert one.survey._replace(levels=None) == other.survey._replace(levels=None)
    write(root / "b.flac", 7, 1.0)
    write(root / "d.wav", 8)
    (root / "a.wav").unlink()
    changed = index_recordings(root, tmp_path / "index")
    assert analysed.take() == ["b.flac", "d.wav"] and names(changed) == ["b.flac", "below/c.ogg", "d.wav"]
    assert changed.recordings[0].survey.seconds == 1.0


def test_nothing_is_written_among_the_recordings(root, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    index_recordings(root, tmp_path / "index")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_what_was_analysed_before_a_stop_is_not_analysed_again(root, tmp_path, analysed, monkeypatch):
    def stopped(*arguments):
        for number, found in enumerate(analyse_all(*arguments)):
            if number == 2:
                raise KeyboardInterrupt
            yield found

    analyse_all = module.analyse_all
    monkeypatch.setattr(module, "analyse_all", stopped)
    with pytest.raises(KeyboardInterrupt):
        index_recordings(root, tmp_path / "index")
    monkeypatch.setattr(module, "analyse_all", analyse_all)
    analysed.take()
    assert len(index_recordings(root, tmp_path / "index").recordings) == 3
    assert len(analysed.take()) == 1


def test_problems_are_kept_with_their_reason(root, tmp_path):
    (root / "letter.wav").write_text("Dear all,")
    for _ in range(2):
        index = index_recordings(root, tmp_path / "index")
        assert list(index.problems) == ["letter.wav"] and "cannot be read as audio" in index.problems["letter.wav"]
        assert str(root) not in index.problems["letter.wav"]


def test_problems_are_looked_at_again(root, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "survey", refuse)
        assert len(index_recordings(root, tmp_path / "index").problems) == 3
    assert not index_recordings(root, tmp_path / "index").problems


def refuse(path, sound):
    raise MemoryError("no room")


def test_one_odd_file_spoils_nothing_else(root, tmp_path):
    (root / "film.mp4").write_bytes(b"")
    (root / "gone.mp4").symlink_to(root / "nowhere.mp4")
    os.mkfifo(root / "pipe.wav")
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.wav")).write_bytes((root / "a.wav").read_bytes())
    soundfile.write(root / "slow.wav", np.zeros(9), 3)
    index = index_recordings(root, tmp_path / "index")
    assert names(index) == ["a.wav", "b.flac", "below/c.ogg"]
    reasons = {"film.mp4": "is empty", "gone.mp4": "no file", "pipe.wav": "no file", "slow.wav": "claims 3 Hz"}
    assert all(reason in index.problems.pop(name) for name, reason in reasons.items())
    assert [*index.problems.values()] == ["has a name that is not Unicode; rename it"]


def test_what_this_package_made_is_left_out_and_links_are_followed(root, tmp_path):
    write(root / "out" / "a" / "output_1.wav")
    write(root / "out" / "a" / "remix.wav")
    record = {"made_of": {}, "recording": {"outputs": ["output_1.wav"]}}
    (root / "out" / "a" / "separation.json").write_text(json.dumps(record))
    write(root / "runs" / "r" / "examples" / "mixture.wav")
    (root / "runs" / "r" / "config.yaml").write_text("")
    (root / "runs" / "r" / "checkpoints").mkdir()
    write(root / ".hidden" / "a.wav")
    write(root / "._a.wav")
    write(tmp_path / "disk" / "d.wav", 9)
    (root / "disk").symlink_to(tmp_path / "disk")
    (root / "circle").symlink_to(root)
    assert names(index_recordings(root, root / "runs" / "index")) == ["a.wav", "b.flac", "below/c.ogg", "disk/d.wav"]


def test_a_fingerprint_is_of_what_the_recordings_hold(root, tmp_path):
    first = index_recordings(root, tmp_path / "index").fingerprint
    (root / "a.wav").rename(root / "z.wav")
    assert index_recordings(root, tmp_path / "index").fingerprint == first
    write(root / "new.wav", 5)
    assert index_recordings(root, tmp_path / "index").fingerprint != first


def test_other_versions_and_later_changes_are_analysed_again(root, tmp_path, analysed, monkeypatch):
    index_recordings(root, tmp_path / "index")
    analysed.take()
    size = (root / "a.wav").stat().st_size
    write(root / "a.wav", 3)
    assert (root / "a.wav").stat().st_size == size  # the time alone tells
    os.utime(root / "a.wav", (1, 1))
    index_recordings(root, tmp_path / "index")
    assert analysed.take() == ["a.wav"]
    monkeypatch.setattr(module, "VERSION", 99)
    index_recordings(root, tmp_path / "index")
    assert len(analysed.take()) == 3


def test_two_can_open_an_index_at_once(root, tmp_path, monkeypatch):
    """While one process scans, another may read and write."""

    def meanwhile(*arguments):
        for number, found in enumerate(analyse_all(*arguments)):
            yield found
            if number == 0:
                with monkeypatch.context() as patch:
                    patch.setattr(module, "analyse_all", analyse_all)
                    assert len(index_recordings(root, tmp_path / "index").recordings) == 3

    analyse_all = module.analyse_all
    monkeypatch.setattr(module, "analyse_all", meanwhile)
    assert len(index_recordings(root, tmp_path / "index").recordings) == 3


def test_sound_tracks_are_decoded_beside_the_index(root, tmp_path):
    samples = (1000 * np.random.default_rng(0).standard_normal(RATE)).astype(np.int16)
    write_film(root / "film.mkv", samples)
    film = next(one for one in index_recordings(root, tmp_path / "index").recordings if one.name == "film.mkv")
    assert film.path.is_relative_to(tmp_path / "index")
    assert (soundfile.read(film.path, dtype="int16")[0] == samples).all()
    film.path.unlink()  # somebody tidied up
    again = index_recordings(root, tmp_path / "index")
    assert film.path.is_file() and not again.problems
    assert [path.name for path in film.path.parent.iterdir()] == [film.path.name]
    (root / "film.mkv").unlink()
    assert "film.mkv" not in names(index_recordings(root, tmp_path / "index")) and not film.path.exists()


def test_a_decoder_that_dies_takes_nothing_else_down(root, tmp_path, monkeypatch):
    survey = module.survey
    monkeypatch.setattr(
        module, "survey", lambda path, sound: os._exit(1) if path.name == "b.flac" else survey(path, sound)
    )
    index = index_recordings(root, tmp_path / "index")
    assert names(index) == ["a.wav", "below/c.ogg"] and "takes the decoder down" in index.problems["b.flac"]


def test_roots_have_indexes_of_their_own(root, tmp_path):
    write(tmp_path / "other" / "recordings" / "x.wav")
    index_recordings(root, tmp_path / "index")
    assert names(index_recordings(tmp_path / "other" / "recordings", tmp_path / "index")) == ["x.wav"]
    assert len(names(index_recordings(root, tmp_path / "index"))) == 3


def test_errors_say_what_to_do(root, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match="no recordings below it"):
        index_recordings(tmp_path / "nothing", tmp_path / "index")
    index_recordings(root, tmp_path / "index")
    (book,) = (tmp_path / "index").glob("*.sqlite")
    book.write_bytes(b"no data base" * 1000)
    with pytest.raises(UserError, match=r"\.sqlite: cannot be kept \(file is not a database\)"):
        index_recordings(root, tmp_path / "index")
