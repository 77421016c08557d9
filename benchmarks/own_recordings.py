"""Can a folder of recordings be separated that nobody has labelled? Made of speech and noise, so that it can be told.

    python benchmarks/own_recordings.py SPEECH NOISE OUTPUT [key=value ...]

SPEECH holds <split>/<speaker>/ and NOISE <split>/, as recipes/speech-folder and recipes/enhancement have them. Two
people who talk at the same time as often as not, and one in noise, in many formats, rates and lengths, some broken,
some silent, go to OUTPUT/recordings, their sources to OUTPUT/hidden, which nothing but the scores below reads. Then
`mixit train recipe=own-recordings data=OUTPUT/recordings separate_into=OUTPUT/separated key=value ...` runs, and
separates the recordings of other people in OUTPUT/strangers too. Scores are SI-SNR improvements over whole recordings,
of the best outputs, one per source: for those that training held out for the test, and for the other people's.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import soundfile
import torch

from mixit_lightning.audio.finding import recordings_below
from mixit_lightning.audio.opening import read
from mixit_lightning.audio.resampling import resample
from mixit_lightning.config import build, load_config
from mixit_lightning.data.mixture import generator
from mixit_lightning.metrics.functional import separation_scores
from mixit_lightning.run import provenance

RATE = 16000
"""Hz, of what the recordings are made of."""

FORMATS = [
    (".wav", 16000, 1, "PCM_16"),
    (".flac", 16000, 1, "PCM_24"),
    (".wav", 44100, 2, "FLOAT"),
    (".ogg", 48000, 1, "VORBIS"),
    (".mp3", 44100, 1, "MPEG_LAYER_III"),
    (".aiff", 22050, 2, "PCM_16"),
    (".mkv", 48000, 1, "pcm_s16le"),
]
"""In turns: suffix, rate (Hz), channels, kind of samples; the last is the sound track of a film."""

MINUTES = {"short": (0.08, 0.35, 90), "middle": (0.5, 2.0, 12), "long": (20.0, 20.0, 1)}
"""Shortest, longest and number of recordings to train on."""

OTHERS = 24
"""Recordings of people who are not in the training data, of 10 s."""


def talk(rng: np.random.Generator, paths: list[Path], frames: int) -> np.ndarray:
    """One person: utterances with pauses between them."""
    spoken: list[np.ndarray] = [np.zeros(rng.integers(RATE))]
    while sum(map(len, spoken)) < frames:
        spoken += [read(paths[rng.integers(len(paths))]), np.zeros(int(rng.exponential(1.0) * RATE))]
    samples = np.concatenate(spoken)[:frames]
    return samples / np.sqrt(np.mean(samples**2))


def ambience(rng: np.random.Generator, paths: list[Path], frames: int) -> np.ndarray:
    """Noise: one recording, again and again."""
    samples = read(paths[rng.integers(len(paths))])
    samples = np.tile(samples, -(-frames // len(samples)))[:frames]
    return samples / np.sqrt(np.mean(samples**2))


def sources_of(rng: np.random.Generator, speakers: list[list[Path]], noise: list[Path], frames: int) -> np.ndarray:
    """Two people, or one in noise: `(source, time)`."""
    one, other = rng.choice(len(speakers), 2, replace=False)
    first = talk(rng, speakers[one], frames)
    second = talk(rng, speakers[other], frames) if rng.random() < 0.5 else ambience(rng, noise, frames)
    levels = rng.uniform(-2.5, 2.5, 2)
    return 0.05 * 10 ** (levels[:, None] / 20) * np.stack([first, second])


def write_recording(root: Path, hidden: Path, name: str, sources: np.ndarray, kind: tuple[str, int, int, str]) -> None:
    """Write a recording in one of the formats, and its sources at the same rate."""
    suffix, rate, channels, subtype = kind
    at_rate = resample(sources.astype(np.float32), RATE, rate)
    mixture = np.stack([at_rate.sum(0) * 0.8**channel for channel in range(channels)], axis=1)
    path = root / f"{name}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden.mkdir(parents=True, exist_ok=True)
    if suffix == ".mkv":
        write_film(path, mixture[:, 0], rate)
    else:
        with soundfile.SoundFile(str(path), "w", rate, channels, subtype) as file:
            for start in range(0, len(mixture), 10 * rate):  # an encoder of libsndfile fails with more at once
                file.write(mixture[start : start + 10 * rate])
    soundfile.write(hidden / f"{name}.wav", at_rate.T, rate, subtype="FLOAT")


def write_film(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write `(time,)` as the sound track of a film without pictures."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream("pcm_s16le", rate=rate, layout="mono")
        whole = np.round(samples * 2**15).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
        frame.sample_rate = rate
        frames = av.AudioFifo()
        frames.write(frame)
        while part := frames.read(4096, partial=True):
            film.mux(stream.encode(part))
        film.mux(stream.encode(None))


def write_odd_ones(root: Path, rng: np.random.Generator) -> None:
    """What every folder has: silent, broken, empty, too short, something else under this name, the same again."""
    odd = root / "odd"
    odd.mkdir()
    noise = 0.05 * rng.standard_normal(3 * RATE)
    soundfile.write(odd / "silent.wav", np.zeros(30 * RATE), RATE)
    soundfile.write(odd / "hiss-at-minus-80-dB.flac", 1e-4 * rng.standard_normal(5 * RATE), RATE, subtype="PCM_24")
    soundfile.write(odd / "fifth-of-a-second.wav", noise[: RATE // 5], RATE)
    soundfile.write(odd / "telephone.wav", noise[: 2 * 8000], 8000)
    soundfile.write(odd / "not-a-number.wav", np.where(np.arange(len(noise)) == 99, np.nan, noise), RATE, "FLOAT")
    soundfile.write(odd / "cut-off.flac", noise, RATE)
    whole = (odd / "cut-off.flac").read_bytes()
    (odd / "cut-off.flac").write_bytes(whole[: len(whole) // 2])
    (odd / "empty.wav").write_bytes(b"")
    (odd / "letter.wav").write_text("Dear all,\n" * 100)
    first = sorted(root.glob("*.wav"))[0]
    (odd / f"again-{first.name}").write_bytes(first.read_bytes())


def make_folder(speech: Path, noise: Path, output: Path) -> None:
    """Make the recordings, unless they are there."""
    if (output / "made").exists():
        return
    for what, split in (("recordings", "train"), ("strangers", "test")):
        speakers = [recordings_below(folder) for folder in sorted((speech / split).iterdir())]
        noises = recordings_below(noise / split)
        lengths = MINUTES.values() if what == "recordings" else [(1 / 6, 1 / 6, OTHERS)]
        number = 0
        for shortest, longest, count in lengths:
            for _ in range(count):
                rng = generator(7, number, split == "test")
                frames = round(60 * rng.uniform(shortest, longest) * RATE)
                sources = sources_of(rng, speakers, noises, frames)
                kind = FORMATS[number % len(FORMATS)]
                write_recording(output / what, output / "hidden" / what, f"{number:03}", sources, kind)
                number += 1
    write_odd_ones(output / "recordings", generator(7))
    (output / "made").touch()


def score(separated: Path, hidden: Path, names: list[str]) -> dict[str, float | int]:
    """Mean over recordings of the improvement of the best outputs, one a source, in the first channel, in dB."""
    improvements, inputs = [], []
    for name in names:
        references = soundfile.read(hidden / f"{name}.wav", dtype="float32")[0].T
        outputs = [
            soundfile.read(path, dtype="float32", always_2d=True)[0][:, 0]
            for path in sorted((separated / name).glob("output_*"))
        ]
        frames = min(references.shape[-1], *map(len, outputs))
        estimates = torch.from_numpy(np.stack([output[:frames] for output in outputs]))[None]
        mixture = estimates.sum(1)
        scores = separation_scores(estimates, torch.from_numpy(references[None, :, :frames].copy()), mixture)
        improvements.append(scores.si_snri.item())
        inputs.append(scores.input_si_snr.item())
    return {
        "recordings": len(names),
        "si_snri": round(float(np.mean(improvements)), 2),
        "input_si_snr": round(float(np.mean(inputs)), 2),
    }


def main() -> None:
    """Make, train, separate, score."""
    speech, noise, output = map(Path, sys.argv[1:4])
    make_folder(speech, noise, output)
    words = ["recipe=own-recordings", f"data={output}/recordings", f"separate_into={output}/separated", *sys.argv[4:]]
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "mixit_lightning.cli", "train", *words], check=True)
    took = time.monotonic() - start
    config = load_config(words)
    checkpoint = config.folder / "checkpoints" / "best.ckpt"
    settings = [f"checkpoint={checkpoint}", f"input={output}/strangers", f"output={output}/separated-strangers"]
    subprocess.run([sys.executable, "-m", "mixit_lightning.cli", "separate", *settings], check=True)
    splits = build(config.settings, "datamodule").splits
    held_out = sorted(Path(recording.name).stem for recording in splits["test"])
    strangers = sorted(path.stem for path in (output / "hidden" / "strangers").iterdir())
    summary = {
        "held_out": score(output / "separated", output / "hidden" / "recordings", held_out),
        "strangers": score(output / "separated-strangers", output / "hidden" / "strangers", strangers),
        "selection_rule": "best outputs, one a source, whole recordings, first channel, mean over recordings; "
        f"checkpoint with the lowest {config.settings.selection}",
        "run": str(config.folder),
        "settings": sys.argv[4:],
        "wall_time": round(took, 1),
        **provenance(),
    }
    (output / "scores.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
