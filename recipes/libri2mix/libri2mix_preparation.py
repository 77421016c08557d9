"""Libri2Mix from LibriSpeech, WHAM! noise and the public metadata, sample for sample as the public script makes it.

Source: Cosentino et al., "LibriMix: An Open-Source Dataset for Generalizable Speech Separation", arXiv 2005.11262.
"""

import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from rich.progress import track

from libri2mix import PARTS
from mixit_lightning.audio.opening import opened, read, read_block, read_header
from mixit_lightning.config import first_line
from mixit_lightning.corpora.download import download_librispeech
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
from mixit_lightning.data.recordings import repeat
from mixit_lightning.errors import UserError
from mixit_lightning.files import replacing
from mixit_lightning.jobs import Job, run_jobs
from mixit_lightning.reading import delimiter_of, listed, read_text

SUBSETS = {
    "train-100": "train-clean-100",
    "train-360": "train-clean-360",
    "dev": "dev-clean",
    "test": "test-clean",
}
"""LibriSpeech's subset of every split."""


class MetadataRow(NamedTuple):
    """A row of the public metadata."""

    mixture_id: str
    sources: tuple[str, str]
    """Paths below `LibriSpeech/`."""
    gains: tuple[float, float]
    noise: str
    """Path below `wham_noise/`."""
    noise_gain: float


def prepare(
    data: str,
    librispeech: str | None,
    wham: str | None,
    metadata: str | None,
    splits: Sequence[str],
    types: Sequence[str],
    sample_rates: Sequence[int],
    modes: Sequence[Mode],
    download: bool,
) -> None:
    """Make `<data>/Libri2Mix/wav{8k,16k}/{min,max}/<split>/{mix_clean,mix_both,mix_single,s1,s2,noise}` and metadata.

    Args:
        data: where to.
        librispeech: the folder `LibriSpeech`, or the one that holds it.
        wham: the folder `wham_noise`, or the one that holds it; not needed for `types=[clean]`.
        metadata: a folder with `libri2mix_<subset>.csv` below it.
        splits: of `train-100`, `train-360`, `dev` and `test`; those without metadata are left out with a word.
        types: of `clean` (two speakers), `both` (two speakers and noise) and `single` (the first and noise).
        sample_rates: Hz, of 8000 and 16000.
        modes: of `min` and `max`.
        download: fetch what is missing of LibriSpeech first, into `librispeech`.

    Raises:
        UserError: metadata or a recording is missing or wrong, or the disk is too full.
    """
    noisy = any("noise" in PARTS[kind] for kind in types if kind in PARTS)
    if librispeech is None or metadata is None or (noisy and wham is None):
        raise UserError("prepare needs librispeech=PATH and metadata=PATH, and wham=PATH but for types=[clean]")
    check_choice("preparation.splits", splits, list(SUBSETS))
    check_choice("preparation.types", types, list(PARTS))
    check_choice("preparation.sample_rates", sample_rates, [8000, 16000])
    check_choice("preparation.modes", modes, ["min", "max"])
    tables = {split: find_metadata(Path(metadata), split) for split in splits}
    for split in [split for split, path in tables.items() if path is None]:
        print(f"{metadata}: no libri2mix_{SUBSETS[split]}.csv in it; {split} is left out")
        del tables[split]
    if not tables:
        raise UserError(f"{metadata}: no libri2mix_*.csv of {', '.join(splits)} below it")
    if download:
        download_librispeech(Path(librispeech), [SUBSETS[split] for split in tables])
    speech = find_folder(Path(librispeech), "LibriSpeech", [SUBSETS[split] for split in tables])
    noise = find_folder(Path(wham), "wham_noise", ["tr", "cv", "tt"]) if wham is not None and noisy else None

    root = Path(data) / "Libri2Mix"
    rows = [(split, row) for split, path in tables.items() if path for row in read_metadata(path)]
    jobs = [
        make_job(row, split, speech, noise, root, types, sample_rates, modes)
        for split, row in track(rows, "Reading lengths", transient=True)
    ]
    told = run_jobs(jobs, root)
    for rate in sample_rates:
        for mode in modes:
            folder = root / f"wav{rate // 1000}k" / mode
            for split in tables:
                facts = [facts[f"{rate} {mode}"] for (of, _), facts in zip(rows, told, strict=True) if of == split]
                ids = [row.mixture_id for of, row in rows if of == split]
                write_metadata(folder, split, types, ids, facts)


