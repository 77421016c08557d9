"""What people's own files and folders do to `mixit separate`, `doctor` and the lists: a test for each kind of fault."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mixit_lightning.cli import main
from mixit_lightning.inference import Separator

from ..helpers.recordings import encode, noise, without_privileges, write_bare_mp3, write_crashed_wav, write_piped_flac

SMALL = ["window=1", "overlap=0.2"]


@pytest.fixture
def separate(save, capsys):
    """Separate, and give status and summary."""
    checkpoint = save()

    def separate(source, target, *words, small=SMALL):
        capsys.readouterr()
        arguments = ["separate", f"checkpoint={checkpoint}", f"input={source}", f"output={target}", *small, *words]
        try:
            status = main([*arguments, "--json"])
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr().out
        return status, json.loads(said) if said.strip() else None

    return separate


@pytest.fixture
def shares(monkeypatch):
    """Let the separator give every output a share of the mixture, whatever the network says."""

    def shares(*values):
        def separate_at_once(self, mixture, rate):
            return torch.stack([value * mixture for value in values], 1)

        monkeypatch.setattr(Separator, "separate_at_once", separate_at_once)

    return shares


def wav(path, seconds=0.5, rate=8000, channels=1, subtype="PCM_16", seed=0, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(seconds, rate, channels, seed=seed), rate, subtype=subtype, **more)
    return path


def contents(folder):
    """Every file below a folder, with a checksum."""
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_fifo()
    }


def decoded(path):
    """What other programs hear in a file: FFmpeg's samples `(time, channel)`."""
    import av

    with av.open(str(path), metadata_errors="ignore") as file:
        frames = [frame.to_ndarray() for frame in file.decode(audio=0)]
        channels = file.streams.audio[0].layout.nb_channels
    parts = [frame.T if len(frame) == channels > 1 else frame.reshape(-1, channels) for frame in frames]
    return np.concatenate(parts)


# 1. Nothing is removed that is not ours.


def test_an_input_is_not_replaced_by_its_outputs(separate, tmp_path):
    wav(tmp_path / "b" / "song" / "song.wav")
    before = contents(tmp_path / "b")
    status, _ = separate(tmp_path / "b" / "song" / "song.wav", tmp_path / "b")
    assert status == 1 and contents(tmp_path / "b") == before


def test_other_peoples_folders_are_left_alone(separate, tmp_path, capsys):
    source = wav(tmp_path / "song.wav")
    (tmp_path / "out" / "song").mkdir(parents=True)
    (tmp_path / "out" / "song" / "lyrics.txt").write_text("la la")
    before = contents(tmp_path / "out")
    status, _ = separate(source, tmp_path / "out")
    assert status == 1 and contents(tmp_path / "out") == before
    (tmp_path / "out" / "song" / "lyrics.txt").unlink()
    assert separate(source, tmp_path / "out")[0] == 0  # an empty one is filled


def test_a_file_that_would_be_replaced_is_named(separate, tmp_path, capsys):
    source = wav(tmp_path / "song.wav")
    status, summary = separate(source, tmp_path / "out", "silent_below=0")  # all outputs are dropped
    assert status == 0 and not summary["recordings"][0]["outputs"]
    mine = wav(tmp_path / "out" / "song" / "output_2.wav")
    before = mine.read_bytes()
    checkpoint = next(tmp_path.glob("*.ckpt"))
    words = [f"checkpoint={checkpoint}", f"input={source}", f"output={tmp_path / 'out'}", *SMALL]
    assert main(["separate", *words]) == 1
    assert str(mine) in capsys.readouterr().err and mine.read_bytes() == before


def test_outputs_of_a_changed_format_replace_the_earlier_ones(separate, tmp_path):
    soundfile.write(tmp_path / "a.mp3", noise(1), 8000)
    assert separate(tmp_path / "a.mp3", tmp_path / "out", "silent=keep", "format=same")[0] == 0
    assert {path.suffix for path in (tmp_path / "out" / "a").iterdir()} == {".mp3", ".json"}
    assert separate(tmp_path / "a.mp3", tmp_path / "out", "silent=keep")[0] == 0
    assert {path.suffix for path in (tmp_path / "out" / "a").iterdir()} == {".wav", ".json"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]


# 2 to 4, 13. Recordings are read to their end, whatever their header says.


def length_of_outputs(folder):
    lengths = {soundfile.info(path).frames for path in folder.glob("output_*")}
    assert len(lengths) == 1
    return lengths.pop()


