"""How much faster is `prepare` than the public scripts' way of making the same files?

The public way, written here once more in its plainest form: scipy's resample_poly and soundfile, one mixture at a time.
For wsj0-2mix, one pass for every sample rate, in which both modes are made (pywsj0-mix); for Libri2Mix, one pass for
every sample rate and mode, in which everything is read again (LibriMix). Both sides write the same files from the same
generated corpus; their samples are compared. They take turns, and the figure is the ratio of the medians.

    python benchmarks/preparation.py [--rows 60] [--rounds 5]
"""

import argparse
import contextlib
import io
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from scipy.signal import resample_poly

from mixit_lightning.config import ROOT
from mixit_lightning.pool import num_cores
from mixit_lightning.run import commit, hardware

sys.path[:0] = [str(ROOT / "recipes" / name) for name in ("wsj0-2mix", "libri2mix")]

import libri2mix_preparation  # noqa: E402
import wsj0_2mix_preparation  # noqa: E402

RATES, MODES = (8000, 16000), ("min", "max")


def speech(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Noise that comes and goes, 16 kHz."""
    time = np.arange(round(16000 * seconds)) / 16000
    return 0.05 * rng.standard_normal(len(time)) * (1.1 + np.sin(2 * np.pi * 3 * time))


def make_wsj0(root: Path, rows: int) -> None:
    """A tree and lists in the layout of the real ones; utterances last 4 to 10 s, as most of WSJ0's."""
    rng = np.random.default_rng(0)
    (root / "lists").mkdir(parents=True)
    levels, lines = [], {"tr": [], "cv": [], "tt": []}
    for row in range(rows):
        words = []
        for number in range(2):
            name = f"{100 + 2 * row + number:03}c0{number:03}"
            path = root / "wsj0" / "si_tr_s" / name[:3] / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, speech(rng, rng.uniform(4, 10)), 16000, subtype="PCM_16")
            levels.append(f"{name} {0.0025:.17e}")
            words += [f"wsj0/si_tr_s/{name[:3]}/{name}.wav", "1.5" if number == 0 else "-1.5"]
        lines["tr"].append(" ".join(words))
    for split in lines:
        (root / "lists" / f"mix_2_spk_{split}.txt").write_text("\n".join(lines[split]) + "\n")
    (root / "lists" / "activlev_si_tr_s.txt").write_text("\n".join(levels) + "\n")


def public_wsj0(root: Path, target: Path) -> None:
    """One mixture after another, in a pass for every rate."""
    levels = {line.split()[0]: float(line.split()[1]) for line in (root / "lists/activlev_si_tr_s.txt").open()}
    for rate in RATES:
        for line in (root / "lists/mix_2_spk_tr.txt").open():
            words = line.split()
            stems = [Path(word).stem for word in words[::2]]
            sources = [
                resample_poly(soundfile.read(root / word, dtype="float32")[0], rate, 16000) for word in words[::2]
            ]
            longest, shortest = max(map(len, sources)), min(map(len, sources))
            padded = [np.hstack([source, np.zeros(longest - len(source))]) for source in sources]
            scaled = np.stack(
                [
                    source / np.sqrt(levels[stem]) * 10 ** (float(level) / 20)
                    for source, stem, level in zip(padded, stems, words[1::2], strict=True)
                ]
            )
            name = "_".join([stems[0], words[1], stems[1], words[3]])
            for mode in MODES:
                cut = scaled[:, :shortest] if mode == "min" else scaled
                mixture = cut.sum(0)
                gain = max(1, np.abs(mixture).max(), np.abs(cut).max()) / 0.9
                for part, signal in zip(("mix", "s1", "s2"), (mixture, *cut), strict=True):
                    path = target / "2speakers" / f"wav{rate // 1000}k" / mode / "tr" / part / f"{name}.wav"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    soundfile.write(path, np.round(2**15 * signal / gain).astype(np.int16), rate, subtype="PCM_16")


def our_wsj0(root: Path, target: Path) -> None:
    """`mixit prepare recipe=wsj0-2mix`."""
    wsj0_2mix_preparation.prepare(str(target), str(root), str(root / "lists"), 2, RATES, MODES)


def make_libri(root: Path, rows: int) -> None:
    """Recordings, noise and metadata in the layout of the real ones; utterances last 8 to 16 s, as LibriSpeech's."""
    rng = np.random.default_rng(1)
    table = []
    for row in range(rows):
        names = [f"{1000 + 2 * row + number}-1-0000" for number in range(2)]
        paths = [f"dev-clean/{name.split('-')[0]}/1/{name}.flac" for name in names]
        for path in paths:
            (root / "LibriSpeech" / path).parent.mkdir(parents=True)
            soundfile.write(root / "LibriSpeech" / path, speech(rng, rng.uniform(8, 16)), 16000)
        noise = root / "wham_noise" / "cv" / f"{row}.wav"
        noise.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(noise, 0.02 * rng.standard_normal((16000 * 12, 2)), 16000, subtype="PCM_16")
        table.append(["_".join(names), paths[0], 0.8, paths[1], 0.7, f"cv/{row}.wav", 0.5])
    columns = [
        "mixture_ID",
        "source_1_path",
        "source_1_gain",
        "source_2_path",
        "source_2_gain",
        "noise_path",
        "noise_gain",
    ]
    (root / "metadata").mkdir()
    pd.DataFrame(table, columns=columns).to_csv(root / "metadata" / "libri2mix_dev-clean.csv", index=False)