def make_job(
    row: MetadataRow,
    split: str,
    speech: Path,
    noise: Path | None,
    root: Path,
    types: Sequence[str],
    sample_rates: Sequence[int],
    modes: Sequence[Mode],
) -> Job:
    """The job that makes all files of one row."""
    paths = [speech / source for source in row.sources]
    folders = folders_of(root, split, sample_rates, modes)
    noise_path = noise / row.noise if noise else None
    if noise_path and not noise_path.is_file():
        raise UserError(f"{noise_path}: missing; wham=PATH is the folder wham_noise, with tr/, cv/ and tt/ in it")
    lengths = [num_frames(path) for path in paths]
    key = [split, *types, *sample_rates, *modes, *row, *paths, noise_path]
    make = partial(make_mixture, row, paths, noise_path, folders, types)
    return mixture_job(row.mixture_id, parts_of(types), folders, lengths, key, make)


def parts_of(types: Sequence[str]) -> list[str]:
    """Folders of a split."""
    sources = {"s1": 0, "s2": 0} | {part: 0 for kind in types for part in PARTS[kind]}
    return [*sources, *(f"mix_{kind}" for kind in types)]


def make_mixture(
    row: MetadataRow,
    paths: Sequence[Path],
    noise_path: Path | None,
    folders: dict[tuple[int, Mode], Path],
    types: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """Read the recordings once, and write mixtures and sources for every rate and mode.

    Returns:
        For every rate and mode: the length, and for every type the SNR (dB) of each of its sources against the others.
    """
    signals = {"s1": read(paths[0]), "s2": read(paths[1])}
    gains = {"s1": row.gains[0], "s2": row.gains[1], "noise": row.noise_gain}
    if noise_path:
        signals["noise"] = read_noise(noise_path, max(map(len, signals.values())))
    facts: dict[str, dict[str, Any]] = {}
    for rate in sorted({rate for rate, _ in folders}):
        resampled = [at_rate(signal * gains[part], SOURCE_RATE, rate) for part, signal in signals.items()]
        for mode in (mode for of, mode in folders if of == rate):
            folder = folders[rate, mode]
            sources = dict(zip(signals, fit(resampled, mode), strict=True))
            for part, signal in sources.items():
                write_wav(folder / part / f"{row.mixture_id}.wav", signal, rate)
            fact: dict[str, Any] = {"length": len(sources["s1"])}
            for kind in types:
                parts = PARTS[kind]
                mixture = np.zeros_like(sources["s1"])
                for part in parts:
                    mixture += sources[part]
                write_wav(folder / f"mix_{kind}" / f"{row.mixture_id}.wav", mixture, rate)
                fact[kind] = [snr(sources[part], mixture - sources[part]) for part in parts]
            facts[f"{rate} {mode}"] = fact
    return facts


def snr(signal: np.ndarray, rest: np.ndarray) -> float:
    """Signal-to-noise ratio in dB.

    In double precision, rounded to six decimals: the published metadata were computed in single precision, whose last
    digits, some 1e-6 dB, depend on the processor.
    """
    ratio = np.mean(signal**2, dtype=np.float64) / (np.mean(rest**2, dtype=np.float64) + 1e-10)
    return round(float(10 * np.log10(ratio + 1e-10)), 6)


def read_noise(path: Path, length: int) -> np.ndarray:
    """First channel of a noise, `length` samples; a shorter one is repeated with a cross-fade of half a second."""
    with opened(path) as sound:
        rate, noise = sound.file.samplerate, read_block(path, sound.file, length)[:, 0]
    if rate != SOURCE_RATE:
        raise UserError(f"{path}: {rate} Hz; Libri2Mix is made of WHAM! noise at 16000 Hz")
    try:
        return repeat(noise, length, SOURCE_RATE)
    except ValueError as error:
        raise UserError(f"{path}: {error}; replace it") from error


def write_metadata(
    folder: Path, split: str, types: Sequence[str], mixture_ids: Sequence[str], facts: Sequence[dict[str, Any]]
) -> None:
    """Write `mixture_*.csv` (paths below the data root, length) and `metrics_*.csv` (SNR) of one split."""
    target = folder / "metadata"
    target.mkdir(parents=True, exist_ok=True)
    relative = Path(*folder.parts[-3:]) / split
    for kind in types:
        parts = PARTS[kind]
        names = [part if part == "noise" else f"source_{part[1:]}" for part in parts]
        paths = {f"{name}_path": part for name, part in zip(["mixture", *names], [f"mix_{kind}", *parts], strict=True)}
        mixtures = {
            "mixture_ID": mixture_ids,
            **{key: [str(relative / part / f"{name}.wav") for name in mixture_ids] for key, part in paths.items()},
            "length": [fact["length"] for fact in facts],
        }
        metrics = {
            "mixture_ID": mixture_ids,
            **{f"{name}_SNR": [fact[kind][number] for fact in facts] for number, name in enumerate(names)},
        }
        for what, table in (("mixture", mixtures), ("metrics", metrics)):
            with replacing(target / f"{what}_{split}_mix_{kind}.csv") as partial_file:
                pd.DataFrame(table).to_csv(partial_file, index=False)


def find_metadata(folder: Path, split: str) -> Path | None:
    """The public list of a split, at any depth."""
    if not folder.is_dir():
        raise UserError(f"metadata={folder}: no such folder")
    found = sorted(folder.rglob(f"libri2mix_{SUBSETS[split]}.csv"))
    return found[0] if found else None


def read_metadata(path: Path) -> list[MetadataRow]:
    """Rows of the public metadata.

    Raises:
        UserError: it is no table, a column is missing, a mixture occurs twice, a gain is no positive number, or a path
            leads out of its corpus.
    """
    try:
        text = read_text(path)
        table = pd.read_csv(io.StringIO(text), sep=delimiter_of(text))
    except ValueError as error:  # pandas' own parser errors are ValueErrors too
        raise UserError(f"{path}: cannot be read as a table ({first_line(error)}); get it again") from error
    columns = ["mixture_ID", "source_1_path", "source_1_gain", "source_2_path", "source_2_gain", "noise_path"]
    for column in [*columns, "noise_gain"]:
        if column not in table:
            raise UserError(f"{path}: no column {column}; metadata=PATH holds the lists that LibriMix publishes")
    if table.mixture_ID.duplicated().any():
        raise UserError(f"{path}: mixture {table.mixture_ID[table.mixture_ID.duplicated()].iloc[0]} occurs twice")
    for column in ("source_1_gain", "source_2_gain", "noise_gain"):
        good = np.isfinite(pd.to_numeric(table[column], errors="coerce"))
        if not good.all():
            number = int(np.flatnonzero(~good)[0])
            raise UserError(f"{path}, row {number + 2}: {column} is {table[column].iloc[number]!r}, not a number")
    rows = []
    for number, row in enumerate(table.itertuples(), 2):
        where = f"{path}, row {number}"
        name = listed(str(row.mixture_ID), where)
        if "/" in name:
            raise UserError(f"{where}: mixture_ID {name!r} is no name of a file; correct the list")
        first, second, noise = (
            listed(str(path), where) for path in (row.source_1_path, row.source_2_path, row.noise_path)
        )
        gains = float(row.source_1_gain), float(row.source_2_gain)
        rows.append(MetadataRow(name, (first, second), gains, noise, float(row.noise_gain)))
    return rows


def find_folder(given: Path, name: str, subfolders: Sequence[str]) -> Path:
    """`given` or `given/name`, whichever holds one of the subfolders."""
    for folder in (given, given / name):
        if any((folder / subfolder).is_dir() for subfolder in subfolders):
            return folder
    raise UserError(f"{given}: holds none of {', '.join(subfolders)}; give the folder {name}")


def num_frames(path: Path) -> int:
    """Length of a recording of LibriSpeech in samples."""
    if not path.is_file():
        raise UserError(f"{path}: missing; librispeech=PATH is the folder LibriSpeech, download=true fetches it")
    header = read_header(path)
    if header.sample_rate != SOURCE_RATE:
        raise UserError(f"{path}: {header.sample_rate} Hz; LibriSpeech has 16000 Hz")
    return header.frames
