"""wsj0-2mix (and wsj0-3mix) from WSJ0 and the standard lists, sample for sample as the public scripts make it.

Source: Hershey et al., "Deep Clustering: Discriminative Embeddings for Segmentation and Separation", ICASSP 2016; the
arithmetic is that of the scripts of MERL and of pywsj0-mix.
"""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track

from mixit_lightning.audio.opening import read, read_header
from mixit_lightning.corpora.mixing import (
    SOURCE_RATE,
    Mode,
    at_rate,
    check_choice,
    fit,
    folders_of,
    mixture_job,
    write_wav,
)
from mixit_lightning.corpora.sphere import read_sphere, sphere_header, whole
from mixit_lightning.errors import UserError
from mixit_lightning.jobs import run_jobs
from mixit_lightning.reading import read_text

SPLITS = ("tr", "cv", "tt")
PARTS = ("si_tr_s", "si_dt_05", "si_et_05")
"""The folders of WSJ0 that the lists name."""


class ListRow(NamedTuple):
    """A row of a mixing list."""

    utterances: tuple[str, ...]
    """Utterances, such as `si_tr_s/01t/01to030v`."""
    levels: tuple[float, ...]
    """Levels in dB."""
    name: str
    """Name of the files that are made of it: the list's own digits, as the standard set has them."""


def prepare(
    data: str,
    wsj0: str | None,
    lists: str | None,
    num_speakers: int,
    sample_rates: Sequence[int],
    modes: Sequence[Mode],
) -> None:
    """Make `<data>/<num_speakers>speakers/wav{8k,16k}/{min,max}/{tr,cv,tt}/{mix,s1,s2}`.

    Args:
        data: where to.
        wsj0: WSJ0 as LDC delivers it (`.wv1`), or converted to 16 kHz WAV; any folder with `si_tr_s/` etc. below it.
        lists: a folder with `mix_2_spk_{tr,cv,tt}.txt` and the active levels `activlev*.txt` below it.
        num_speakers: 2 or 3.
        sample_rates: Hz, of 8000 and 16000.
        modes: of `min` and `max`.

    Raises:
        UserError: a list or a recording is missing or wrong, or the disk is too full.
    """
    if wsj0 is None or lists is None:
        raise UserError("prepare needs wsj0=PATH (the corpus) and lists=PATH (mix_2_spk_*.txt and activlev*.txt)")
    check_choice("num_speakers", [num_speakers], [2, 3])
    check_choice("preparation.sample_rates", sample_rates, [8000, 16000])
    check_choice("preparation.modes", modes, ["min", "max"])
    active_levels = read_active_levels(Path(lists))
    rows = [(split, row) for split in SPLITS for row in read_list(Path(lists), num_speakers, split)]
    wanted = {utterance for _, row in rows for utterance in row.utterances}
    paths = find_utterances(Path(wsj0), wanted)
    frames = {
        utterance: num_frames(path)
        for utterance, path in track(paths.items(), "Reading lengths", total=len(paths), transient=True)
    }
    root = Path(data) / f"{num_speakers}speakers"
    jobs = []
    for split, row in rows:
        missing = [name for name in row.utterances if Path(name).name not in active_levels]
        if missing:
            raise UserError(f"{lists}: no active level of {Path(missing[0]).name} in activlev*.txt")
        folders = folders_of(root, split, sample_rates, modes)
        scales = [active_levels[Path(name).name] for name in row.utterances]
        sources = tuple(paths[name] for name in row.utterances)
        key = [split, *sample_rates, *modes, row.name, *scales, *sources]
        make = partial(make_mixture, sources, scales, row.levels, folders, row.name)
        lengths = [frames[name] for name in row.utterances]
        jobs.append(mixture_job(row.name, ["mix", *source_names(len(sources))], folders, lengths, key, make))
    run_jobs(jobs, root)


def make_mixture(
    paths: Sequence[Path],
    active_levels: Sequence[float],
    levels: Sequence[float],
    folders: dict[tuple[int, Mode], Path],
    name: str,
) -> None:
    """Read the utterances once, and write mixture and sources for every rate and mode.

    Every utterance is brought to its level above active speech of power 1. A mixture and its sources then share one
    gain, by which the largest sample of all of them, or 1 if that is larger, comes to 0.9.
    """
    utterances = [read_utterance(path) for path in paths]
    for rate in sorted({rate for rate, _ in folders}):
        scaled = [
            at_rate(samples, SOURCE_RATE, rate).astype(np.float64) / np.sqrt(active) * 10 ** (level / 20)
            for samples, active, level in zip(utterances, active_levels, levels, strict=True)
        ]
        for mode in (mode for of, mode in folders if of == rate):
            sources = np.stack(fit(scaled, mode))
            mixture = sources.sum(0)
            gain = max(1.0, np.abs(mixture).max(), np.abs(sources).max()) / 0.9
            for part, signal in zip(("mix", *source_names(len(paths))), (mixture, *sources), strict=True):
                # Rounded to the nearest of 2^15 steps, as MATLAB's wavwrite does and soundfile does not.
                steps = np.round(2**15 * (signal / gain)).astype(np.int16)
                write_wav(folders[rate, mode] / part / f"{name}.wav", steps, rate)


