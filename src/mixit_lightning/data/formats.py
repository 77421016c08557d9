"""What counts as a recording, whoever made it, and how to open it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile

from ..errors import UserError
from ..files import cannot_write
from .audio import check_claims, check_regular, reason

RECORDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".rf64", ".w64")
CONTAINERS = (".mp4", ".m4a", ".mkv", ".mov", ".webm", ".avi")
"""What is looked for in a folder; a single file may be called anything."""

DEMUXERS = "mov,matroska,avi"
"""FFmpeg's, of these containers. Others, of play lists, would open whatever file or address stands in them."""

Check = Callable[[int, int, int], None]
"""Told frames, rate (Hz) and channels, by a header or as far as a film is decoded, it raises UserError to refuse."""


def recordings_below(folder: Path) -> list[Path]:
    """All recordings below a folder, links followed, in an order that no disk changes.

    Hidden files and folders are left out, and what this package made: separated recordings and the folders of runs.
    """
    found, seen = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        place = os.path.realpath(parent)
        if place in seen or "separation.json" in names or {"config.yaml", "checkpoints"} <= {*names, *folders}:
            folders.clear()
            continue
        seen.add(place)  # links may lead in a circle
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in names
            if name.lower().endswith(RECORDINGS + CONTAINERS) and not name.startswith(".")
        ]
    return sorted(found)


@contextmanager
def opened(path: Path, check: Check | None = None) -> Iterator[soundfile.SoundFile]:
    """A recording, open at its beginning; the sound of a film is decoded into a temporary file first.

    Args:
        path: of the recording.
        check: may refuse it, before a film is decoded to its end.

    Raises:
        UserError: it is no audio, empty, or refused.
    """
    check_regular(path)
    with TemporaryDirectory() as folder:
        try:
            file = soundfile.SoundFile(os.fsencode(path))
        except (soundfile.LibsndfileError, OSError) as error:
            if path.suffix.lower() not in CONTAINERS:
                raise UserError(f"{path}: cannot be read as audio ({reason(error)}); replace or remove it") from error
            file = soundfile.SoundFile(str(decode(path, Path(folder, "sound.wav"), check)))
        with file:
            if check:
                check(file.frames, file.samplerate, file.channels)
            check_claims(path, file.samplerate, file.channels)
            if not file.frames:
                raise UserError(f"{path}: holds no samples; replace or remove it")
            yield file


def decode(path: Path, target: Path, check: Check | None = None) -> Path:
    """Write the first sound track of a film as WAV.

    Raises:
        UserError: no decoder is installed, there is no sound in it, or it is refused.
        CannotWrite: there is no room for it.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise UserError(f"{path}: `pip install av` to read the sound of films, or convert it to WAV") from error
    try:
        # an open file and no protocol, so that nothing but this file can be read
        options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "none"}
        with path.open("rb") as film, av.open(film, "r", container_options=options) as container:
            if not container.streams.audio:
                raise UserError(f"{path}: has no sound track; remove it")
            stream = container.streams.audio[0]
            resampler = av.AudioResampler("flt", stream.layout, stream.rate)
            with soundfile.SoundFile(
                str(target), "w", stream.rate, stream.layout.nb_channels, "FLOAT", format="RF64"
            ) as file:
                for frame in container.decode(stream):
                    if check:
                        check(file.frames, stream.rate, stream.layout.nb_channels)
                    for part in resampler.resample(frame):
                        file.write(part.to_ndarray().reshape(-1, stream.layout.nb_channels))
    except soundfile.LibsndfileError as error:
        raise cannot_write(target, reason(error)) from error
    except av.error.FFmpegError as error:
        raise UserError(f"{path}: cannot be decoded ({error.strerror}); replace or remove it") from error
    return target
