"""What `mixit shard` makes: the same every time, whole or not at all, and of active blocks only."""

import json
import os
import signal
import subprocess
import sys
import time
from io import BytesIO

import numpy as np
import pyarrow.parquet
import pytest
import soundfile

from mixit_lightning.collection.crops import Channel
from mixit_lightning.streaming.packing import Settings, cut

from .conftest import SMALL, make_recordings


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def rows_of(folder, pattern="*.parquet"):
    return [row for path in sorted(folder.glob(pattern)) for row in pyarrow.parquet.read_table(path).to_pylist()]


def test_a_row_holds_the_very_samples_of_a_recording(packed, recordings):
    rows = rows_of(packed)
    assert len(rows) > 30
    for row in rows:
        samples, rate = soundfile.read(BytesIO(row["audio"]["bytes"]), dtype="int16")
        whole, _ = soundfile.read(recordings / row["recording"], dtype="int16")
        first = round(row["start"] * 8000)
        assert rate == 8000 and len(samples) == round(row["seconds"] * 8000) <= 1.5 * 8000
        np.testing.assert_array_equal(samples, whole[first : first + len(samples)])
        assert row["rms"] == pytest.approx(np.sqrt(np.mean(np.square(whole / 2**15))), rel=0.1)


def test_the_catalogue_says_what_the_shards_hold(packed):
    catalogue = json.loads((packed / "catalogue.json").read_text())
    assert {path.name for path in packed.iterdir()} == {
        "catalogue.json",
        *(shard["name"] for shard in catalogue["shards"]),
    }
    for shard in catalogue["shards"]:
        assert (packed / shard["name"]).stat().st_size == shard["bytes"]
        assert pyarrow.parquet.read_metadata(packed / shard["name"]).num_row_groups == len(shard["recordings"])
        assert sum(row["seconds"] for row in rows_of(packed, shard["name"])) == pytest.approx(shard["seconds"])
        assert shard["seconds"] * 16000 < 1.1e5
    # Splits share no recording, and a shard holds several.
    parts = {split: {row["recording"] for row in rows_of(packed, f"{split}-*")} for split in ("train", "valid", "test")}
    assert [len(part) for part in parts.values()] == [10, 2, 2]
    assert len(set.union(*parts.values())) == 14
    assert all(len(set(shard["recordings"])) > 1 for shard in catalogue["shards"])


def test_others_read_the_column_as_sound(packed, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    files = sorted(map(str, packed.glob("train-*")))
    found = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True, cache_dir=str(tmp_path))
    assert found.features["audio"] == datasets.Audio(sampling_rate=8000)
    sounds = found.cast_column("audio", datasets.Audio(decode=False))
    assert [row["audio"] for row in sounds] == [row["audio"] for row in rows_of(packed, "train-*")]


def test_the_same_again_keeps_everything_and_other_settings_make_it_anew(pack, packed, tmp_path):
    folder = tmp_path / "out"
    assert pack(folder) == 0
    assert contents(folder) == contents(packed)
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    missing = next(folder.glob("train-*"))
    missing.unlink()
    assert pack(folder) == 0
    again = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert [name for name in times if times[name] != again[name]] == [missing.name]
    assert contents(folder) == contents(packed)
    assert pack(folder, "seed=1") == 0
    before, after = contents(packed), contents(folder)
    assert all(content != before.get(name) for name, content in after.items())
    assert pack(folder, "shard_megabytes=1") == 0
    assert len(list(folder.glob("train-*"))) == 1  # none is left of those that there were


def test_a_killed_command_goes_on(pack, packed, recordings, tmp_path):
    folder = tmp_path / "out"
    words = [f"data={recordings}", f"output={folder}", f"index={tmp_path / 'index'}", *SMALL]
    command = [sys.executable, "-m", "mixit_lightning.cli", "shard", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(folder.glob("*-*.parquet"))) >= 2:
            break
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "catalogue.json").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("*-*.parquet")}
    assert kept
    assert pack(folder) == 0
    assert contents(folder) == contents(packed)
    assert all((folder / name).stat().st_mtime_ns == before for name, before in kept.items())


@pytest.mark.parametrize("suffix", [".txt", ".csv"])
def test_a_list_instead_of_a_folder(pack, recordings, tmp_path, suffix):
    chosen = sorted(recordings.iterdir())[:12]
    manifest = tmp_path / f"list{suffix}"
    if suffix == ".csv":
        manifest.write_text("id,path\n" + "".join(f"{number},{path}\n" for number, path in enumerate(chosen)))
    else:
        manifest.write_text("\n".join(os.path.relpath(path, tmp_path) for path in chosen))
    assert pack(tmp_path / "out", data=manifest) == 0
    names = {row["recording"] for row in rows_of(tmp_path / "out")}
    assert {name.rpartition("/")[2] for name in names} == {path.name for path in chosen}