def test_a_flac_of_unknown_length_is_read_to_its_end_in_bounded_memory(save, tmp_path):
    wav(tmp_path / "in" / "other.wav")
    write_piped_flac(tmp_path / "in" / "piped.flac", noise(2, 44100, 2))
    words = ["separate", f"checkpoint={save()}", f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}", *SMALL]
    run = subprocess.run(
        ["bash", "-c", f'ulimit -v 12000000; exec "{sys.executable}" -m mixit_lightning.cli "$@"', "_", *words],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert length_of_outputs(tmp_path / "out" / "piped") == 88200
    assert (tmp_path / "out" / "other").is_dir()


def bare_vbr(path):
    write_bare_mp3(path, noise(20, 44100))


def bare_cbr(path):
    write_bare_mp3(path, noise(20, 44100), variable=False)


def chained(path):
    part = wav(path.with_name(f"part{path.suffix}"), 2, 44100, subtype=None)
    path.write_bytes(2 * part.read_bytes())
    part.unlink()


@pytest.mark.parametrize(
    ("name", "make", "seconds"),
    [
        ("vbr.mp3", bare_vbr, 20),
        ("cbr.mp3", bare_cbr, 20),
        ("chained.ogg", chained, 4),
        ("chained.mp3", chained, 4),
        ("piped.flac", lambda path: write_piped_flac(path, noise(2, 44100, 2)), 2),
        ("crashed.wav", lambda path: write_crashed_wav(path, noise(2, 44100), 44100), 2),
    ],
)
def test_all_of_a_recording_is_separated_and_indexed(separate, tmp_path, capsys, name, make, seconds):
    path = tmp_path / "in" / name
    path.parent.mkdir()
    make(path)
    status, _ = separate(path, tmp_path / "out")
    assert status == 0 and abs(length_of_outputs(tmp_path / "out" / path.stem) / 44100 - seconds) < 0.1
    for number in range(12):  # so that there is enough to train on
        wav(tmp_path / "in" / f"{number}.wav", 2, seed=1 + number)
    capsys.readouterr()
    main(["doctor", "recipe=own-recordings", f"data={tmp_path / 'in'}", f"runs={tmp_path / 'runs'}", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert name not in found["skipped"]
    assert abs(found["hours"] * 3600 - 24 - seconds) < 0.5  # hours are rounded


def test_what_a_header_does_not_say_is_told(separate, tmp_path):
    write_crashed_wav(tmp_path / "crashed.wav", noise(1))
    _, summary = separate(tmp_path / "crashed.wav", tmp_path / "out")
    assert len(summary["recordings"][0]["remarks"]) == 1
    wav(tmp_path / "whole.wav")
    assert separate(tmp_path / "whole.wav", tmp_path / "out")[1]["recordings"][0]["remarks"] == []


def joined(path, *parts):
    """One recording after the other in one file, each of 2 s."""
    content = b""
    for number, (rate, channels, subtype) in enumerate(parts):
        part = path.with_name(f"part{number}.ogg")
        soundfile.write(part, noise(2, rate, channels, seed=number), rate, subtype=subtype, format="OGG")
        content += part.read_bytes()
        part.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize(
    "parts",
    [
        [(16000, 1, "VORBIS"), (44100, 2, "VORBIS")],
        [(16000, 1, "VORBIS"), (16000, 2, "VORBIS")],
        [(48000, 1, "VORBIS"), (48000, 1, "OPUS")],
    ],
)
def test_of_parts_that_do_not_go_together_it_is_told_how_much_was_read(separate, tmp_path, parts):
    joined(tmp_path / "a.ogg", *parts)
    status, summary = separate(tmp_path / "a.ogg", tmp_path / "out")
    (recording,) = summary["recordings"]
    assert status == 0 and abs(recording["seconds"] - 2) < 0.3
    assert any(f"{recording['seconds']:.1f} s" in remark for remark in recording["remarks"])


def test_a_short_part_at_the_end_is_read_too(separate, tmp_path):
    wav(tmp_path / "b.ogg", 0.125, 16000, subtype=None)
    wav(tmp_path / "a.ogg", 2, 16000, subtype=None)
    (tmp_path / "a.ogg").write_bytes((tmp_path / "a.ogg").read_bytes() + (tmp_path / "b.ogg").read_bytes())
    (recording,) = separate(tmp_path / "a.ogg", tmp_path / "out")[1]["recordings"]
    assert recording["seconds"] == pytest.approx(2.125, abs=0.05) and not recording["remarks"]


def test_more_samples_than_a_header_tells_are_told(separate, tmp_path):
    """A recorder that crashed after it had updated its header, and two files that were joined."""
    content = wav(tmp_path / "a.wav", 2).read_bytes()
    updated = content[:40] + (8000).to_bytes(4, "little") + content[44:]
    for name, changed in (("updated", updated), ("joined", 2 * content)):
        (tmp_path / f"{name}.wav").write_bytes(changed)
        (recording,) = separate(tmp_path / f"{name}.wav", tmp_path / "out")[1]["recordings"]
        assert len(recording["remarks"]) == 1
    soundfile.write(tmp_path / "tagged.wav", noise(1), 8000)
    tagged = (tmp_path / "tagged.wav").read_bytes() + b"LIST\x04\x00\x00\x00INFO"
    (tmp_path / "tagged.wav").write_bytes(tagged)
    assert not separate(tmp_path / "tagged.wav", tmp_path / "out")[1]["recordings"][0]["remarks"]


def test_mp3_inside_wav(separate, tmp_path):
    encode(tmp_path / "a.wav", noise(4, 44100), 44100, "libmp3lame", "wav")
    status, summary = separate(tmp_path / "a.wav", tmp_path / "out")
    assert status == 0 and summary["recordings"][0]["seconds"] == pytest.approx(4, abs=0.1)


def test_more_channels_than_flac_has_are_indexed(tmp_path, capsys):
    for number in range(12):
        wav(tmp_path / "in" / f"{number}.wav", 2, seed=1 + number)
    write_crashed_wav(tmp_path / "in" / "many.wav", noise(2, channels=16))
    main(["doctor", "recipe=own-recordings", f"data={tmp_path / 'in'}", f"runs={tmp_path / 'runs'}", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["hours_by_channels"]["16"] > 0 and not found["skipped"]


# 6. Folders of outputs never collide.


def test_a_recording_and_a_folder_of_the_same_name(separate, tmp_path):
    wav(tmp_path / "in" / "song.wav")
    wav(tmp_path / "in" / "song" / "take1.wav")
    wav(tmp_path / "in" / "song" / "take1.flac")
    status, summary = separate(tmp_path / "in", tmp_path / "out", "silent=keep")
    assert status == 0 and len(summary["recordings"]) == 3
    for recording in summary["recordings"]:
        assert all((Path(recording["folder"]) / name).is_file() for name in recording["outputs"])
    assert len({recording["folder"] for recording in summary["recordings"]}) == 3


# 7. One odd file does not stop the others.


def test_odd_files_are_skipped_with_their_reason(save, tmp_path):
    source = tmp_path / "in"
    wav(source / "good.wav")
    (source / "dangling.wav").symlink_to(source / "nowhere.wav")
    wav(source / "locked.wav").chmod(0)
    wav(source / "closed" / "a.wav")
    (source / "closed").chmod(0)
    (source / "empty.wav").touch()
    os.mkfifo(source / "pipe.wav")
    (source / "a").mkdir()
    (source / "a" / "circle").symlink_to(source)
    longest = wav(source / f"{'x' * 247}.wav")
    (source / "notes.txt").write_text("no recording")
    words = ["separate", f"checkpoint={save()}", f"input={source}", f"output={tmp_path / 'out'}", *SMALL, "--json"]
    command = [sys.executable, "-m", "mixit_lightning.cli", *words]
    run = subprocess.run(command, capture_output=True, text=True, preexec_fn=without_privileges, timeout=100)
    (source / "closed").chmod(0o700)
    assert run.returncode == 0, run.stderr
    summary = json.loads(run.stdout)
    assert {Path(entry["file"]).name for entry in summary["recordings"]} == {"good.wav", longest.name}
    skipped = {Path(entry["file"]).name: entry["why"] for entry in summary["skipped"]}
    assert set(skipped) == {"dangling.wav", "locked.wav", "closed", "empty.wav", "pipe.wav", "notes.txt"}
    assert "Permission denied" in skipped["locked.wav"] and "Permission denied" in skipped["closed"]
    assert "No such file" in skipped["dangling.wav"]


# 9. Whole numbers are rounded to the nearest, and outputs add up exactly.


def test_outputs_are_rounded_to_the_nearest(separate, shares, tmp_path):
    shares(0.4, 0.6, 0.0)
    soundfile.write(tmp_path / "a.wav", np.tile([1, -1, 2, -3, 0], 100).astype(np.int16), 8000)
    assert separate(tmp_path / "a.wav", tmp_path / "out", "silent=keep")[0] == 0
    one, other, none = (
        soundfile.read(tmp_path / "out" / "a" / f"output_{number}.wav", dtype="int16")[0][:5].tolist()
        for number in (1, 2, 3)
    )
    assert one == [0, 0, 1, -1, 0] and other == [1, -1, 1, -2, 0] and none == [0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("suffix", "subtype", "dtype"),
    [("wav", "PCM_U8", "int16"), ("wav", "PCM_16", "int16"), ("flac", "PCM_24", "int32"), ("wav", "PCM_32", "int32")],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_written_outputs_add_up_to_the_input_exactly(separate, tmp_path, suffix, subtype, dtype, channels):
    path = wav(tmp_path / f"a.{suffix}", 2.5, channels=channels, subtype=subtype)
    assert separate(path, tmp_path / "out", "silent=keep")[0] == 0
    read = [soundfile.read(output, dtype=dtype)[0].astype(np.int64) for output in (tmp_path / "out").rglob("output_*")]
    assert len(read) == 3 and (sum(read) == soundfile.read(path, dtype=dtype)[0]).all()


# 10. Clipping is what the format cannot hold.


def test_a_float_file_is_not_clipped_and_an_integer_one_is(tmp_path, capsys):
    loud = 2 * np.sin(np.arange(16000) / 5)
    for number in range(10):
        wav(tmp_path / "in" / f"{number}.wav", 2)
    soundfile.write(tmp_path / "in" / "float.wav", loud, 8000, subtype="FLOAT")
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "ULAW", "ALAW"):
        soundfile.write(tmp_path / "in" / f"{subtype}.wav", np.clip(loud, -1, 1), 8000, subtype=subtype)
    main(["doctor", "recipe=own-recordings", f"data={tmp_path / 'in'}", f"runs={tmp_path / 'runs'}", "--json"])
    found = json.loads(capsys.readouterr().out)["clipped"]
    assert set(found) == {"PCM_U8.wav", "PCM_16.wav", "PCM_24.wav", "ULAW.wav", "ALAW.wav"}
    assert all(abs(share - 2 / 3) < 0.02 for share in found.values())  # |2 sin| is above 1 for two thirds of the time


# 11. Vorbis is written in blocks.


def test_long_vorbis_is_written(save, tmp_path):
    path = wav(tmp_path / "a.ogg", 12, 48000, format="OGG", subtype="VORBIS")
    words = ["separate", f"checkpoint={save()}", f"input={path}", f"output={tmp_path / 'out'}", "window=60"]
    command = f'ulimit -s 1024; exec "{sys.executable}" -m mixit_lightning.cli "$@" format=same silent=keep'
    run = subprocess.run(["bash", "-c", command, "_", *words], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert length_of_outputs(tmp_path / "out" / "a") == 12 * 48000


# 12. What is too loud is clipped and counted.


@pytest.mark.parametrize(
    ("suffix", "kind", "subtype"),
    [
        ("wav", "WAV", "ULAW"),
        ("wav", "WAV", "ALAW"),
        ("wav", "WAV", "IMA_ADPCM"),
        ("wav", "WAV", "MS_ADPCM"),
        ("caf", "CAF", "ALAC_16"),
        ("caf", "CAF", "ALAC_24"),
        ("wav", "WAV", "PCM_U8"),
        ("flac", "FLAC", "PCM_16"),
    ],
)
def test_loud_outputs_are_clipped_and_counted(separate, shares, tmp_path, suffix, kind, subtype):
    shares(3.0, -1.0, -1.0)
    samples = 0.1 * np.sin(np.arange(8000) / 50)
    samples[2000:6000] *= 5  # to 1.5 in the first output
    soundfile.write(tmp_path / f"a.{suffix}", samples, 8000, subtype=subtype, format=kind)
    status, summary = separate(tmp_path / f"a.{suffix}", tmp_path / "out", "silent=keep", "format=same")
    assert status == 0
    recorded = soundfile.read(tmp_path / f"a.{suffix}")[0]
    assert summary["recordings"][0]["clipped"] == pytest.approx((np.abs(3 * recorded) >= 1).sum(), abs=40)
    output, _ = soundfile.read(tmp_path / "out" / "a" / f"output_1.{suffix}")
    size = min(len(output), len(recorded))  # ADPCM pads its last block
    assert np.abs(output[:size] - np.clip(3 * recorded[:size], -1, 1)).max() < 0.2


# 14. One rule for what a recording is.


def test_hidden_files_are_none_and_capital_endings_are(separate, tmp_path):
    wav(tmp_path / "in" / "A.WAV")
    (tmp_path / "in" / "._A.WAV").write_bytes(b"\0\5\26\7" + bytes(100))
    wav(tmp_path / "in" / ".hidden" / "b.wav")
    status, summary = separate(tmp_path / "in", tmp_path / "out")
    assert status == 0 and [Path(entry["file"]).name for entry in summary["recordings"]] == ["A.WAV"]
    assert [Path(entry["file"]).name for entry in summary["skipped"]] == ["._A.WAV", ".hidden"]


# 15. Plain WAV, and what loses something is not written unless asked for.


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.mkv", "aac"), ("a.mp3", "libmp3lame")])
def test_outputs_of_lossy_recordings_are_plain_wav_and_add_up(separate, tmp_path, name, codec):
    encode(tmp_path / name, noise(2, 44100, 2), 44100, codec)
    assert separate(tmp_path / name, tmp_path / "out", "silent=keep")[0] == 0
    outputs = sorted((tmp_path / "out" / "a").glob("output_*.wav"))
    infos = [soundfile.info(path) for path in outputs]
    assert [(info.format, info.subtype) for info in infos] == 3 * [("WAV", "FLOAT")]
    total = sum(soundfile.read(path)[0] for path in outputs)
    expected = decoded(tmp_path / name)
    assert len(total) == len(expected) and np.abs(total - expected).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "codec", "container", "subtype"),
    [
        ("a.mov", "pcm_mulaw", "mov", "FLOAT"),
        ("a.caf", "pcm_s16be", "caf", "PCM_16"),
        ("a.mp3", "pcm_s16le", "wav", "PCM_16"),
    ],
)
def test_endings_say_what_is_inside(separate, tmp_path, name, codec, container, subtype):
    encode(tmp_path / name, noise(1, 44100), 44100, codec, container, pipe=container == "caf")
    status, summary = separate(tmp_path / name, tmp_path / "out", "silent=keep")
    outputs = [tmp_path / "out" / "a" / output for output in summary["recordings"][0]["outputs"]]
    kinds = {(soundfile.info(path).format, soundfile.info(path).subtype, path.suffix) for path in outputs}
    assert status == 0 and kinds == {("WAV", subtype, ".wav")}


def test_an_alac_file_is_lossless(separate, tmp_path):
    encode(tmp_path / "a.m4a", noise(1, 44100, 1), 44100, "alac")
    assert separate(tmp_path / "a.m4a", tmp_path / "out", "silent=keep")[0] == 0
    infos = [soundfile.info(path) for path in (tmp_path / "out" / "a").glob("output_*.wav")]
    assert {(info.format, info.subtype) for info in infos} == {("WAV", "PCM_32")}


# Also.


@pytest.mark.parametrize("size", [1e25, 1e12])
def test_samples_that_no_recording_has_are_refused(separate, tmp_path, size):
    soundfile.write(tmp_path / "a.wav", np.full(8000, size, np.float32), 8000, subtype="FLOAT")
    status, _ = separate(tmp_path / "a.wav", tmp_path / "out")
    assert status == 1 and not list(tmp_path.rglob("output_*"))
    with pytest.raises(ValueError, match="beyond"):
        Separator.from_checkpoint(next(tmp_path.glob("*.ckpt"))).separate(torch.full((100,), size), 8000)


def test_a_status_says_that_nothing_was_separated(separate, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_text("no sound")
    status, summary = separate(tmp_path / "in", tmp_path / "out")
    assert status == 1 and len(summary["skipped"]) == 1


def test_a_folder_is_separated_into_itself(separate, tmp_path):
    wav(tmp_path / "in" / "a.wav")
    for _ in range(2):
        status, summary = separate(tmp_path / "in", tmp_path / "in")
        assert status == 0 and len(summary["recordings"]) == 1 and not summary["skipped"]
    shutil.rmtree(tmp_path / "in" / "a")
    assert (tmp_path / "in" / "a.wav").is_file()
