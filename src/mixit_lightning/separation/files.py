"""Recordings in files, separated into files of the same rate and format; of a folder, whatever is a recording."""

import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor

from ..data.audio import is_cut_off, reason
from ..data.formats import CONTAINERS, RECORDINGS, opened, recordings_below
from ..errors import UserError, visible
from ..files import CannotWrite, cannot_write, written
from ..limits import limit, limits
from ..memory import keep_freed_memory
from ..reading import read_json
from ..sharing.trained import weights_file
from .separator import Separator

RECORD = "separation.json"
"""In the folder of a recording: what was separated, by what and how."""

FACTS: dict[str, Any] = {
    "outputs": list,
    "dropped": list,
    "clipped": int,
    "cut_off": bool,
    "real_time_factor": (int, float),
}
"""What is told of a recording, and its types."""

ALMOST_NOTHING = 2**20
"""Bytes that are left where a file could not be written because its disk is full."""

BAR = TaskID(0)

Report = Callable[[float, float], None]
"""Told the seconds of a recording that are separated, and all of them."""

INTEGER = ("PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32")
"""Kinds of samples that end at full scale."""


def separate_files(
    checkpoint: str,
    input: str,
    output: str,
    window: float,
    overlap: float,
    channels: str,
    silent: str,
    silent_below: float,
    device: str | None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Separate a recording, or every one below a folder, each into a folder of its own below `output`.

    What is there already, made of the same file with the same settings, is left as it is, so that a call that was
    stopped goes on. See `conf/separate.yaml` for the settings.

    Returns:
        The recordings, and what was skipped and why, in plain types.

    Raises:
        UserError: settings that make no sense, no recordings, or a single one that cannot be separated.
        CannotWrite: the disk is full.
    """
    separator, settings = prepare(checkpoint, window, overlap, channels, silent, silent_below, device)
    source, target = Path(input).expanduser(), Path(output).expanduser()
    places = places_of(source, target)
    separated, skipped = [], []
    with progress_bar(quiet) as bar:

        def report(done: float, total: float) -> None:
            bar.update(BAR, completed=done, total=total)

        for number, (path, folder) in enumerate(places.items(), 1):
            bar.update(BAR, description=f"{number}/{len(places)} {visible(path.name)}", completed=0)
            try:
                separated.append(separate_file(separator, path, folder, settings, report))
            except CannotWrite:
                raise
            except UserError as error:
                if source.is_file():
                    raise
                skipped.append({"file": str(path), "why": str(error).removeprefix(f"{path}: ")})
    return {"output": str(target), "recordings": separated, "skipped": skipped}


def prepare(
    checkpoint: str,
    window: float,
    overlap: float,
    channels: str,
    silent: str,
    silent_below: float,
    device: str | None,
) -> tuple[Separator, dict[str, Any]]:
    """The separator, and the settings that its outputs depend on.

    Raises:
        UserError: settings that make no sense, or no checkpoint.
    """
    if channels not in ("each", "mean"):
        raise UserError(f"channels={channels}: must be each or mean")
    if silent not in ("drop", "keep"):
        raise UserError(f"silent={silent}: must be drop or keep")
    if not 0 < overlap < window:
        raise UserError(f"overlap={overlap}: must be positive, and less than window={window}")
    keep_freed_memory()
    separator = Separator.from_checkpoint(checkpoint, window=window, overlap=overlap, device=device)
    return separator, {
        "checkpoint": hashlib.sha256(weights_file(Path(checkpoint)).read_bytes()).hexdigest(),
        "window": window,
        "overlap": overlap,
        "channels": channels,
        "silent": silent,
        "silent_below": silent_below,
    }


def places_of(source: Path, target: Path) -> dict[Path, Path]:
    """The folder of every recording: called like the file, with its suffix only where two would be called the same.

    Raises:
        UserError: nothing to separate.
    """
    if source.is_file():
        return {source: target / source.stem}
    if not source.is_dir():
        raise UserError(f"input={source}: no such file or folder")
    found = [path for path in recordings_below(source) if not path.parent.resolve().is_relative_to(target.resolve())]
    if not found:
        raise UserError(f"input={source}: no recordings below it ({', '.join(RECORDINGS + CONTAINERS)})")
    counts = Counter(path.with_suffix("") for path in found)
    names = {path: path if counts[path.with_suffix("")] > 1 else path.with_suffix("") for path in found}
    return {path: target / name.relative_to(source) for path, name in names.items()}


def separate_file(
    separator: Separator, path: Path, folder: Path, settings: dict[str, Any], report: Report
) -> dict[str, Any]:
    """Separate one recording into a folder, unless that was done.

    Raises:
        UserError: it cannot be read, is empty, or holds samples that are not numbers.
        CannotWrite: the disk is full.
    """
    about = path.stat()
    described = {"file": path.name, "bytes": about.st_size, "modified": about.st_mtime_ns, **settings}
    if (earlier := read_record(folder / RECORD)) and earlier["made_of"] == described:
        return earlier["recording"] | {"file": str(path), "folder": str(folder), "already_there": True}
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with written(folder):
        partial.mkdir(parents=True)
    try:
        start = time.monotonic()
        with opened(path) as recording:
            found = write_outputs(separator, path, recording, partial, settings, report)
        took = time.monotonic() - start
        found |= {"took": round(took, 2), "real_time_factor": round(took / found["seconds"], 4)}
        with written(folder):
            (partial / RECORD).write_text(json.dumps({"made_of": described, "recording": found}, indent=2) + "\n")
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return found | {"file": str(path), "folder": str(folder), "already_there": False}


def read_record(path: Path) -> dict[str, Any] | None:
    """What was separated before; None where nothing was, or where it cannot be told."""
    try:
        record = read_json(path) if path.is_file() else None
    except UserError:
        return None
    if not (isinstance(record, dict) and isinstance(record.get("made_of"), dict)):
        return None
    told = record.get("recording")
    whole = isinstance(told, dict) and all(isinstance(told.get(name), kind) for name, kind in FACTS.items())
    return record if whole else None


def write_outputs(
    separator: Separator,
    path: Path,
    recording: soundfile.SoundFile,
    folder: Path,
    settings: dict[str, Any],
    report: Report,
) -> dict[str, Any]:
    """Stream a recording through the separator into one file an output."""
    total, rate = recording.frames, recording.samplerate
    if separator.window * rate * recording.channels > limits().window_samples:
        raise UserError(
            f"{path}: has {recording.channels} channels at {rate} Hz, too much at once with {limit('window_samples')}; "
            "give a smaller window=, or raise it"
        )
    mean = settings["channels"] == "mean"
    kind, subtype, suffix = recording.format, recording.subtype, path.suffix
    if not soundfile.check_format(kind, subtype):
        kind, subtype, suffix = "WAV", "FLOAT", ".wav"
    if suffix.lower() in CONTAINERS:
        suffix = ".wav"
    names = [f"output_{number}{suffix}" for number in range(1, separator.num_outputs + 1)]
    reader = Reader(path, recording, mean=mean)
    count = 1 if mean else recording.channels
    with written_as_sound(folder):
        paths = [os.fsencode(folder / name) for name in names]  # as a name may be in any encoding
        files = [soundfile.SoundFile(place, "w", rate, count, subtype, format=kind) for place in paths]
    energies, peak, clipped = torch.zeros(len(files), dtype=torch.float64), 0.0, 0
    done = 0
    report(0.0, total / rate)
    try:
        for piece in separator.stream(reader.read, total, rate):
            with written_as_sound(folder):
                for file, output in zip(files, piece.unbind(1), strict=True):
                    file.write(output.T.numpy())
            energies += piece.double().square().sum((0, 2))
            peak = max(peak, piece.abs().max().item())
            clipped += int((piece.abs() > 1).sum()) if subtype in INTEGER else 0
            done += piece.shape[-1]
            report(done / rate, total / rate)
    finally:
        with written_as_sound(folder):
            for file in files:
                file.close()
    levels = 10 * torch.log10(energies / max(reader.energy, 1e-20) + 1e-20)
    dropped = [number for number, level in enumerate(levels.tolist()) if level < settings["silent_below"]]
    if settings["silent"] == "keep":
        dropped = []
    for number in dropped:
        (folder / names[number]).unlink()
    return {
        "outputs": [name for number, name in enumerate(names) if number not in dropped],
        "levels": [round(level, 1) for level in levels.tolist()],
        "dropped": [names[number] for number in dropped],
        "seconds": total / rate,
        "sample_rate": rate,
        "channels": count,
        "peak": round(peak, 4),
        "clipped": clipped,
        "cut_off": is_cut_off(recording.extra_info),
    }


@contextmanager
def written_as_sound(folder: Path) -> Iterator[None]:
    """Say it where libsndfile cannot write, of which it does not tell why.

    Raises:
        CannotWrite: instead of its error.
    """
    try:
        yield
    except soundfile.LibsndfileError as error:
        full = shutil.disk_usage(folder).free < ALMOST_NOTHING
        raise cannot_write(folder, "no space left on device" if full else reason(error)) from error


class Reader:
    """Samples of a recording from one place to another, read once and in order, as not every format can be sought in.

    Args:
        path: for messages.
        recording: open at its beginning.
        mean: of the channels, instead of each.
    """

    def __init__(self, path: Path, recording: soundfile.SoundFile, *, mean: bool) -> None:
        self.path = path
        self.recording = recording
        self.mean = mean
        self.kept = torch.zeros(1 if mean else recording.channels, 0)
        self.start = 0
        self.energy = 0.0
        """Of what was read so far."""

    def read(self, start: int, stop: int) -> Tensor:
        """Samples `(channel, time)`; `start` never falls.

        Raises:
            UserError: the recording is damaged, ends early, or holds samples that are not numbers.
        """
        missing = stop - self.start - self.kept.shape[-1]
        try:
            samples = self.recording.read(missing, dtype="float32", always_2d=True).T
        except soundfile.LibsndfileError as error:
            raise UserError(f"{self.path}: cannot be read as audio ({reason(error)}); replace or remove it") from error
        if samples.shape[-1] < missing:
            end = self.start + self.kept.shape[-1] + samples.shape[-1]
            raise UserError(f"{self.path}: ends after {end} samples, earlier than its header says; replace it")
        if not np.isfinite(samples).all():
            raise UserError(f"{self.path}: holds samples that are not finite numbers (NaN or infinity)")
        fresh = torch.from_numpy(samples.mean(0, keepdims=True) if self.mean else np.ascontiguousarray(samples))
        self.energy += float(fresh.double().square().sum())
        self.kept = torch.cat([self.kept[:, start - self.start :], fresh], -1)
        self.start = start
        return self.kept


def progress_bar(quiet: bool) -> Progress:
    """One bar, in seconds of sound."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f} s"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True)
    bar.add_task("")
    return bar


def notes(recording: dict[str, Any]) -> list[str]:
    """What there is to know about a recording that was separated."""
    found = [f"{len(recording['outputs'])} outputs"]
    if recording["dropped"]:
        found.append(f"{len(recording['dropped'])} silent ones dropped")
    if recording["clipped"]:
        found.append(f"{recording['clipped']} samples clipped at full scale; a format with floats would keep them")
    if recording["cut_off"]:
        found.append("the recording is cut off, its end is missing")
    found.append("there already" if recording["already_there"] else f"{recording['real_time_factor']} of real time")
    return found


def show(summary: dict[str, Any]) -> None:
    """Print what was separated, and what was not."""
    for recording in summary["recordings"]:
        print(f"{visible(recording['folder'])}: {', '.join(notes(recording))}")
    for entry in summary["skipped"]:
        print(f"skipped {visible(entry['file'])}: {visible(entry['why'])}")
    print(f"{len(summary['recordings'])} separated, {len(summary['skipped'])} skipped: {summary['output']}")
