"""One shard: a Parquet file with a segment of a recording in every row."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ..errors import UserError
from .storage import first_line

SOUND = "audio"
"""The column that others, such as Hugging Face's `datasets`, read as sound."""

PLAN = b"plan"
"""Key, in the metadata of a shard, of the hash of everything that it was made from."""


def schema(sample_rate: int, plan: str) -> Any:
    """Columns of a shard: the sound as FLAC, and where it is from.

    Args:
        sample_rate: Hz.
        plan: see `PLAN`.
    """
    import pyarrow

    kinds = {"recording": "string", "channel": "int32", "start": "float64", "seconds": "float64", "rms": "float64"}
    features = {SOUND: {"_type": "Audio", "sampling_rate": sample_rate}}
    features |= {name: {"_type": "Value", "dtype": kind} for name, kind in kinds.items()}
    sound = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    return pyarrow.schema(
        [(SOUND, sound), *((name, getattr(pyarrow, kind)()) for name, kind in kinds.items())],
        metadata={"huggingface": json.dumps({"info": {"features": features}}), PLAN: plan},
    )


class ShardFile:
    """A shard on this machine, open; segments are read one by one, each a row group with checksums.

    Args:
        path: of the file.
        sample_rate: Hz, that its segments must have.
        rows: that it must have.

    Raises:
        UserError: it is not a shard as `mixit shard` writes them.
    """

    def __init__(self, path: Path, sample_rate: int, rows: int) -> None:
        from pyarrow.parquet import ParquetFile

        self.path = path
        self.sample_rate = sample_rate
        with self.explained("it"):
            self.file = ParquetFile(path, page_checksum_verification=True)
            if self.file.num_row_groups != rows:
                raise ValueError(f"it has {self.file.num_row_groups} rows where the catalogue has {rows}")

    @contextmanager
    def explained(self, part: str) -> Iterator[None]:
        """Name the file in errors of reading it.

        Raises:
            UserError: instead of them.
        """
        from pyarrow import ArrowException

        try:
            yield
        except (ArrowException, soundfile.LibsndfileError, OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{self.path}: {part} cannot be read ({first_line(error)}); remove the file, so that it is fetched "
                "again, or made again by `mixit shard` with the same settings"
            ) from error

    def row(self, number: int) -> dict[str, Any]:
        """A row by the names of its columns.

        Raises:
            UserError: it cannot be read.
        """
        with self.explained(f"row {number}"):
            (values,) = self.file.read_row_group(number, use_threads=False).to_pylist()
        found: dict[str, Any] = values
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
        values = self.row(row)
        with self.explained(f"row {row}"), soundfile.SoundFile(BytesIO(values[SOUND]["bytes"])) as file:
            if (file.samplerate, file.channels) != (self.sample_rate, 1):
                raise ValueError(
                    f"it has {file.channels} channels at {file.samplerate} Hz, not 1 at {self.sample_rate}"
                )
            file.seek(max(0, round(position * (file.frames - length))))
            samples = file.read(min(length, file.frames), dtype="float32")
            if len(samples) < min(length, file.frames) or not values["rms"] > 0:
                raise ValueError("it ends early, or has no level")
            name = f"{values['recording']} from {values['start']:.1f} s"
        before = round(position * (length - len(samples)))
        return name, np.pad(samples, (before, length - len(samples) - before)) / np.float32(values["rms"])
