"""The shards at a location, from its `catalogue.json`."""

import hashlib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..data.datamodule import Split
from ..errors import UserError
from .storage import Storage

CATALOGUE = "catalogue.json"


class Shard(BaseModel):
    """A file of segments of recordings."""

    model_config = ConfigDict(frozen=True)

    name: Annotated[str, Field(pattern=r"^(train|valid|test)-[0-9]{5,9}\.parquet$")]
    """Of a file beside the catalogue: it cannot lead elsewhere."""
    bytes: int
    plan: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Hash of everything that it was made from."""
    seconds: float
    """Seconds of all its segments."""
    recordings: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]
    """Number of the recording that every row is from."""


class Catalogue(BaseModel):
    """All shards at a location."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    sample_rate: int
    """Sample rate in Hz."""
    recordings: int
    hours: dict[Split, float]
    licence: str | None = None
    settings: dict[str, str | float | int | None] = {}
    """Settings that the shards were made with."""
    shards: list[Shard]

    def of(self, split: Split) -> list[Shard]:
        """The shards of a split."""
        return [shard for shard in self.shards if shard.name.startswith(f"{split}-")]

    @property
    def fingerprint(self) -> str:
        """Changes when the content of any shard does."""
        return hashlib.sha256("\n".join(shard.plan for shard in self.shards).encode()).hexdigest()[:16]


def read_catalogue(storage: Storage) -> Catalogue:
    """Read the catalogue of a location.

    Raises:
        UserError: there is none, it is not as it should be, or cannot be reached.
    """
    try:
        return Catalogue.model_validate_json(storage.read(CATALOGUE))
    except ValidationError as error:
        raise UserError(
            f"{storage.path(CATALOGUE)}: {first_mistake(error)}; it is damaged, or no catalogue of shards: run `mixit "
            "shard` again"
        ) from error


def first_mistake(error: ValidationError) -> str:
    """The first of its errors: key and message."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'it'}={str(first['input'])[:50]}: {first['msg']}"
