"""A folder of two hundred files in which everything goes wrong at once: status, summary and disk agree."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from ..helpers.recordings import (
    encode,
    noise,
    without_privileges,
    write_bare_mp3,
    write_crashed_wav,
    write_piped_flac,
)

NAMES = ["ünï", "日本語", "live (2019)", "it's", "a,b", "[mix]", "{x}", "a=b", "new\nline", " lead", "tail ", "x" * 240]
FORMATS = {
    "wav": ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"),
    "flac": ("PCM_16", "PCM_24"),
    "aiff": ("PCM_16", "FLOAT"),
    "caf": ("PCM_16", "ALAC_16"),
    "w64": ("PCM_16",),
    "au": ("PCM_16", "ULAW"),
    "ogg": ("VORBIS",),
    "mp3": ("MPEG_LAYER_III",),
}


def fill(source):
    """Write the files; how long those are that can be separated (s, None where encoders pad), and those that cannot."""
    good, bad, seed = {}, set(), iter(range(1000))

    def wav(name, seconds=0.3, rate=8000, **more):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise(seconds, rate, seed=next(seed)), rate, **more)
        good[path] = seconds
        return path

    for ending, subtypes in FORMATS.items():
        for subtype in subtypes:
            for channels in (1, 2) if subtype != "GSM610" else (1,):
                path = wav(f"formats/{subtype} {channels}.{ending}", rate=16000 if channels == 2 else 8000)
                samples = noise(0.3, 8000, channels, seed=next(seed))
                soundfile.write(path, samples, 8000, subtype=subtype, format=ending.upper())
                good[path] = soundfile.info(path).frames / 8000
    for name in NAMES:
        wav(f"{name}.wav")
        wav(f"below/{name}.FLAC", format="FLAC")
        wav(f"{name}/{name}.wav")  # a folder called like a recording
    for number in range(90):
        wav(f"many/{number % 30}.{('wav', 'flac', 'aiff')[number // 30]}")
    wav("many/1/2/3.wav")
    wav("song.wav"), wav("song/take1.wav"), wav("song/song.wav"), wav("song.wav.flac")
    for rate in (1000, 6000, 11025, 44056, 96000, 192000):
        wav(f"rates/{rate}.wav", rate=rate)

    odd = source / "odd"
    odd.mkdir()
    write_piped_flac(odd / "piped.flac", noise(0.5, 44100, 2, seed=next(seed)))
    write_bare_mp3(odd / "vbr.mp3", noise(3, 44100, seed=next(seed)))
    write_bare_mp3(odd / "cbr.mp3", noise(3, 44100, seed=next(seed)), variable=False)
    write_crashed_wav(odd / "crashed.wav", noise(0.5, seed=next(seed)))
    good |= {odd / "piped.flac": 0.5, odd / "vbr.mp3": None, odd / "cbr.mp3": None, odd / "crashed.wav": 0.5}
    for name, codec in (("film.mkv", "aac"), ("film.mp4", "aac"), ("sound.m4a", "aac"), ("lossless.m4a", "alac")):
        encode(odd / name, noise(0.5, 44100, 2, seed=next(seed)), 44100, codec)
        good[odd / name] = None
    for ending in ("ogg", "mp3"):
        part = soundfile.write(odd / f"chained.{ending}", noise(2, 44100, seed=next(seed)), 44100)
        part = (odd / f"chained.{ending}").read_bytes()
        (odd / f"chained.{ending}").write_bytes(2 * part)
        good[odd / f"chained.{ending}"] = None
    whole = wav("odd/cut.wav").read_bytes()
    (odd / "cut.wav").write_bytes(whole[: len(whole) // 2])
    good[odd / "cut.wav"] = ((len(whole) // 2 - 44) // 2) / 8000
    soundfile.write(odd / "loud.wav", 4 * noise(0.3, seed=next(seed)), 8000, subtype="FLOAT")
    good[odd / "loud.wav"] = 0.3

    spoilt = {
        "text.wav": b"no sound",
        "empty.wav": b"",
        "random.mp3": np.random.default_rng(0).bytes(5000),
        "cut.flac": soundfile_bytes(odd / "x.flac", noise(1))[:3000],
        "header.wav": whole[:44],
        "page.wav": b"<!doctype html><title>404</title>" * 50,
        "list.mp4": b"#EXTM3U\nsong.wav\n",
    }
    for name, content in spoilt.items():
        (odd / name).write_bytes(content)
        bad.add(odd / name)
    for name, value in (("nan.wav", np.nan), ("huge.wav", 1e25)):
        soundfile.write(odd / name, np.full(800, value, np.float32), 8000, subtype="FLOAT")
        bad.add(odd / name)
    soundfile.write(odd / "none.wav", np.zeros(0), 8000)
    (odd / "dangling.wav").symlink_to(odd / "nowhere.wav")
    os.mkfifo(odd / "pipe.wav")
    locked = wav("odd/locked.wav")
    locked.chmod(0)
    del good[locked]
    (odd / "._song.wav").write_bytes(b"\0\5\26\7" + bytes(100))
    (odd / "notes.txt").write_text("no recording")
    (odd / "cover.jpg").write_bytes(bytes(100))
    bad |= {odd / name for name in ("none.wav", "dangling.wav", "pipe.wav", "locked.wav", "._song.wav")}
    bad |= {odd / name for name in ("notes.txt", "cover.jpg")}
    (odd / "circle").symlink_to(source)
    wav(".hidden/a.wav")
    del good[source / ".hidden" / "a.wav"]
    bad.add(source / ".hidden")
    return good, bad


def soundfile_bytes(path, samples):
    """Content of a file that is gone again."""
    soundfile.write(path, samples, 8000)
    content = path.read_bytes()
    path.unlink()
    return content


def contents(folder):
    """Every file below a folder that can be read, with a checksum."""
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_status_summary_and_disk_agree(save, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    good, bad = fill(source)
    target = source / "separated"
    foreign = {target / "odd" / "film" / "my.txt", target / "rates" / "1000", target / "mine.wav"}
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    taken = {source / "rates" / "1000.wav"}
    assert len(good) + len(bad) >= 200
    before = contents(source)
    words = [f"checkpoint={save()}", f"input={source}", f"output={target}", "window=1", "overlap=0.2", "silent=keep"]
    command = [sys.executable, "-m", "mixit_lightning.cli", "separate", *words, "--json"]
    run = subprocess.run(command, capture_output=True, text=True, preexec_fn=without_privileges, timeout=500)
    assert run.returncode == 0, run.stderr
    summary = json.loads(run.stdout)

    made = {Path(entry["file"]): entry for entry in summary["recordings"]}
    skipped = {Path(entry["file"]): entry["why"] for entry in summary["skipped"]}
    print(json.dumps({str(path): why for path, why in skipped.items()}, indent=1))
    assert set(made) == set(good) - taken
    assert set(skipped) == bad | taken | {
        target / "odd" / "film" / "my.txt",
        target / "rates" / "1000",
        target / "mine.wav",
    }
    assert all(skipped.values())
    after = contents(source)
    assert {path: after[path] for path in before} == before

    listed = {
        Path(entry["folder"]) / name for entry in made.values() for name in [*entry["outputs"], "separation.json"]
    }
    assert listed == set(after) - set(before)
    assert len({entry["folder"] for entry in made.values()}) == len(made)
    for path, entry in made.items():
        infos = [soundfile.info(Path(entry["folder"]) / name) for name in entry["outputs"]]
        assert len(infos) == 3 and len({info.frames for info in infos}) == 1
        assert abs(infos[0].duration - entry["seconds"]) < 1e-6
        if good[path] is not None:
            assert abs(infos[0].duration - good[path]) < 1e-3, path
    seconds = {path.name: entry["seconds"] for path, entry in made.items() if path.parent.name == "odd"}
    assert (
        min(seconds["vbr.mp3"], seconds["cbr.mp3"]) > 2.9 and min(seconds["chained.ogg"], seconds["chained.mp3"]) > 3.9
    )

    again = json.loads(subprocess.run(command, capture_output=True, text=True, preexec_fn=without_privileges).stdout)
    assert all(entry["already_there"] for entry in again["recordings"]) and len(again["recordings"]) == len(made)
    assert {Path(entry["file"]): entry["why"] for entry in again["skipped"]} == skipped
    assert contents(source) == after
