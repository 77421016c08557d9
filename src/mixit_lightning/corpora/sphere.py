"""WSJ0's own files: NIST SPHERE, plain or compressed with shorten."""

from pathlib import Path

import av
import numpy as np

from ..audio.opening import read
from ..errors import UserError

LONGEST_HEADER = 2**16
"""Bytes."""


def read_sphere(path: Path) -> np.ndarray:
    """Samples `(time,)` of a mono SPHERE file, 16-bit steps as float32 between -1 and 1.

    Raises:
        UserError: the file is damaged or of another kind.
    """
    header = sphere_header(path)
    if "shorten" not in header.get("sample_coding", "pcm"):
        samples = read(path)
        check_length(path, len(samples), header)
        return samples
    try:
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    except av.error.FFmpegError as error:
        raise UserError(f"{path}: cannot be decompressed ({error.strerror}); replace it") from error
    samples = np.concatenate(frames) if frames else np.zeros(0, np.int16)
    check_length(path, len(samples), header)
    return samples.astype(np.float32) / 32768


def check_length(path: Path, length: int, header: dict[str, str]) -> None:
    """Refuse a file that is shorter than its header says."""
    if length != whole(path, header, "sample_count", length):
        raise UserError(f"{path}: ends after {length} of {header['sample_count']} samples; replace it")


def whole(path: Path, header: dict[str, str], name: str, default: int = 0) -> int:
    """A field that is a whole number.

    Raises:
        UserError: it is none.
    """
    try:
        return int(header.get(name, default))
    except ValueError as error:
        raise UserError(f"{path}: its header says {name}={header[name][:50]!r}; replace it") from error


def sphere_header(path: Path) -> dict[str, str]:
    """Fields of a SPHERE header.

    Raises:
        UserError: it is none.
    """
    try:
        with path.open("rb") as file:
            magic, size = file.readline(16).strip(), file.readline(16).strip()
            if magic != b"NIST_1A" or not size.isdigit() or not file.tell() <= int(size) <= LONGEST_HEADER:
                raise UserError(f"{path}: is no NIST SPHERE file; is it converted and wrongly named?")
            lines = file.read(int(size) - file.tell()).decode("ascii", "replace").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    fields = (line.split(maxsplit=2) for line in lines)
    return {field[0]: field[2].strip() for field in fields if len(field) == 3}
