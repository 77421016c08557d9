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
    """What the doctor says after reading every byte of every shard.

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
        """Compare all checksums, and read a segment of each shard; those of object storage are fetched for it."""
        problems = {}
        with ProgressBar("Reading shards", len(catalogue.shards), quiet=quiet, aside=True) as progress:
            for shard in catalogue.shards:
                try:
                    cache.open(shard, catalogue.sample_rate).crop(0, 0.0, 1)
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
            "sample_rate": self.catalogue.sample_rate,
            "recordings": self.catalogue.recordings,
            "hours": dict(self.catalogue.hours),
            "shards": len(self.catalogue.shards),
            "bytes": sum(shard.bytes for shard in self.catalogue.shards),
            "licence": self.catalogue.licence,
            "problems": dict(self.problems),
        }

    def show(self) -> None:
        """Print it."""
        size = gigabytes(sum(shard.bytes for shard in self.catalogue.shards))
        hours = ", ".join(f"{split} {value:.2f} h" for split, value in self.catalogue.hours.items())
        count = len(self.catalogue.shards)
        print(f"{self.location}: {count} shards, {size}, {self.catalogue.recordings} recordings, {hours}")
        for problem in self.problems.values():
            print(f"error: {problem}")
