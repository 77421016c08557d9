"""What the containers of WAV and Ogg tell of their ends, which neither libsndfile nor FFmpeg says."""

import os
import struct
from pathlib import Path

BEGINNING_OF_STREAM = 2
"""Flag of an Ogg page."""

CHUNK = struct.Struct("<4sI")
"""Head of a chunk of WAV: its name, and the bytes that follow."""


def is_chained(path: Path) -> bool:
    """Whether an Ogg file holds streams one after the other, as two files that were joined do (RFC 3533, section 4)."""
    under_way = False
    with path.open("rb") as file:
        while len(head := file.read(27)) == 27 and head[:4] == b"OggS":
            begins = bool(head[5] & BEGINNING_OF_STREAM)
            if begins and under_way:
                return True
            under_way = not begins
            file.seek(sum(file.read(head[26])), os.SEEK_CUR)
    return False


def bytes_behind(path: Path) -> int:
    """Bytes behind the samples of a WAV file that are no chunks: samples, where the header tells too few of them.

    A recorder that crashes after it has updated its header leaves such a file, and so do sizes above 4 GiB. Files of
    other formats have none.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if (head[:4], head[8:]) != (b"RIFF", b"WAVE"):
            return 0
        place, behind = 12, 0
        while place + CHUNK.size <= size:
            file.seek(place)
            name, length = CHUNK.unpack(file.read(CHUNK.size))
            end = place + CHUNK.size + length + length % 2
            is_chunk = name != b"RIFF" and name.isascii() and name.decode().isprintable() and end <= size + 1
            if behind and not is_chunk:
                return size - behind
            if name == b"data":
                behind = end
            place = end
    return 0
