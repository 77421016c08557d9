import json
import os

import pytest

from mixit_lightning.audio.finding import files_below, is_recording, read_record, recordings_below


@pytest.mark.parametrize("name", ["a.wav", "A.WAV", "b.Flac", "c.m4a", "d.opus", "e.tar.mp3", "no sound.aiff"])
def test_recordings_are_told_by_their_endings(name):
    assert is_recording(name)


@pytest.mark.parametrize("name", ["._a.wav", ".wav", "wav", "a.txt", "a.wav.part", "a.wav.partial", ".a.flac"])
def test_hidden_and_other_files_are_none(name):
    assert not is_recording(name)


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_every_file_is_listed_with_why_it_is_no_recording(tmp_path):
    for name in ("b.wav", "a/c.FLAC", "notes.txt", "._b.wav", ".hidden/d.wav", "run/checkpoints/x.wav"):
        touch(tmp_path / name)
    touch(tmp_path / "run" / "config.yaml")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere")
    found = {str(path.relative_to(tmp_path)): why for path, why in files_below(tmp_path)}
    assert {name: bool(why) for name, why in found.items()} == {
        "b.wav": False,
        "a/c.FLAC": False,
        "notes.txt": True,
        "._b.wav": True,
        "gone.wav": False,
        ".hidden": True,
        "run": True,
    }
    assert recordings_below(tmp_path) == [tmp_path / name for name in ("a/c.FLAC", "b.wav", "gone.wav")]


def test_outputs_are_left_out_and_what_lies_among_them_is_named(tmp_path):
    for name in ("out/output_1.wav", "out/remix.wav", "out/below/a.wav"):
        touch(tmp_path / name)
    record = {"made_of": {}, "recording": {"outputs": ["output_1.wav"]}}
    (tmp_path / "out" / "separation.json").write_text(json.dumps(record))
    found = {str(path.relative_to(tmp_path)): bool(why) for path, why in files_below(tmp_path)}
    assert found == {"out/remix.wav": True, "out/below/a.wav": False}


@pytest.mark.parametrize(
    "record",
    [
        "no JSON",
        "[]",
        '{"made_of": {}}',
        '{"made_of": {}, "recording": {}}',
        '{"made_of": {}, "recording": {"outputs": ["../../precious.wav"]}}',
        '{"made_of": {}, "recording": {"outputs": ["/precious.wav"]}}',
        '{"made_of": {}, "recording": {"outputs": [""]}}',
        '{"made_of": {}, "recording": {"outputs": [".."]}}',
        '{"made_of": {}, "recording": {"outputs": [1]}}',
    ],
)
def test_another_file_of_the_name_of_a_record_is_none(tmp_path, record):
    (tmp_path / "separation.json").write_text(record)
    assert read_record(tmp_path) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_are_listed(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    assert recordings_below(tmp_path) == [tmp_path / "a.wav"]
