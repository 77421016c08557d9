"""The doctor on shards: their amount, and which of them are damaged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UserError
from ..progress import ProgressBar, gigabytes
from .cache import Cache
from .catalogue import Catalogue


@dataclass(frozen=True)
class ShardDiagnosis:
    """What the doctor says after reading every row of every shard.

    Args:
        location: where they are.
        catalogue: what they should be.
        problems: by name of the shard.
    """

    location: str
    catalogue: Catalogue
    problems: Mapping[str, str]

    @classmethod
    def of(cls, catalogue: Catalogue, cache: Cache, quiet: bool) -> "ShardDiagnosis":
        """Read all rows, whose checksums pyarrow compares; shards of object storage are fetched for it."""
        problems = {}
        with ProgressBar("Reading shards", len(catalogue.shards), quiet=quiet, aside=True) as progress:
            for shard in catalogue.shards:
                try:
                    file = cache.open(shard, catalogue.sample_rate)
                    for row in range(len(shard.recordings)):
                        file.row(row)
                    file.crop(0, 0.0, 1)
                except UserError as error:
                    problems[shard.name] = str(error)
                progress.advance()
        return cls(cache.storage.location, catalogue, problems)

    @property
    def healthy(self) -> bool:
        """Whether all of them are whole."""
        return not self.problems

    def plain(self) -> dict[str, Any]:
        """All of it in plain types."""
        return {
            "root": self.location,
            **self.catalogue.model_dump(include={"sample_rate", "recordings", "hours", "licence"}),
            "shards": len(self.catalogue.shards),
            "bytes": sum(shard.bytes for shard in self.catalogue.shards),
            "problems": dict(self.problems),
        }

    def show(self) -> None:
        """Print it."""
        plain = self.plain()
        hours = ", ".join(f"{split} {value:.2f} h" for split, value in plain["hours"].items())
        size = gigabytes(plain["bytes"])
        print(f"{self.location}: {plain['shards']} shards, {size}, {plain['recordings']} recordings, {hours}")
        for problem in self.problems.values():
            print(f"error: {problem}")
