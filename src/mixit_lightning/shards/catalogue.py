"""What a place of shards holds, in its `catalogue.json`. Whoever wrote it is not believed unchecked."""

import hashlib
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from ..data.datamodule import Split
from ..errors import UserError
from .storage import Storage

CATALOGUE = "catalogue.json"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

ShardName = Annotated[str, Field(pattern=r"^(train|valid|test)-[0-9]{5,9}\.parquet$")]
"""Of a file beside the catalogue: nothing that could lead elsewhere."""


class Shard(BaseModel):
    """A file of segments of recordings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ShardName
    bytes: PositiveInt
    sha256: Digest
    plan: Digest
    """Of everything that it was made from."""
    seconds: PositiveFloat
    """Of all its segments."""
    recordings: list[NonNegativeInt] = Field(min_length=1)
    """Number of the recording that every row is from."""

    @property
    def split(self) -> str:
        """What it is for."""
        return self.name.partition("-")[0]

    @property
    def sidecar(self) -> str:
        """Name of the file that says, before there is a catalogue, that the shard is whole."""
        return PurePosixPath(self.name).with_suffix(".json").name


class Catalogue(BaseModel):
    """All shards of a place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    sample_rate: int = Field(ge=1000, le=655_350)
    """Hz."""
    recordings: PositiveInt
    hours: dict[Split, float]
    licence: str | None = None
    settings: dict[str, str | float | int | None] = {}
    """That the shards were made with."""
    shards: list[Shard] = Field(min_length=1)

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
    """The catalogue of a place.

    Args:
        storage: the place.
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
        return Catalogue.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "it"
        raise UserError(
            f"{path}: {key}: {first['msg']}; it is none of ours, or damaged: run `mixit shard` again"
        ) from error
