"""Opening and reading recordings; whatever is wrong with a file, the error names it."""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import soundfile
from rich.progress import track

from ..errors import UserError
from ..reading import open_regular
from .claims import check_claims
from .containers import bytes_behind, is_chained
from .decoding import Check, Undecodable, compressed_seconds, decode
from .levels import full_scale
from .plain_wav import read_plain_wav

STREAMED_BYTES = 0x7FFF0000
"""Programs that write WAV into a pipe cannot know its size, and claim this or more."""

UNKNOWN_FRAMES = 2**62
"""libsndfile claims this length or more where a header says none."""

JOINED = ("MP3", "OGG")
"""Formats of files that can be joined, of which libsndfile reads only the first."""

EXACT = 5e-5
"""Seconds by which a length that a header tells may differ by rounding: below a sample."""

TOLERANCE = 0.3
"""Seconds by which the packets of a compressed file may be longer than it: encoders pad it at both ends."""

SHORTEST = 0.01
"""Seconds that count as a further part of a file that was joined."""

HIGHEST = 1e10
"""Samples beyond this are refused, as their squares do not fit into float32; whole numbers of 32 bits are below."""


@dataclass
class Sound:
    """A recording that is open at its beginning."""

    file: soundfile.SoundFile
    """A file of known length: the recording itself, or what it was decoded to."""
    format: str
    """Format of the recording, as libsndfile calls it."""
    subtype: str
    """The kind of samples of the recording, as libsndfile calls it."""
    remarks: list[str] = field(default_factory=list)
    """Warnings about it, such as that its end is missing."""
    decoded: bool = False
    """Whether `file` is what it was decoded to."""

    @property
    def full_scale(self) -> float:
        """The highest value that its samples can have."""
        return full_scale(self.subtype)


@contextmanager
def opened(path: Path, check: Check | None = None, copy: Path | None = None) -> Iterator[Sound]:
    """Open a recording. What libsndfile cannot read to its end is decoded into a temporary file first.

    Args:
        path: of the recording.
        check: may refuse it by its header, or before it is decoded to its end.
        copy: the temporary file, where the system's temporary folder may be too small.

    Raises:
        UserError: it cannot be read, is no audio, empty, or refused.
        CannotWrite: the disk is full.
    """
    check_readable(path)
    with ExitStack() as stack:
        original, problem = None, ""
        try:
            original = stack.enter_context(soundfile.SoundFile(os.fsencode(path)))
        except (soundfile.LibsndfileError, OSError) as error:
            problem = reason(error)
        if original:
            if check and original.frames < UNKNOWN_FRAMES:
                check(original.frames, original.samplerate, original.channels)
            check_claims(path, original.samplerate, original.channels)
            if is_whole(path, original):
                remarks = ["is cut off, its end is missing"] if is_cut_off(original.extra_info) else []
                remarks += more_than_told(path, original)
                yield Sound(original, original.format, original.subtype, remarks)
                return
        if copy is None:
            copy = Path(stack.enter_context(TemporaryDirectory()), "sound.wav")
        stack.callback(copy.unlink, missing_ok=True)
        try:
            remarks = decode(path, copy, check)
        except Undecodable as error:
            if original and not original.frames:
                raise UserError(f"{path}: holds no samples; replace or remove it") from error
            if original and original.format in JOINED and original.frames < UNKNOWN_FRAMES:
                yield Sound(original, original.format, original.subtype, [only_first(original)])
                return
            why = "; ".join(filter(None, [problem, str(error)]))
            raise UserError(f"{path}: cannot be read as audio ({why}); replace or remove it") from error
        file = stack.enter_context(soundfile.SoundFile(copy))
        check_claims(path, file.samplerate, file.channels)
        if original and original.format == "OGG" and length_of(file) < length_of(original) + SHORTEST:
            remarks.append(only_first(original))
        elif original is None:
            remarks += more_than_told(path, file)
        elif not is_compressed(original):
            remarks.insert(0, "does not say how long it is; all of it was read")
        kind, subtype = (original.format, original.subtype) if original else ("WAV", file.subtype)
        yield Sound(file, kind, subtype, remarks, decoded=True)


def is_whole(path: Path, file: soundfile.SoundFile) -> bool:
    """Whether libsndfile reads a file to its end, and knows where that is."""
    if not 0 < file.frames < UNKNOWN_FRAMES:
        return False
    about = path.stat()
    return not is_compressed(file) or is_known(path, about.st_size, about.st_mtime_ns, length_of(file), file.format)


@lru_cache(maxsize=100_000)
def is_known(path: Path, size: int, modified: int, seconds: float, kind: str) -> bool:
    """Whether the length that libsndfile gives a compressed file is that of all of it.

    Args:
        path: of the file; `size` and `modified` (ns) tell whether it is still the same.
        size: in bytes.
        modified: time of its last change.
        seconds: its length by libsndfile.
        kind: its format.
    """
    if kind == "OGG":
        return not is_chained(path)
    try:
        claimed, packets = compressed_seconds(path)
    except UserError:
        return True  # FFmpeg does not read everything that libsndfile does
    return abs(claimed - seconds) < EXACT and abs(packets - seconds) <= TOLERANCE