def test_what_is_missing_of_a_list_is_said(pack, recordings, tmp_path, capsys):
    manifest = tmp_path / "list.txt"
    manifest.write_text("\n".join([*map(str, sorted(recordings.iterdir())), "nowhere.wav"]))
    assert pack(tmp_path / "out", data=manifest) == 0
    assert "skipped: nowhere.wav: is no file" in capsys.readouterr().out


TEN_SECONDS = Settings(seconds=10, pause=2, shortest=1, shard_megabytes=1, held_out=0.1, held_out_hours=1, seed=0)


def make_channel(active, end=100_000):
    active = np.array(active, np.int32)
    return Channel(None, 0, 1000, 0, end, 100, active, active, 0.1)


def test_silence_is_left_out_and_short_pauses_stay():
    # Blocks of 0.1 s: sound at 5 to 8 s with a pause of 1 s in it, and at 60 to 61 s.
    blocks = [*range(50, 60), *range(70, 80), *range(600, 610)]
    assert list(cut(make_channel(blocks), 1000, TEN_SECONDS)) == [(4000, 5000), (59000, 3000)]
    # A pause of 2.1 s parts them.
    assert [first for first, _ in cut(make_channel([10, 32]), 1000, TEN_SECONDS)] == [0, 2200]
    # Long ones are cut into equal pieces; another rate has as many seconds.
    assert list(cut(make_channel(range(250)), 500, TEN_SECONDS)) == [(0, 4333), (8667, 4333), (17333, 4333)]
    assert list(cut(make_channel([0], 100), 1000, TEN_SECONDS)) == []


def test_quiet_recordings_are_raised_and_clipped_ones_lowered(pack, tmp_path):
    folder = make_recordings(tmp_path / "data", 12)
    for name, scale in (("00.wav", 0.004), ("01.wav", 20)):
        samples, rate = soundfile.read(folder / name)
        soundfile.write(folder / name, scale * samples, rate, subtype="FLOAT")
    assert pack(tmp_path / "out", data=folder) == 0
    for row in rows_of(tmp_path / "out"):
        samples, _ = soundfile.read(BytesIO(row["audio"]["bytes"]))
        if row["recording"] in ("00.wav", "01.wav"):
            whole, _ = soundfile.read(folder / row["recording"])
            first = round(row["start"] * 8000)
            expected = whole[first : first + len(samples)] / np.sqrt(np.mean(whole**2))
            assert np.abs(samples / row["rms"] - expected).max() < 0.25 * np.abs(expected).max()
            assert np.corrcoef(samples, expected)[0, 1] > 0.9999
            assert np.abs(samples).max() < 1 and row["rms"] > 0.009


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shortest=0"], "shortest=0"),
        (["seconds=0.5"], "at most seconds=0.5"),
        (["pause=-1"], "pause=-1"),
        (["held_out=0.5"], "held_out=0.5"),
        (["held_out_hours=0"], "held_out_hours=0"),
        (["shard_megabytes=0"], "shard_megabytes=0"),
        (["sample_rate=48000"], "none of its recordings can be used"),
        (["data=/nowhere"], "no such folder or list"),
        (["output=DATA/out"], "lies in data="),
        (["output=nothing://bucket/place"], "nothing://bucket/place: "),
        (["output='s3://key:secret@bucket/place'"], "s3://...: "),
        (["output='s3://bucket/place?access_key=a&secret_key=secret'"], "s3://...: "),
    ],
)
def test_wrong_settings_are_refused(pack, recordings, tmp_path, capsys, words, message):
    assert pack(tmp_path / "out", *(word.replace("DATA", str(recordings)) for word in words)) == 1
    printed = capsys.readouterr()
    assert message in printed.err and len(printed.err.strip().splitlines()[-1:]) == 1
    assert "secret@" not in printed.err and "=secret" not in printed.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.csv", "file\na.wav\n", "has no column path"),
        ("list.txt", "\n\n", "lists no recordings"),
        ("list.txt", "a\0.wav", "is no path"),
        ("list.doc", "a.wav", "must be a folder, a .txt file"),
    ],
)
def test_a_list_that_is_none(pack, tmp_path, capsys, name, text, message):
    (tmp_path / name).write_text(text)
    assert pack(tmp_path / "out", data=tmp_path / name) == 1
    assert message in capsys.readouterr().err
