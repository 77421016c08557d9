"""Recordings in files, separated into files of the same rate and length; of a folder, whatever is a recording."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from ..audio.finding import CONTAINERS, RECORDINGS, files_below, read_record
from ..audio.opening import Sound, opened, read_block
from ..audio.writing import OutputFiles, ending, lossless
from ..errors import UserError, visible
from ..files import DiskFull
from ..memory import keep_freed_memory
from ..progress import seconds_bar
from .folders import DECODED, check_around, filling, folders_of, stem_of, tidy, write_record
from .separator import Separator
from .trained import weights_file

CHOICES = {"channels": ("each", "mean"), "silent": ("drop", "keep"), "format": ("lossless", "same")}
"""Of settings."""

FACTS = {"outputs": list, "dropped": list, "clipped": int, "remarks": list, "real_time_factor": int | float}
"""Fields of a recording's record, and their types."""

FAULTS = (UserError, OSError, RuntimeError, ValueError, ArithmeticError, MemoryError)
"""Errors of one file, of whatever content, after which the next file is still tried."""

CHUNK_SAMPLES = 2**26
"""The most samples of all channels that are separated at once: 30 s of eleven channels at 192 kHz."""

MOST_SHOWN = 10
"""Files that are skipped for the same reason, of which each is printed."""

OnProgress = Callable[[float, float], None]
"""Callback for progress: the separated seconds of a recording, and all of its seconds."""


def separate_files(
    checkpoint: str, input: str, output: str, device: str | None = None, quiet: bool = False, **settings: Any
) -> dict[str, Any]:
    """Separate a recording, or every one below a folder, each into a folder of its own below `output`.

    What is there already, made of the same file with the same settings, is left as it is, so that a call that was
    stopped is resumed. The settings are those of `prepare`; see `conf/separate.yaml`.

    Returns:
        The recordings, and the other files of the folder and why they were skipped, in plain types.

    Raises:
        UserError: settings that make no sense, no recordings, or a single one that cannot be separated.
        DiskFull: there is no room for the outputs.
    """
    separator, settings = prepare(checkpoint, device=device, **settings)
    source, target = Path(input).expanduser(), Path(output).expanduser()
    folders, skipped = plan(source, target)
    separated = []
    with seconds_bar(quiet) as bar:

        def on_progress(done: float, total: float) -> None:
            bar.update(bar.task_ids[0], completed=done, total=total)

        for number, (path, folder) in enumerate(folders.items(), 1):
            bar.update(bar.task_ids[0], description=f"{number}/{len(folders)} {visible(path.name)}", completed=0)
            try:
                separated.append(separate_file(separator, path, folder, settings, on_progress))
            except DiskFull:
                raise
            except FAULTS as error:
                if source.is_file():
                    raise error if isinstance(error, UserError) else UserError(f"{path}: {error}") from error
                skipped[path] = str(error).removeprefix(f"{path}: ")
    return {
        "output": str(target),
        "recordings": separated,
        "skipped": [{"file": str(path), "why": why} for path, why in sorted(skipped.items())],
    }


def prepare(
    checkpoint: str, *, window: float, overlap: float, device: str | None, **settings: Any
) -> tuple[Separator, dict[str, Any]]:
    """The separator, and the settings that its outputs depend on: those of `conf/separate.yaml`.

    Raises:
        UserError: settings that make no sense, or no checkpoint.
    """
    for name, choices in CHOICES.items():
        if settings[name] not in choices:
            raise UserError(f"{name}={settings[name]}: must be {' or '.join(choices)}")
    if not 0 < overlap < window:
        raise UserError(f"overlap={overlap}: must be positive, and less than window={window}")
    keep_freed_memory()
    separator = Separator.from_checkpoint(checkpoint, window=window, overlap=overlap, device=device)
    digest = hashlib.sha256(weights_file(Path(checkpoint)).read_bytes()).hexdigest()
    return separator, {"checkpoint": digest, "window": window, "overlap": overlap, **settings}


def plan(source: Path, target: Path) -> tuple[dict[Path, Path], dict[Path, str]]:
    """The folder for the outputs of every recording, and why other files are skipped.

    Raises:
        UserError: nothing to separate, or a single recording around which its outputs would lie.
    """
    if not source.is_dir():
        if not source.exists():
            raise UserError(f"input={source}: no such file or folder")
        folders = {source: target / stem_of(source)}
        if refused := check_around(folders):
            raise UserError(f"{source}: {refused[source]}; give another output=")
        return folders, {}
    files = dict(files_below(source))
    root, outputs = source.resolve(), target.resolve()
    if outputs != root and outputs.is_relative_to(root):
        files |= {path: f"lies in output={target}" for path in files if path.parent.resolve().is_relative_to(outputs)}
    recordings = [path for path, why in files.items() if not why]
    if not recordings:
        raise UserError(f"input={source}: no recordings below it ({', '.join(RECORDINGS + CONTAINERS)})")
    folders = folders_of(recordings, source, target)
    skipped = {path: why for path, why in files.items() if why} | check_around(folders)
    return {path: folder for path, folder in folders.items() if path not in skipped}, skipped


