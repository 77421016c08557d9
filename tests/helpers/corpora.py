"""Small corpora of generated recordings, laid out as recipes expect them."""

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from mixit_lightning.rooms import make_bank


def syllables(seed: int, seconds: float, sample_rate: int) -> np.ndarray:
    """Noise that comes and goes, below full scale."""
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal(round(seconds * sample_rate))
    time = np.arange(len(samples)) / sample_rate
    return 0.05 * samples * (1.1 + np.sin(2 * np.pi * (rng.uniform(2, 5) * time + rng.random())))


def write(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), samples, sample_rate, subtype="PCM_16")


def make_speech(folder: Path) -> Path:
    """`<split>/<speaker>/`, three speakers of two recordings each, of 0.6 to 0.85 s at 16 kHz."""
    for split_number, split in enumerate(("train", "valid", "test")):
        for number in range(6):
            seed = 10 * split_number + number
            name = f"{split}/{split}-{number // 2}/{seed:02}.{'wav' if number % 2 else 'flac'}"
            write(folder / name, syllables(seed, 0.6 + 0.05 * number, 16000), 16000)
    return folder


def make_two_speakers(folder: Path, sample_rate: int, mode: str) -> Path:
    """`2speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2}` or another of its kind, four, two and two mixtures."""
    root = folder / "2speakers" / f"wav{sample_rate // 1000}k" / mode
    for split_number, (split, count) in enumerate({"tr": 4, "cv": 2, "tt": 2}.items()):
        for number in range(count):
            seed = 100 * split_number + 2 * number
            seconds = 0.45 + 0.1 * number  # one is shorter than the crops
            first, second = (syllables(seed + k, seconds, sample_rate) for k in range(2))
            name = f"{seed:03}c0001_1.5_{seed + 1:03}c0001_-1.5"
            if mode == "max":
                second[len(second) // 2 :] = 0
            for part, samples in (("s1", first), ("s2", second), ("mix", first + second)):
                write(root / split / part / f"{name}.wav", samples, sample_rate)
    return folder


def make_libri2mix(folder: Path, sample_rate: int = 8000, train: str = "train-100") -> Path:
    """`Libri2Mix/wav8k/min/{train-100,dev,test}/{mix_clean,s1,s2,...}`, four, two and two mixtures."""
    root = folder / "Libri2Mix" / f"wav{sample_rate // 1000}k" / "min"
    for split_number, (split, count) in enumerate({train: 4, "dev": 2, "test": 2}.items()):
        for number in range(count):
            seed = 100 * split_number + 2 * number
            first, second, noise = (syllables(seed + k, 0.45 + 0.1 * number, sample_rate) for k in range(3))
            name = f"{1000 + seed}-1-0000_{1001 + seed}-1-0000.wav"
            mixtures = {"clean": first + second, "both": first + second + noise, "single": first + noise}
            parts = {"s1": first, "s2": second, "noise": noise}
            for part, samples in (parts | {f"mix_{kind}": mixture for kind, mixture in mixtures.items()}).items():
                write(root / split / part / name, samples, sample_rate)
    return folder


def make_noisy(folder: Path) -> Path:
    """`{noisy,clean,speech,noise}/{train,valid,test}/`, four recordings of each at 16 kHz, noise the shortest."""
    for split_number, split in enumerate(("train", "valid", "test")):
        for number in range(4):
            seed = 1000 * split_number + 10 * number
            seconds = 0.7 + 0.05 * number
            clean, noise = syllables(seed, seconds, 16000), syllables(seed + 1, seconds, 16000)
            write(folder / "clean" / split / "a" / f"noisy{seed}.wav", clean, 16000)
            write(folder / "noisy" / split / "a" / f"noisy{seed}.wav", clean + noise / 16, 16000)
            write(folder / "speech" / split / "b" / f"speech{seed}.wav", syllables(seed + 2, seconds, 16000), 16000)
            write(folder / "noise" / split / f"noise{seed}.wav", syllables(seed + 3, 0.6, 16000), 16000)
    return folder


def make_fuss(folder: Path, name: str = "ssdata") -> Path:
    """`ssdata/` with its lists, one to four sources an example, of 0.8 s at 16 kHz."""
    root = folder / name
    for split_number, (split, count) in enumerate({"train": 8, "validation": 4, "eval": 4}.items()):
        lines = []
        for number in range(count):
            seed = 1000 * split_number + 10 * number
            names = ["background0", *(f"foreground{place}" for place in range(number % 4))]
            files = {f"{split}/example{number:05}_sources/{part}_sound.wav": seed + k for k, part in enumerate(names)}
            # In whole steps, so that the sum is exact.
            sources = {path: np.round(syllables(k, 0.8, 16000) * 2**14) / 2**15 for path, k in files.items()}
            for path, samples in sources.items():
                write(root / path, samples, 16000)
            write(root / f"{split}/example{number:05}.wav", np.sum(list(sources.values()), axis=0), 16000)
            lines.append("\t".join([f"{split}/example{number:05}.wav", *files]))
        (root / f"{split}_example_list.txt").write_text("\n".join(lines) + "\n")
    return folder


OWN_FORMATS = [(".wav", 16000, 1), (".flac", 44100, 2), (".ogg", 48000, 1), (".mp3", 16000, 1), (".aiff", 22050, 3)]
"""In turns: suffix, rate (Hz), channels."""


def make_own(folder: Path) -> Path:
    """Fifteen recordings of 1.1 to 2.5 s in several formats, rates and numbers of channels, and six that are no use."""
    for number in range(15):
        suffix, rate, channels = OWN_FORMATS[number % len(OWN_FORMATS)]
        parts = [syllables(10 * number + channel, 1.1 + 0.1 * number, rate) for channel in range(channels)]
        path = folder / f"day{number // 8}" / f"{number:02}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.stack(parts, axis=1), rate)
    odd = folder / "odd"
    write(odd / "silent.wav", np.zeros(32000), 16000)
    write(odd / "short.wav", syllables(900, 0.2, 16000), 16000)
    write(odd / "telephone.wav", syllables(901, 1.5, 8000), 8000)
    write(odd / "whole.flac", syllables(902, 1.5, 16000), 16000)
    (odd / "cut-off.flac").write_bytes((odd / "whole.flac").read_bytes()[:9000])
    (odd / "whole.flac").unlink()
    (odd / "letter.wav").write_text("Dear all,")
    (odd / "again.wav").write_bytes((folder / "day0" / "00.wav").read_bytes())
    return folder


def make_rooms(path: Path, sample_rate: int) -> Path:
    make_bank(
        str(path),
        sample_rate=sample_rate,
        counts={"train": 3, "valid": 1, "test": 2},
        size=[(3, 5), (3, 5), (2.5, 3)],
        rt60=(0.15, 0.2),
        distance=(0.5, 2),
        height=(1, 2),
        clearance=0.5,
        num_sources=2,
        seed=0,
    )
    return path


def make_recordings(folder: Path, count: int = 4) -> Path:
    """Recordings of a second and a half, at 16 kHz."""
    for number in range(count):
        write(folder / f"own{number}.wav", syllables(100 + number, 1.5, 16000), 16000)
    return folder


WSJ0 = {
    "tr": [("si_tr_s/01t/01to030v", "1.9857"), ("si_tr_s/40n/40na010x", "-1.9857")],
    "cv": [("si_tr_s/40n/40na010x", "0.062866"), ("si_tr_s/20g/20ga010m", "-0.062866")],
    "tt": [("si_et_05/445/445c0206", "0.4"), ("si_dt_05/22g/22gc0105", "-0.4")],
}
"""A mixture a split."""

LIBRI = {
    "train-clean-100": ("103/1/103-1-0000", "1034/2/1034-2-0003", "tr/a.wav"),
    "dev-clean": ("84/5/84-5-0001", "174/6/174-6-0000", "cv/b.wav"),
    "test-clean": ("61/7/61-7-0002", "121/8/121-8-0000", "tt/c.wav"),
}
"""A mixture a subset: both utterances and the noise."""


def make_wsj0(folder: Path, mixtures: int = 1) -> Path:
    """`wsj0/` converted to WAV, and `lists/`; further mixtures are of the same utterances at other levels."""
    names = dict.fromkeys(name for row in WSJ0.values() for name, _ in row)
    for number, name in enumerate(names):
        write(folder / "wsj0" / f"{name}.wav", syllables(number, 0.3 + 0.05 * number, 16000), 16000)
    (folder / "lists").mkdir()
    for split, row in WSJ0.items():
        lines = [
            " ".join(word for name, level in row for word in (f"wsj0/{name}.wav", f"{float(level) + number:g}"))
            for number in range(mixtures)
        ]
        (folder / "lists" / f"mix_2_spk_{split}.txt").write_text("\n".join(lines) + "\n")
    levels = [f"{Path(name).name} {0.002 * (1 + number):.8e}" for number, name in enumerate(names)]
    (folder / "lists" / "activlev.txt").write_text("\n".join(levels) + "\n")
    return folder


def make_libri(folder: Path) -> Path:
    """`LibriSpeech/`, `wham_noise/` and `metadata/`."""
    (folder / "metadata").mkdir(parents=True)
    for number, (subset, (*speech, noise)) in enumerate(LIBRI.items()):
        row = {"mixture_ID": "_".join(Path(name).name for name in speech)}
        for source, name in enumerate(speech, 1):
            write(folder / f"LibriSpeech/{subset}/{name}.flac", syllables(10 * number + source, 0.8, 16000), 16000)
            row |= {f"source_{source}_path": f"{subset}/{name}.flac", f"source_{source}_gain": 0.5 * source}
        write(folder / "wham_noise" / noise, syllables(10 * number + 5, 1.0, 16000), 16000)
        table = pd.DataFrame([row | {"noise_path": noise, "noise_gain": 0.8}])
        table.to_csv(folder / "metadata" / f"libri2mix_{subset}.csv", index=False)
    return folder
