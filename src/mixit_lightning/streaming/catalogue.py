"""The shards at a location, from its `catalogue.json`, which is untrusted."""

import hashlib
import json
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..data.datamodule import Split
from ..errors import UserError
from .storage import Storage

CATALOGUE = "catalogue.json"

NOT_OURS = "it is none of ours, or damaged: run `mixit shard` again"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

MOST_ROWS = 2**17
"""Highest number of rows of a shard: two hours in segments of 50 ms, for which windows can still be shuffled."""

MOST_ENTRIES = 1000
"""Highest number of entries of an object: each could be an error of its own, with a message."""

Number = Annotated[int, Field(ge=0, lt=2**31)]
"""Number of a recording."""

Hours = Annotated[float, Field(ge=0, allow_inf_nan=False)]

ShardName = Annotated[str, Field(pattern=r"^(train|valid|test)-[0-9]{5,9}\.parquet$")]
"""Name of a file beside the catalogue: it cannot lead elsewhere."""


class Shard(BaseModel):
    """A file of segments of recordings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ShardName
    bytes: int = Field(gt=0, lt=2**40)
    sha256: Digest
    plan: Digest
    """Hash of everything that it was made from."""
    seconds: float = Field(gt=0, allow_inf_nan=False)
    """Seconds of all its segments."""
    recordings: list[Number] = Field(min_length=1, max_length=MOST_ROWS, fail_fast=True)
    """Number of the recording that every row is from."""

    @property
    def split(self) -> str:
        """Split that it belongs to."""
        return self.name.partition("-")[0]

    @property
    def sidecar(self) -> str:
        """Name of the file that says, before there is a catalogue, that the shard is whole."""
        return PurePosixPath(self.name).with_suffix(".json").name


class Catalogue(BaseModel):
    """All shards at a location."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    sample_rate: int = Field(ge=1000, le=655_350)
    """Sample rate in Hz."""
    recordings: int = Field(gt=0, lt=2**31)
    hours: dict[Split, Hours]
    licence: str | None = None
    settings: dict[str, str | float | int | None] = {}
    """Settings that the shards were made with."""
    shards: list[Shard] = Field(min_length=1, fail_fast=True)

    @model_validator(mode="after")
    def distinct(self) -> "Catalogue":
        """Refuse two shards of one name."""
        if len({shard.name for shard in self.shards}) < len(self.shards):
            raise ValueError("two shards have one name")
        return self

    def of(self, split: Split) -> list[Shard]:
        """The shards of a split."""
        return [shard for shard in self.shards if shard.split == split]

    @property
    def fingerprint(self) -> str:
        """Changes when any shard does."""
        return hashlib.sha256("\n".join(shard.sha256 for shard in self.shards).encode()).hexdigest()[:16]


def read_catalogue(storage: Storage, max_megabytes: float) -> Catalogue:
    """Read the catalogue of a location.

    Args:
        storage: where the shards are.
        max_megabytes: that it may have.

    Raises:
        UserError: there is none, it is not as it should be, or cannot be reached.
    """
    path = storage.path(CATALOGUE)
    try:
        content = storage.read(CATALOGUE, round(max_megabytes * 1e6))
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; `mixit shard` writes it when all shards are there") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        plain = json.loads(content)
        check_entries(plain)
        return Catalogue.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))[:100] or "it"
        raise UserError(f"{path}: {key}: {first['msg']}; {NOT_OURS}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: it: {error}; {NOT_OURS}") from error


def check_entries(catalogue: Any) -> None:
    """Refuse objects with so many entries that the errors in them would take all memory.

    Raises:
        ValueError: one has.
    """
    if not isinstance(catalogue, dict):
        return
    shards = catalogue.get("shards")
    for entry in (catalogue, *catalogue.values(), *(shards if isinstance(shards, list) else ())):
        if isinstance(entry, dict) and len(entry) > MOST_ENTRIES:
            raise ValueError(f"an object has {len(entry)} entries, more than any of ours")
