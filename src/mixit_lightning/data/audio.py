"""Audio files in and out, one channel in float32; whatever is wrong with a file, the error names it."""

import io
import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from rich.progress import track

from ..errors import UserError
from ..files import replacing
from ..limits import limit, limits
from .plain_wav import read_plain_wav

SUFFIXES = (".wav", ".flac", ".ogg")

STREAMED_BYTES = 0x7FFF0000
"""Programs that write WAV into a pipe cannot know its size, and claim this or more."""


class Header(NamedTuple):
    """What a file says of itself."""

    frames: int
    sample_rate: int


def read_header(path: Path, *, any_channels: bool = False) -> Header:
    """Read length and sample rate (Hz) without the samples.

    Raises:
        UserError: the file is missing, not audio, empty, cut off, claims what no recording has, or has more than one
            channel and not `any_channels`.
    """
    check_regular(path)
    try:
        info = soundfile.info(os.fsencode(path), verbose=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(f"{path}: cannot be read as audio ({reason(error)}); replace or remove it") from error
    check_claims(path, info.samplerate, info.channels)
    if info.channels != 1 and not any_channels:
        raise UserError(f"{path}: has {info.channels} channels; convert it to mono")
    if info.frames == 0:
        raise UserError(f"{path}: holds no samples; replace or remove it")
    if is_cut_off(info.extra_info):
        raise UserError(f"{path}: is cut off, its end is missing; replace or remove it")
    return Header(info.frames, info.samplerate)


def check_regular(path: Path) -> None:
    """Refuse pipes, which would be waited for, devices and folders; whether a file is missing is for a decoder to tell.

    Raises:
        UserError: it is one.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - what cannot be reached is no error
        raise UserError(f"{path}: is no regular file; replace or remove it")


def check_claims(path: Path, sample_rate: int, channels: int, samples: int = 0) -> None:
    """Refuse what no recording has, as whoever believes it runs out of memory or time.

    Args:
        path: of the file.
        sample_rate: Hz.
        channels: their number.
        samples: of each, that are to be read at once.

    Raises:
        UserError: with the claim.
    """
    if not limits().lowest_rate <= sample_rate <= limits().highest_rate:
        exceeded = limit("lowest_rate" if sample_rate < limits().lowest_rate else "highest_rate")
        raise UserError(
            f"{path}: claims {sample_rate} Hz, beyond {exceeded}; replace or remove it, or change the limit"
        )
    if channels > limits().channels:
        raise UserError(
            f"{path}: claims {channels} channels, more than {limit('channels')}; replace or remove it, or raise it"
        )
    if samples * channels > limits().samples_at_once:
        raise UserError(
            f"{path}: claims {samples} samples of {channels} channels, too many to read at once with "
            f"{limit('samples_at_once')}; cut it into shorter ones, or raise it"
        )


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
    check_regular(path)
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            expected = file.frames - start if frames is None else frames
            check_claims(path, file.samplerate, file.channels, expected)
            file.seek(start)
            samples = file.read(expected, dtype="float32", always_2d=True)[:, 0]
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(f"{path}: cannot be read as audio ({reason(error)}); replace or remove it") from error
    if len(samples) != expected:
        raise UserError(f"{path}: ends after {start + len(samples)} samples, earlier than its header says; replace it")
    if not np.isfinite(samples).all():
        raise UserError(f"{path}: holds samples that are not finite numbers (NaN or infinity); replace or remove it")
    return samples


def write(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write `(time,)` as 16-bit WAV, under a temporary name first, so that a broken file never stands under `path`."""
    memory = io.BytesIO()  # as libsndfile says of a full disk only that something is wrong
    soundfile.write(memory, np.clip(samples, -1.0, 1.0), sample_rate, subtype="PCM_16", format="WAV")
    with replacing(path) as partial:
        partial.write_bytes(memory.getbuffer())


RATE_STEP = 25
"""Hz, to which rates are rounded where they have no large common divisor, and the resampler would need a filter of its
own for every sample: half of it is 0.2 % at 8 kHz, a thirtieth of a semitone."""


def rounded_rate(rate: float) -> int:
    """The rate (Hz) that the resampler goes by."""
    return max(1, round(rate / RATE_STEP)) * RATE_STEP


def resample(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample `(..., time)` by windowed sinc interpolation.

    Odd rates, such as 44,056 Hz, are rounded, there and back alike, see `rounded_rate`.
    """
    from_rate, to_rate = rounded_rate(from_rate), rounded_rate(to_rate)
    if from_rate == to_rate:
        return samples
    from torchaudio.functional import resample as sinc_resample

    return sinc_resample(torch.from_numpy(samples), from_rate, to_rate).numpy()


def repeat(samples: np.ndarray, length: int, sample_rate: int) -> np.ndarray:
    """Repeat a noise `(time,)` up to `length` samples, with a cross-fade of half a second at every seam.

    As LibriMix does it (Cosentino et al., arXiv 2005.11262).

    Raises:
        ValueError: it is hardly longer than the cross-fade.
    """
    fade = np.hanning(sample_rate + 1)[: sample_rate // 2 + 1]
    if len(samples) < 1.1 * len(fade):  # otherwise it would be all seams
        raise ValueError(f"{len(samples)} samples are too few to repeat it")
    extended = samples
    while len(extended) < length:
        overlap = extended[-len(fade) :] * fade[::-1] + samples[: len(fade)] * fade
        extended = np.concatenate([extended[: -len(fade)], overlap, samples[len(fade) :]])
    return extended[:length]


def find_audio(folder: Path) -> list[Path]:
    """All audio files below a folder, links followed, in an order that does not depend on the disk."""
    return sorted(
        Path(parent, name)
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(SUFFIXES)
    )


def reason(error: Exception) -> str:
    """The part of a decoder's message that does not repeat the path."""
    return str(error).rsplit(": ", 1)[-1].strip().rstrip(".")