def separate_file(
    separator: Separator, path: Path, folder: Path, settings: dict[str, Any], on_progress: OnProgress
) -> dict[str, Any]:
    """Separate one recording into a folder, unless that was done.

    Raises:
        UserError: it cannot be read, is empty, or holds samples that are not numbers; or its folder holds files that
            are not ours.
        CannotWrite: the disk is full, or must not be written to.
    """
    try:
        about = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    described = {"file": path.name, "bytes": about.st_size, "modified": about.st_mtime_ns, **settings}
    place = str(path.resolve())
    earlier = read_record(folder)
    if earlier and (other := str(earlier["made_of"].get("path", place))) != place and Path(other).exists():
        raise UserError(f"{folder}: holds the outputs of {other}; give another output=")
    if earlier and is_finished(earlier, described, folder):
        tidy(folder)
        return earlier["recording"] | {"file": str(path), "folder": str(folder), "already_there": True}
    with filling(folder) as partial:
        start = time.monotonic()
        with opened(path, copy=partial / DECODED) as sound:
            found = write_outputs(separator, path, sound, partial, settings, on_progress)
        took = time.monotonic() - start
        found |= {"took": round(took, 2), "real_time_factor": round(took / found["seconds"], 4)}
        write_record(partial, {"made_of": described | {"path": place}, "recording": found})
    return found | {"file": str(path), "folder": str(folder), "already_there": False}


def is_finished(record: dict[str, Any], described: dict[str, Any], folder: Path) -> bool:
    """Whether a folder holds all outputs of a recording as it is now."""
    told = record["recording"]
    return (
        {name: value for name, value in record["made_of"].items() if name != "path"} == described
        and all(isinstance(told.get(name), kind) for name, kind in FACTS.items())
        and all((folder / name).is_file() for name in told["outputs"])
    )


def write_outputs(
    separator: Separator, path: Path, sound: Sound, folder: Path, settings: dict[str, Any], on_progress: OnProgress
) -> dict[str, Any]:
    """Stream a recording through the separator into one file per output."""
    total, rate = sound.file.frames, sound.file.samplerate
    if separator.window * rate * sound.file.channels > CHUNK_SAMPLES:
        raise UserError(
            f"{path}: has {sound.file.channels} channels at {rate} Hz, too much at once; give a smaller window="
        )
    mean = settings["channels"] == "mean"
    count = 1 if mean else sound.file.channels
    kind, subtype = lossless(sound.format, sound.subtype, total * count)
    if settings["format"] == "same" and soundfile.check_format(sound.format, sound.subtype):
        kind, subtype = (sound.format if subtype != sound.subtype else kind), sound.subtype
    suffix = ending(kind, path.suffix)
    names = [f"output_{number}{suffix}" for number in range(1, separator.num_outputs + 1)]
    reader = Reader(path, sound.file, mean=mean)
    files = OutputFiles([folder / name for name in names], rate, count, kind, subtype)
    energies, peak, done = torch.zeros(len(names), dtype=torch.float64), 0.0, 0
    on_progress(0.0, total / rate)
    try:
        for chunk in separator.stream(reader.read, total, rate):
            if not chunk.isfinite().all():
                raise UserError(f"{path}: the separator gives numbers that are not finite; train it again")
            files.write(chunk.numpy(), reader.kept[:, : chunk.shape[-1]].numpy())
            energies += chunk.double().square().sum((0, 2))
            peak = max(peak, chunk.abs().max().item())
            done += chunk.shape[-1]
            on_progress(done / rate, total / rate)
    finally:
        files.close()
    files.check_whole()
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
        "clipped": files.clipped,
        "remarks": sound.remarks,
    }


class Reader:
    """Reads a recording once and in order, as not every format supports seeking.

    Args:
        path: for messages.
        recording: open at its beginning.
        mean: of the channels, instead of each.
    """

    def __init__(self, path: Path, recording: soundfile.SoundFile, *, mean: bool) -> None:
        self.path = path
        self.recording = recording
        self.mean = mean
        self.kept = torch.zeros(1 if mean else recording.channels, 0, dtype=torch.float64)
        """Samples of the last call of `read`, in double precision, which holds 32 bits exactly."""
        self.start = 0
        self.energy = 0.0
        """Energy of what was read so far."""

    def read(self, start: int, stop: int) -> Tensor:
        """Samples `(channel, time)`; `start` never decreases.

        Raises:
            UserError: the recording is damaged, ends early, or holds samples that are not numbers.
        """
        missing = stop - self.start - self.kept.shape[-1]
        samples = read_block(self.path, self.recording, missing, "float64").T
        if samples.shape[-1] < missing:
            end = self.start + self.kept.shape[-1] + samples.shape[-1]
            raise UserError(f"{self.path}: ends after {end} samples, earlier than its header says; replace it")
        fresh = torch.from_numpy(samples.mean(0, keepdims=True) if self.mean else np.ascontiguousarray(samples))
        self.energy += float(fresh.square().sum())
        self.kept = torch.cat([self.kept[:, start - self.start :], fresh], -1)
        self.start = start
        return self.kept.float()


def notes(recording: dict[str, Any]) -> list[str]:
    """Notes about a separated recording."""
    found = [f"{len(recording['outputs'])} outputs"]
    if recording["dropped"]:
        found.append(f"{len(recording['dropped'])} silent ones dropped")
    if recording["clipped"]:
        found.append(f"{recording['clipped']} samples clipped at full scale; a format with floats would keep them")
    found += [f"the recording {remark}" for remark in recording["remarks"]]
    found.append("there already" if recording["already_there"] else f"{recording['real_time_factor']} of real time")
    return found


def show(summary: dict[str, Any]) -> None:
    """Print the separated and the skipped files."""
    for recording in summary["recordings"]:
        print(f"{visible(recording['folder'])}: {', '.join(notes(recording))}")
    shown: Counter[str] = Counter()
    for entry in summary["skipped"]:
        shown[entry["why"]] += 1
        if shown[entry["why"]] <= MOST_SHOWN:
            print(f"skipped {visible(entry['file'])}: {visible(entry['why'])}")
    for why, count in shown.items():
        if count > MOST_SHOWN:
            print(f"skipped {count - MOST_SHOWN} more: {visible(why)}; --json lists all")
    print(f"{len(summary['recordings'])} separated, {len(summary['skipped'])} skipped: {summary['output']}")
