import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from mixit_lightning.cli import main

from ..helpers.recordings import noise

FORMATS = [
    ("a.wav", "WAV", "PCM_16", 16000, 1),
    ("b.flac", "FLAC", "PCM_24", 44100, 2),
    ("c.wav", "WAV", "FLOAT", 8000, 3),
    ("d.aiff", "AIFF", "PCM_16", 8000, 1),
]


def separate(save, source, target, *words):
    return main(
        ["separate", f"checkpoint={save()}", f"input={source}", f"output={target}", "window=1", "overlap=0.2", *words]
    )


@pytest.mark.parametrize(("name", "kind", "subtype", "rate", "channels"), FORMATS)
def test_outputs_keep_rate_format_and_channels_and_add_up(save, tmp_path, name, kind, subtype, rate, channels):
    samples = noise(2.5, rate, channels)
    soundfile.write(tmp_path / name, samples, rate, subtype=subtype, format=kind)
    assert separate(save, tmp_path / name, tmp_path / "out", "silent=keep") == 0
    folder = tmp_path / "out" / name.split(".")[0]
    paths = sorted(folder.glob("output_*"))
    assert [path.name for path in paths] == [f"output_{number}.{name.split('.')[1]}" for number in (1, 2, 3)]
    for path in paths:
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.samplerate, info.channels) == (kind, subtype, rate, channels)
    total = sum(soundfile.read(path, always_2d=True)[0] for path in paths)
    assert np.abs(total - soundfile.read(tmp_path / name, always_2d=True)[0]).max() < 1e-4


def test_the_mean_of_the_channels(save, tmp_path):
    samples = noise(1.5, 8000, 2)
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    assert separate(save, tmp_path / "a.wav", tmp_path / "out", "channels=mean", "silent=keep") == 0
    total = sum(soundfile.read(path)[0] for path in (tmp_path / "out" / "a").glob("*.wav"))
    assert np.allclose(total, samples.mean(1), atol=1e-5)


def test_a_folder_says_what_was_skipped_and_goes_on_where_it_was(save, tmp_path, capsys):
    source, target = tmp_path / "in", tmp_path / "in" / "out"
    (source / "sub").mkdir(parents=True)
    for name in ("a.wav", "a.flac", "sub/b.wav"):
        soundfile.write(source / name, noise(1, 8000), 8000)
    (source / "text.wav").write_text("no sound")
    (source / "empty.flac").write_bytes(b"")
    soundfile.write(source / "nan.wav", np.full(900, np.nan, np.float32), 8000, subtype="FLOAT")
    soundfile.write(source / "none.wav", noise(0, 8000), 8000)
    whole = (source / "sub" / "b.wav").read_bytes()
    (source / "cut.wav").write_bytes(whole[: len(whole) // 2])
    assert separate(save, source, target) == 0
    said = capsys.readouterr().out
    for name, why in [
        ("text.wav", "cannot be read"),
        ("empty.flac", "is empty"),
        ("nan.wav", "finite"),
        ("none.wav", "no samples"),
    ]:
        assert any(name in line and why in line for line in said.splitlines() if line.startswith("skipped"))
    assert "4 separated, 4 skipped" in said
    assert "cut: 3 outputs, the recording is cut off" in said
    assert {path.name for path in target.iterdir()} == {"a.wav", "a.flac", "sub", "cut"}
    times = {path: path.stat().st_mtime_ns for path in target.rglob("output_*")}
    soundfile.write(source / "sub" / "b.wav", noise(2, 8000), 8000)
    assert separate(save, source, target) == 0
    assert capsys.readouterr().out.count("there already") == 3
    changed = {path for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert changed == set((target / "sub" / "b").glob("output_*"))
    assert not list(target.rglob("*.partial"))


def test_silent_outputs_are_dropped_below_a_level(save, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", noise(1, 8000), 8000)
    assert separate(save, tmp_path / "a.wav", tmp_path / "out", "--json", "silent_below=0") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["recordings"][0]["dropped"] == ["output_1.wav", "output_2.wav", "output_3.wav"]
    assert [path.name for path in (tmp_path / "out" / "a").iterdir()] == ["separation.json"]
    assert separate(save, tmp_path / "a.wav", tmp_path / "out", "silent=keep") == 0  # other settings: made again
    assert len(list((tmp_path / "out" / "a").glob("*.wav"))) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["channels=left"], "channels=left: must be each or mean"),
        (["silent=mute"], "silent=mute: must be drop or keep"),
        (["overlap=2"], "overlap=2: must be positive, and less than window=1"),
        (["windo=3"], "did you mean window?"),
        (["input=/nowhere"], "input=/nowhere: no such file or folder"),
    ],
)
def test_settings_that_make_no_sense_are_explained(save, tmp_path, capsys, words, message):
    soundfile.write(tmp_path / "a.wav", noise(1, 8000), 8000)
    assert separate(save, tmp_path / "a.wav", tmp_path / "out", *words) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_single_broken_recording_is_an_error_that_names_it(save, tmp_path, capsys):
    (tmp_path / "a.wav").write_text("no sound")
    assert separate(save, tmp_path / "a.wav", tmp_path / "out") == 1
    assert f"{tmp_path / 'a.wav'}: cannot be read as audio" in capsys.readouterr().err


def test_a_folder_without_recordings_is_an_error(save, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    assert separate(save, tmp_path / "in", tmp_path / "out") == 1
    assert "no recordings below it" in capsys.readouterr().err


def test_ctrl_c_leaves_nothing_half_done_and_the_same_command_goes_on(save, tmp_path):
    for number in range(2):
        soundfile.write(tmp_path / f"in{number}.wav", noise(5 if number else 1, 8000), 8000)
    source = tmp_path / "in"
    source.mkdir()
    for path in sorted(tmp_path.glob("in?.wav")):
        path.rename(source / path.name)
    words = ["separate", f"checkpoint={save()}", f"input={source}", f"output={tmp_path / 'out'}", "window=0.2"]
    command = [sys.executable, "-m", "mixit_lightning.cli", *words, "overlap=0.05"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        out = tmp_path / "out"
        while not ((out / "in0").exists() and list(out.glob(".*.partial/output_2.wav"))):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert "mixit: stopped; " in process.communicate()[1]
    assert process.returncode == 130
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["in0"]
    before = (tmp_path / "out" / "in0" / "output_1.wav").stat().st_mtime_ns
    assert main([*words, "overlap=0.05"]) == 0
    assert (tmp_path / "out" / "in0" / "output_1.wav").stat().st_mtime_ns == before
    assert (tmp_path / "out" / "in1" / "output_1.wav").is_file()