def source_names(number: int) -> list[str]:
    """Folders of the sources."""
    return [f"s{n}" for n in range(1, number + 1)]


def read_list(lists: Path, num_speakers: int, split: str) -> list[ListRow]:
    """Rows of a mixing list, `path1 level1 path2 level2 ...`.

    Raises:
        UserError: there is no list, or a row is not of that form.
    """
    path = find_one(lists, f"mix_{num_speakers}_spk_{split}.txt")
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            levels = tuple(float(word) for word in words[1::2])
            utterances = tuple("/".join(Path(word).with_suffix("").parts[-3:]) for word in words[::2])
        except ValueError:
            levels, utterances = (), ()
        if len(levels) != num_speakers or len(utterances) != num_speakers or not np.isfinite(levels).all():
            raise UserError(
                f"{path}, row {number}: must be {num_speakers} times a path and a level, but is {line[:200]!r}"
            )
        stems = [Path(utterance).name for utterance in utterances]
        name = "_".join(word for pair in zip(stems, words[1::2], strict=True) for word in pair)
        rows.append(ListRow(utterances, levels, name))
    return rows


def read_active_levels(lists: Path) -> dict[str, float]:
    """Power of active speech by utterance, from all `activlev*.txt`.

    Raises:
        UserError: there is none, or a row is not an utterance and a positive number.
    """
    paths = sorted(lists.rglob("activlev*.txt"))
    if not paths:
        raise UserError(f"{lists}: no activlev*.txt (the active levels of the utterances) in it")
    levels = {}
    for path in paths:
        for number, line in enumerate(read_text(path).splitlines(), 1):
            if not line.strip():
                continue
            try:
                name, level = line.split()
                levels[name] = float(level)
                valid = 0 < levels[name] < float("inf")
            except ValueError:
                valid = False
            if not valid:
                raise UserError(
                    f"{path}, row {number}: must be an utterance and a positive number, but is {line[:200]!r}"
                )
    return levels


def find_one(folder: Path, name: str) -> Path:
    """The file of that name below a folder."""
    found = sorted(folder.rglob(name)) if folder.is_dir() else []
    if not found:
        raise UserError(f"{folder}: no {name} in it; lists=PATH is the folder of the standard mixing lists")
    return found[0]


def find_utterances(wsj0: Path, wanted: set[str]) -> dict[str, Path]:
    """Paths of the utterances, below whatever folders LDC's discs or a conversion put them, upper or lower case.

    An original `.wv1` is taken before a conversion.

    Raises:
        UserError: one is missing, or only the other microphone's recording (`.wv2`) of it is there.
    """
    found: dict[str, Path] = {}
    for path in audio_below(wsj0):
        key = "/".join(part.lower() for part in path.with_suffix("").parts[-3:])
        suffix = path.suffix.lower()
        if key not in found or suffix == ".wv1" or found[key].suffix.lower() == ".wv2":
            found[key] = path
    for utterance in sorted(wanted):
        if utterance not in found:
            raise UserError(f"{wsj0}: no {utterance}.wv1 or .wav below it; wsj0=PATH is the folder of the corpus")
        if found[utterance].suffix.lower() == ".wv2":
            raise UserError(
                f"{found[utterance]}: is the second microphone (wv2); the standard set is made of wv1, which costs "
                "4 dB when mistaken"
            )
    return {utterance: found[utterance] for utterance in wanted}


def audio_below(wsj0: Path) -> Iterator[Path]:
    """All recordings in the folders that the lists name; other parts of the corpus are not searched."""
    for parent, folders, names in os.walk(wsj0, followlinks=True):
        depth_found = any(part.lower() in PARTS for part in Path(parent).parts)
        if not depth_found and any(folder.lower() in PARTS for folder in folders):
            folders[:] = [folder for folder in folders if folder.lower() in PARTS]
        if depth_found:
            yield from (Path(parent, name) for name in names if name.lower().endswith((".wv1", ".wv2", ".wav")))


def num_frames(path: Path) -> int:
    """Length of an utterance in samples, from its header.

    Raises:
        UserError: it is not at 16 kHz.
    """
    if path.suffix.lower() == ".wav":
        frames, rate = read_header(path)
    else:
        header = sphere_header(path)
        frames, rate = (whole(path, header, name) for name in ("sample_count", "sample_rate"))
    if rate != SOURCE_RATE:
        raise UserError(f"{path}: {rate} Hz; the standard set is made of WSJ0 at 16000 Hz")
    return frames


def read_utterance(path: Path) -> np.ndarray:
    """Samples `(time,)` as float32."""
    return read(path) if path.suffix.lower() == ".wav" else read_sphere(path)
