"""Decoding by FFmpeg, of what libsndfile cannot read, or whose length it does not know."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

from ..errors import UserError
from ..files import disk_full

DEMUXERS = "wav,w64,flac,mp3,ogg,aiff,au,caf,mov,matroska,avi"
"""FFmpeg's names of the formats that count as recordings. Others, of play lists, would open whatever file or address
stands in them."""

KINDS = {np.dtype(np.int16): "PCM_16", np.dtype(np.int32): "PCM_32"}
"""Kinds of samples that hold whole numbers exactly; all others are written as floats."""

Check = Callable[[int, int, int], None]
"""Given the frames, rate (Hz) and channels that a header claims or that were decoded so far, raises UserError to
refuse."""


class Undecodable(UserError):
    """FFmpeg gives a file up; the message is its reason."""


@contextmanager
def sound_track(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file, and give its container and its first sound track.

    Raises:
        UserError: there is no sound in it.
        Undecodable: FFmpeg cannot read it.
    """
    try:
        # an open file and no protocol, so that nothing but this file can be read
        options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "none"}
        with (
            path.open("rb") as file,
            av.open(file, "r", container_options=options, metadata_errors="ignore") as container,
        ):
            if not container.streams.audio:
                raise UserError(f"{path}: has no sound track; remove it")
            yield container, container.streams.audio[0]
    except av.error.FFmpegError as error:
        raise Undecodable(str(error.strerror)) from error


def compressed_seconds(path: Path) -> tuple[float, float]:
    """Length of a compressed file, as its header says and as its packets add up to; nothing is decoded.

    Raises:
        UserError: FFmpeg cannot read it.
    """
    with sound_track(path) as (container, track):
        durations = (packet.duration or 0 for packet in container.demux(track))
        packets = sum(duration for duration in durations if duration < 2**31)  # the last may be below zero, unsigned
        return float((track.duration or 0) * track.time_base), float(packets * track.time_base)


def decode(path: Path, target: Path, check: Check | None = None) -> list[str]:
    """Decode the first sound track of a file to its end, in bounded memory, and write it as WAV.

    Args:
        path: of the file.
        target: to write.
        check: may refuse it, before it is decoded to its end.

    Returns:
        Remarks: how much is damaged, and whether it ends where its rate or number of channels changes.

    Raises:
        UserError: it is refused, or there is no sound in it.
        Undecodable: FFmpeg cannot read it.
        CannotWrite: the disk is full.
    """
    remarks: list[str] = []
    with sound_track(path) as (container, track):
        frames = frames_of(container, track, remarks)
        first = next(frames, None)
        if first is None:
            raise Undecodable("no samples in it")
        rate, channels = first.rate, first.layout.nb_channels
        kind = "FLOAT" if track.codec.lossy else KINDS.get(samples_of(first).dtype, "FLOAT")
        try:
            with soundfile.SoundFile(target, "w", rate, channels, kind, format="RF64") as file:
                for frame in chain([first], frames):
                    if (frame.rate, frame.layout.nb_channels) != (rate, channels):
                        remarks.append(
                            f"changes to {frame.rate} Hz and {frame.layout.nb_channels} channels after "
                            f"{file.frames / rate:.1f} s; what follows was left out"
                        )
                        break
                    if check:
                        check(file.frames, rate, channels)
                    file.write(samples_of(frame))
        except soundfile.LibsndfileError as error:
            raise disk_full(target.parent) from error
    return remarks


def frames_of(container: Any, track: Any, remarks: list[str]) -> Iterator[Any]:
    """Decode a track; damaged packets are left out, such as the second header of two files that were joined."""
    damaged = 0
    for packet in container.demux(track):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            damaged += 1
            continue
        yield from frames
    if damaged:
        remarks.append(f"{damaged} damaged packets were left out")


def samples_of(frame: Any) -> np.ndarray:
    """Samples `(time, channel)` of a decoded frame: int16, int32 or floats."""
    samples = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype == np.uint8:
        return (samples.astype(np.int16) - 128) << 8
    if samples.dtype == np.int64:
        return samples / 2**63
    return samples