def public_libri(root: Path, target: Path) -> None:
    """One mixture after another, in a pass for every rate and mode."""
    table = pd.read_csv(root / "metadata" / "libri2mix_dev-clean.csv")
    for rate in RATES:
        for mode in MODES:
            folder = target / "Libri2Mix" / f"wav{rate // 1000}k" / mode / "dev"
            for _, row in table.iterrows():
                paths = [root / "LibriSpeech" / row[f"source_{number}_path"] for number in (1, 2)]
                sources = [soundfile.read(path, dtype="float32")[0] for path in paths]
                longest = max(map(len, sources))
                noise_path = root / "wham_noise" / row["noise_path"]
                noise = soundfile.read(noise_path, dtype="float32", stop=longest)[0][:, 0]
                if len(noise) < longest:
                    noise = libri2mix_preparation.read_noise(noise_path, longest)
                gains = [row["source_1_gain"], row["source_2_gain"], row["noise_gain"]]
                signals = [
                    resample_poly(x * gain, rate, 16000) for x, gain in zip([*sources, noise], gains, strict=True)
                ]
                shortest, longest = min(map(len, signals)), max(map(len, signals))
                if mode == "min":
                    signals = [signal[:shortest] for signal in signals]
                else:
                    signals = [np.pad(signal, (0, longest - len(signal))) for signal in signals]
                parts = dict(zip(("s1", "s2", "noise"), signals, strict=True))
                for kind, names in (("clean", ["s1", "s2"]), ("both", [*parts]), ("single", ["s1", "noise"])):
                    mixture = np.zeros_like(parts["s1"])
                    for name in names:
                        mixture += parts[name]
                    parts[f"mix_{kind}"] = mixture
                for part, signal in parts.items():
                    path = folder / part / f"{row['mixture_ID']}.wav"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    soundfile.write(path, signal, rate)


def our_libri(root: Path, target: Path) -> None:
    """`mixit prepare recipe=libri2mix`."""
    libri2mix_preparation.prepare(
        str(target),
        str(root / "LibriSpeech"),
        str(root / "wham_noise"),
        str(root / "metadata"),
        ["dev"],
        ["clean", "both", "single"],
        RATES,
        MODES,
        False,
    )


def seconds(make: Callable[[Path, Path], None], root: Path, target: Path) -> float:
    """Time of one preparation from nothing."""
    shutil.rmtree(target, ignore_errors=True)
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        make(root, target)
    return time.perf_counter() - start


def check_same(one: Path, other: Path) -> int:
    """Compare all samples; the number of files."""
    paths = sorted(path.relative_to(one) for path in one.rglob("*.wav"))
    assert paths == sorted(path.relative_to(other) for path in other.rglob("*.wav"))
    for path in paths:
        assert np.array_equal(soundfile.read(one / path)[0], soundfile.read(other / path)[0]), path
    return len(paths)


def main() -> None:
    """Measure both corpora."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the files go: the disk matters; default: temporary files")
    arguments = parser.parse_args()
    print(f"commit {commit()}, {num_cores()} cores, {hardware()['cpu']}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for corpus, make, public, ours in (
            ("wsj0-2mix", make_wsj0, public_wsj0, our_wsj0),
            ("Libri2Mix", make_libri, public_libri, our_libri),
        ):
            root = Path(folder) / corpus
            make(root, arguments.rows)
            targets = {public: root / "public", ours: root / "ours"}
            times: dict[Callable[[Path, Path], None], list[float]] = {public: [], ours: []}
            for number in range(arguments.rounds):
                # Who goes first changes, so that what one warms up does not always help the other.
                for way in (public, ours) if number % 2 == 0 else (ours, public):
                    times[way].append(seconds(way, root, targets[way]))
            files = check_same(targets[public], targets[ours])
            medians = {way: statistics.median(times[way]) for way in times}
            ratios = [a / b for a, b in zip(times[public], times[ours], strict=True)]
            print(
                f"{corpus}: {arguments.rows} mixtures, {files} files, {arguments.rounds} rounds: "
                f"public way {medians[public]:.2f} s, prepare {medians[ours]:.2f} s, "
                f"ratio {medians[public] / medians[ours]:.2f} (rounds {min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
