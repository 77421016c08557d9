"""One shard: a Parquet file with a segment of a recording in every row. It is untrusted."""

from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from ..errors import UserError

SOUND = "audio"
"""The column that others, such as Hugging Face's `datasets`, read as sound."""

LEVELS = (1e-9, 10.0)
"""Lowest and highest RMS of a recording: crops are divided by it, and their squares must stay finite."""

NAME_LENGTH = 300
"""Characters of a recording's name that are shown."""


def schema(sample_rate: int) -> Any:
    """Columns of a shard: the sound as FLAC, and where it is from."""
    import json

    import pyarrow

    kinds = {"recording": "string", "channel": "int32", "start": "float64", "seconds": "float64", "rms": "float64"}
    features = {SOUND: {"_type": "Audio", "sampling_rate": sample_rate}}
    features |= {name: {"_type": "Value", "dtype": kind} for name, kind in kinds.items()}
    sound = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    return pyarrow.schema(
        [(SOUND, sound), *((name, getattr(pyarrow, kind)()) for name, kind in kinds.items())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )


class Segment(NamedTuple):
    """A row of a shard."""

    name: str
    """Recording and time, to be read by people."""
    sound: bytes
    """FLAC."""
    rms: float
    """RMS of the active blocks of its recording, at the level of these samples."""


class ShardFile:
    """A shard on this machine, open; segments are read one by one.

    Args:
        path: of the file.
        sample_rate: Hz, that its segments must have.
        rows: that it must have.

    Raises:
        UserError: it is not a shard as `mixit shard` writes them.
    """

    def __init__(self, path: Path, sample_rate: int, rows: int) -> None:
        import pyarrow
        from pyarrow.parquet import ParquetFile

        self.path = path
        self.sample_rate = sample_rate
        self.errors = (pyarrow.ArrowException, OSError, ValueError)
        try:
            self.file = ParquetFile(path)  # not mapped: a file that was cut off would take the process down
            about = self.file.metadata
            plain = self.file.schema_arrow.equals(schema(sample_rate)) and all(
                about.row_group(row).num_rows == 1 and is_plain(about.row_group(row))
                for row in range(about.num_row_groups)
            )
        except self.errors as error:
            raise self.damaged(reason(error)) from error
        if not plain:
            raise self.damaged("its columns are others, compressed, or not one row per group")
        if about.num_row_groups != rows:
            raise self.damaged(f"it has {about.num_row_groups} rows where the catalogue says {rows}")

    def damaged(self, why: str) -> UserError:
        """The error for a damaged shard."""
        return UserError(
            f"{self.path}: cannot be read as a shard ({why}); remove it, and have it made or fetched again"
        )

    def segment(self, row: int) -> Segment:
        """The segment of a row, its sound as it is packed.

        Raises:
            UserError: it cannot be read.
        """
        try:
            (values,) = self.file.read_row_group(row, use_threads=False).to_pylist()
            recording, start = values["recording"][:NAME_LENGTH], float(values["start"])
            name = "".join(letter if letter.isprintable() else "?" for letter in recording)
            found = Segment(f"{name} from {start:.1f} s", bytes(values[SOUND]["bytes"]), float(values["rms"]))
        except (*self.errors, TypeError, KeyError) as error:
            raise self.damaged(f"row {row}: {reason(error)}") from error
        if not (LEVELS[0] <= found.rms <= LEVELS[1] and found.sound[:4] == b"fLaC"):
            raise self.damaged(f"row {row} is no FLAC, or at no level")
        return found

    def crop(self, row: int, position: float, length: int) -> tuple[str, np.ndarray]:
        """Name and samples `(time,)` of a crop of a segment, at RMS 1 over its recording's active blocks.

        Args:
            row: its number.
            position: where in the segment, from 0 to 1; a segment that is shorter than the crop lies there in silence.
            length: samples.

        Raises:
            UserError: it cannot be read.
        """
        segment = self.segment(row)
        try:
            with soundfile.SoundFile(BytesIO(segment.sound)) as file:
                if (file.format, file.samplerate, file.channels) != ("FLAC", self.sample_rate, 1):
                    raise self.damaged(f"row {row} is not {self.sample_rate} Hz, or has several channels")
                spare = file.frames - length
                file.seek(max(0, round(position * spare)))
                samples = file.read(min(length, file.frames), dtype="float32")
        except (soundfile.LibsndfileError, OSError, ValueError, TypeError) as error:
            raise self.damaged(f"row {row}: {reason(error)}") from error
        if not len(samples) or len(samples) < length - max(0, -spare):
            raise self.damaged(f"row {row} ends earlier than it says")
        before = round(position * (length - len(samples)))
        samples = np.pad(samples, (before, length - len(samples) - before))
        return segment.name, samples / np.float32(segment.rms)


def is_plain(group: Any) -> bool:
    """Whether nothing in a row group is compressed, so that it cannot be larger than its file."""
    return all(group.column(number).compression == "UNCOMPRESSED" for number in range(group.num_columns))


def reason(error: Exception) -> str:
    """The first line of a message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
