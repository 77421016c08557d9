"""Separates a recording in a process of its own: whatever a file does to a decoder, the page lives on."""

import multiprocessing
import multiprocessing.forkserver
import os
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import soundfile

from ..audio.opening import opened
from ..errors import UserError
from ..inference.files import notes, prepare, separate_file
from .tracks import draw, make_track
from .uploads import Limits

PATIENCE = 0.25
"""Seconds between signs of life, in which it can be stopped."""

# Where it exists, one process loads everything once and every recording gets a copy of it, in an instant.
METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
CONTEXT: Any = multiprocessing.get_context(METHOD)
CONTEXT.set_forkserver_preload([__name__])


def get_ready() -> None:
    """Start to load what every process needs, where that is done once."""
    if METHOD == "forkserver":
        multiprocessing.forkserver.ensure_running()


def work(path: Path, folder: Path, settings: dict[str, Any], limits: Limits) -> Iterator[dict[str, Any]]:
    """Separate a recording in another process, which ends with this iterator.

    Args:
        path: of the recording.
        folder: for the files of its outputs and for those of the mixer.
        settings: of `separation.files.prepare`.
        limits: of the recording.

    Yields:
        `done` and `total` seconds again and again, in the end what the mixer shows.

    Raises:
        UserError: it cannot be separated; or the process failed or died.
    """
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=run, args=(sender, path, folder, settings, limits), daemon=True)
    process.start()
    sender.close()  # so that its end is the end of the pipe
    news: dict[str, Any] = {"done": 0.0, "total": 0.0}
    try:
        while "tracks" not in news:
            yield news
            if receiver.poll(PATIENCE):
                news = receiver.recv()
            if "error" in news:
                raise UserError(news["error"])
        yield news
    except EOFError:
        raise UserError(f"{path}: took the decoder or the separator down, which is running again; replace it") from None
    finally:
        process.kill()
        process.join()


def run(sender: Connection, path: Path, folder: Path, settings: dict[str, Any], limits: Limits) -> None:
    """What the other process does: send news, in the end the outcome."""
    try:
        os.setpgrp()  # Ctrl-C is for the page, which ends this process
        outcome = separated(sender, path, folder, settings, limits)
    except UserError as error:
        outcome = {"error": str(error)}
    except Exception:
        traceback.print_exc()
        outcome = {"error": f"{path}: could not be separated; the terminal of `mixit listen` says why"}
    sender.send(outcome)


def separated(sender: Connection, path: Path, folder: Path, settings: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Check, separate as `mixit separate` does, and prepare what the mixer shows.

    Raises:
        UserError: it cannot be separated.
    """
    samples = folder / "samples"
    samples.mkdir(parents=True)
    mean = settings["channels"] == "mean"
    with opened(path, limits.check) as sound:
        made = [make_track("recording", sound.file, samples / "0.f32", mean=mean)]
    separator, made_with = prepare(**settings)
    target = folder / "outputs"
    found = separate_file(
        separator, path, target, made_with, lambda done, total: sender.send({"done": done, "total": total})
    )
    for name in found["outputs"]:
        number = int(Path(name).stem.rpartition("_")[2])
        with soundfile.SoundFile(os.fsencode(target / name)) as output:
            track, levels = make_track(f"output {number}", output, samples / f"{number}.f32")
        made.append((track | {"file": str(target / name), "level": found["levels"][number - 1]}, levels))
    draw(*map(list, zip(*made, strict=True)))
    said = notes(found)
    many = "channel" if found["channels"] == 1 else "channels"
    facts = [
        f"{found['seconds']:.1f} s",
        f"{found['sample_rate']} Hz",
        f"{found['channels']} {many}",
        said[0],
        said[-1],
    ]
    shape = {name: found[name] for name in ("sample_rate", "channels", "seconds")}
    return shape | {"facts": ", ".join(facts), "notes": said[1:-1], "tracks": [track for track, _ in made]}