def is_compressed(file: soundfile.SoundFile) -> bool:
    """Whether libsndfile estimates the length of a file, or reads only the first of several that were joined."""
    return file.format in JOINED or file.subtype.startswith("MPEG")


def length_of(file: soundfile.SoundFile) -> float:
    """Length in seconds."""
    return file.frames / file.samplerate


def more_than_told(path: Path, file: soundfile.SoundFile) -> list[str]:
    """The remark on a file that goes on behind what its header tells, if it does."""
    more = bytes_behind(path)
    return [f"has {more} bytes behind what its header tells; only {length_of(file):.1f} s were read"] if more else []


def only_first(file: soundfile.SoundFile) -> str:
    """The remark on a file whose further parts cannot be read."""
    return (
        f"was joined of parts that do not go together; only the first, {length_of(file):.1f} s, was read; cut it there"
    )


class Header(NamedTuple):
    """Length and sample rate from a file's header."""

    frames: int
    sample_rate: int


def read_header(path: Path, *, any_channels: bool = False) -> Header:
    """Read length and sample rate (Hz) without the samples, unless only these tell the length.

    Raises:
        UserError: the file is missing, not audio, empty, cut off, claims what no recording has, or has more than one
            channel and not `any_channels`.
    """
    with opened(path) as sound:
        file = sound.file
        if file.channels != 1 and not any_channels:
            raise UserError(f"{path}: has {file.channels} channels; convert it to mono")
        if is_cut_off(file.extra_info):
            raise UserError(f"{path}: is cut off, its end is missing; replace or remove it")
        return Header(file.frames, file.samplerate)


def read(path: Path, start: int = 0, frames: int | None = None) -> np.ndarray:
    """Read samples `(time,)` of the first channel as float32.

    Args:
        path: of the file.
        start: the first sample.
        frames: how many samples; all from `start` if left out.

    Raises:
        UserError: the file is damaged, too long, ends early, or holds samples that are not numbers.
    """
    plain = read_plain_wav(path, start, frames)
    if plain is not None:
        return plain
    with opened(path) as sound:
        file = sound.file
        expected = file.frames - start if frames is None else frames
        check_claims(path, file.samplerate, file.channels, expected)
        try:
            file.seek(min(start, file.frames))
        except soundfile.LibsndfileError as error:
            raise unreadable(path, error) from error
        samples = read_block(path, file, expected).astype(np.float32)[:, 0]
    if len(samples) != expected:
        raise UserError(f"{path}: ends after {start + len(samples)} samples, earlier than its header says; replace it")
    return samples


def read_block(path: Path, file: soundfile.SoundFile, frames: int, dtype: str = "float32") -> np.ndarray:
    """Read the next samples `(time, channel)`, fewer where the file ends.

    Raises:
        UserError: the file is damaged, or holds samples that no recording has.
    """
    try:
        samples = file.read(frames, dtype=dtype, always_2d=True)
    except soundfile.LibsndfileError as error:
        raise unreadable(path, error) from error
    if not np.isfinite(samples).all():
        raise UserError(f"{path}: holds samples that are not finite numbers (NaN or infinity); replace or remove it")
    if samples.size and max(samples.max(), -samples.min()) > HIGHEST:
        raise UserError(f"{path}: holds samples beyond {HIGHEST:g}, full scale being 1; scale it down, or remove it")
    return samples


def unreadable(path: Path, error: Exception) -> UserError:
    """The error for a file that a decoder gives up."""
    return UserError(f"{path}: cannot be read as audio ({reason(error)}); replace or remove it")


def check_readable(path: Path) -> None:
    """Refuse what cannot be opened or is empty, and pipes, which would be waited for, devices and folders.

    Raises:
        UserError: with the reason.
    """
    try:
        with open_regular(path) as file:
            if not os.fstat(file.fileno()).st_size:
                raise UserError(f"{path}: is empty; replace or remove it")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); replace or remove it") from error


def is_cut_off(log: str) -> bool:
    """Whether libsndfile's log of a header says that the file is shorter than it should be.

    It reads what is left of a WAV or Ogg file without an error; a FLAC file fails when it is read.
    """
    claim = re.search(r"^data : (\d+) \(should be \d+\)", log, re.MULTILINE)
    return "lacks an end-of-stream bit" in log or (claim is not None and int(claim[1]) < STREAMED_BYTES)


def read_headers(paths: list[Path], what: str, *, any_channels: bool = False) -> list[Header]:
    """Headers of many files, with a progress bar."""
    with ThreadPoolExecutor() as threads:
        headers = threads.map(partial(read_header, any_channels=any_channels), paths)
        return list(track(headers, f"Reading {what}", total=len(paths), transient=True))


def reason(error: Exception) -> str:
    """The part of a decoder's message that does not repeat the path."""
    return str(error).rsplit(": ", 1)[-1].strip().rstrip(".")
