"""A set in the layout of FUSS, made of anyone's sounds: backgrounds that last, foregrounds that happen in them.

The rules are those of the FUSS scripts (google-research/sound-separation, datasets/fuss): one background, none to three
foregrounds at a random ratio to it, in files of ten seconds. Levels are RMS instead of loudness.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from fuss import FOLDERS
from mixit_lightning.corpora.mixing import WAV_HEADER, write_wav
from mixit_lightning.data import RecordingPool
from mixit_lightning.data.mixture import generator
from mixit_lightning.data.recordings import QUIET
from mixit_lightning.errors import UserError
from mixit_lightning.files import replacing
from mixit_lightning.jobs import Job, run_jobs

BACKGROUND_RMS = 10 ** (-45 / 20)
"""Room for three foregrounds 25 dB above it."""

PEAK = 0.9
"""An example that would be louder is made softer as a whole."""


def prepare(
    data: str,
    backgrounds: str | None,
    foregrounds: str | None,
    splits: Sequence[str],
    counts: Sequence[int],
    duration: float,
    sample_rate: int,
    max_foregrounds: int,
    snr: Sequence[float],
    seed: int,
) -> None:
    """Make `<data>/ssdata/{train,validation,eval}/example*.wav`, `..._sources/` and `*_example_list.txt`.

    Args:
        data: where to.
        backgrounds: folder of sounds that last, by split; repeated where they are too short.
        foregrounds: folder of sounds that happen, by split; cut where they are too long.
        splits: names of the folders of training, validation and test below these two.
        counts: examples of the three.
        duration: seconds of an example.
        sample_rate: Hz.
        max_foregrounds: foregrounds of an example are uniformly many, from none to this.
        snr: dB, lowest and highest; RMS of a foreground to that of the background.
        seed: of the random examples.

    Raises:
        UserError: a folder is missing or has too few sounds, a recording is damaged or silent, or the disk is too full.
    """
    if backgrounds is None or foregrounds is None:
        raise UserError("prepare needs backgrounds=PATH and foregrounds=PATH, which hold a folder for every split")
    if len(snr) != 2 or not snr[0] <= snr[1]:
        raise UserError(f"preparation.snr={list(snr)} must be the lowest and the highest ratio in dB")
    if len(splits) != len(FOLDERS) or len(counts) != len(FOLDERS) or min(counts) < 1:
        raise UserError("preparation.splits and preparation.counts must name training, validation and test, all three")
    root = Path(data) / "ssdata"
    length = round(duration * sample_rate)
    what = f"{backgrounds} {foregrounds} {length} {sample_rate} {max_foregrounds} {list(snr)} {seed}"
    jobs: list[Job] = []
    lists: dict[str, list[list[Path]]] = {}
    for number, (split, folder, count) in enumerate(zip(splits, FOLDERS.values(), counts, strict=True)):
        lasting = RecordingPool.of_folder(Path(backgrounds, split), sample_rate, repeats=True)
        happening = RecordingPool.of_folder(Path(foregrounds, split), sample_rate)
        if len(happening.groups) < max_foregrounds:
            raise UserError(
                f"{Path(foregrounds, split)}: {len(happening.groups)} sounds, fewer than "
                f"preparation.max_foregrounds={max_foregrounds}; lower it or add some"
            )
        lists[folder] = []
        for example in range(count):
            # Drawn here, so that the files are known before they are made.
            num_foregrounds = int(generator(seed, number, example).integers(max_foregrounds + 1))
            stem = root / folder / f"example{example:0{len(str(count))}d}"
            names = ["background0", *(f"foreground{index}" for index in range(num_foregrounds))]
            files = [Path(f"{stem}.wav"), *(Path(f"{stem}_sources", f"{name}_sound.wav") for name in names)]
            lists[folder].append(files)
            seeds = (seed, number, example, 1)
            make = partial(make_example, lasting, happening, files, length, (snr[0], snr[1]), seeds)
            jobs.append(Job(f"{what} {split}", files, len(files) * (WAV_HEADER + 2 * length), make))
    run_jobs(jobs, root)
    for folder, examples in lists.items():
        with replacing(root / f"{folder}_example_list.txt") as partial_list:
            lines = ["\t".join(str(path.relative_to(root)) for path in files) for files in examples]
            partial_list.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_example(
    lasting: RecordingPool,
    happening: RecordingPool,
    files: Sequence[Path],
    length: int,
    snr: tuple[float, float],
    seeds: Sequence[int],
) -> None:
    """Write one mixture and its sources."""
    rng = generator(*seeds)
    num_foregrounds = len(files) - 2
    sources = [BACKGROUND_RMS * draw_background(lasting, rng, length)]
    for index in rng.choice(len(happening.groups), num_foregrounds, replace=False):
        _, sound = happening.draw(happening.groups[index], rng, None)
        # The clip includes its loudest moment, wherever it begins and ends.
        loudest = int(np.abs(sound).argmax())
        earliest = max(min(0, length - len(sound)), -loudest)
        start = int(rng.integers(earliest, length - loudest))
        source = np.zeros(length, dtype=np.float32)
        inside = sound[max(0, -start) : length - start]
        source[max(0, start) :][: len(inside)] = BACKGROUND_RMS * 10 ** (rng.uniform(*snr) / 20) * inside
        sources.append(source)
    peak = max(float(np.abs(signal).max()) for signal in [*sources, np.sum(sources, axis=0)])
    steps = [np.round(signal * min(1.0, PEAK / peak) * 2**15) / 2**15 for signal in sources]
    # Rounded before they are added, so that sources add up to their mixture exactly.
    for path, signal in zip(files, [np.sum(steps, axis=0), *steps], strict=True):
        write_wav(path, signal, happening.sample_rate)


def draw_background(lasting: RecordingPool, rng: np.random.Generator, length: int) -> np.ndarray:
    """A crop with sound at RMS 1; recordings may have silence in them.

    Raises:
        UserError: there is hardly anything but silence.
    """
    for _ in range(20):
        name, background = lasting.draw_any(rng, length)
        rms = float(np.sqrt(np.mean(np.square(background, dtype=np.float64))))
        if rms > QUIET:
            return background / rms
    raise UserError(f"{name}: backgrounds must last, but this one and others are silent most of the time; remove them")
