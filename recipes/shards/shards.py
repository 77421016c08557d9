"""Recordings that `mixit shard` packed, in a folder or in object storage: crops, added up to mixtures of mixtures."""

from functools import cached_property
from pathlib import Path
from typing import Any

from mixit_lightning.collection.labelled import UnlabelledDataModule, check_unchanged
from mixit_lightning.data import Split
from mixit_lightning.data.datamodule import LIST_SEEDS
from mixit_lightning.errors import UserError
from mixit_lightning.streaming.cache import Cache
from mixit_lightning.streaming.catalogue import Catalogue, Shard, read_catalogue
from mixit_lightning.streaming.doctor import ShardDiagnosis
from mixit_lightning.streaming.mixtures import SegmentList, SegmentMixtures, Segments
from mixit_lightning.streaming.order import Order
from mixit_lightning.streaming.storage import Storage


class Shards(UnlabelledDataModule):
    """Crops of the segments of shards, each once per epoch.

    Args:
        data: folder of the shards, or their URI in object storage.
        shards: fingerprint of the shards, which a run belongs to; null is whichever there are.
        window: shards whose segments are shuffled together.
        cache: folder for shards of object storage.
        cache_gigabytes: size of that folder above which those that were not used for the longest time are removed.
        settings: of the `UnlabelledDataModule`.
    """

    def __init__(
        self, data: str, shards: str | None, window: int, cache: str, cache_gigabytes: float, **settings: Any
    ) -> None:
        super().__init__(**settings)
        if window < 1:
            raise UserError(f"datamodule.window={window} must be 1 or more")
        self.storage = Storage(data)
        self.fingerprint = shards
        self.window = window
        self.cache = Cache(self.storage, Path(cache), cache_gigabytes)

    @cached_property
    def catalogue(self) -> Catalogue:
        """Catalogue of the shards.

        Raises:
            UserError: there is none, it cannot be reached, or is not what these settings and this run ask for.
        """
        found = read_catalogue(self.storage)
        location = self.storage.location
        check_unchanged(location, "shards", self.fingerprint, found.fingerprint)
        if found.sample_rate != self.sample_rate:
            raise UserError(
                f"{location}: its shards have {found.sample_rate} Hz where sample_rate={self.sample_rate}; leave it "
                f"out, or pack them again with `mixit shard sample_rate={self.sample_rate}`"
            )
        return found

    def of(self, split: Split) -> list[Shard]:
        """The shards of a split.

        Raises:
            UserError: there are none.
        """
        if not (found := self.catalogue.of(split)):
            raise UserError(f"{self.storage.location}: has no shards for {split}; run `mixit shard` again")
        return found

    def segments(self, split: Split, order: Order) -> Segments:
        """The segments of a split in the given order."""
        return Segments(self.of(split), self.cache, order, self.sample_rate, self.length)

    def order(self, split: Split, seed: int) -> Order:
        """An order of the segments of a split."""
        return Order([shard.recordings for shard in self.of(split)], self.window, self.num_mixtures, seed)

    def crops(self) -> SegmentMixtures:
        """Crops of the segments for training."""
        segments = self.segments("train", self.order("train", self.seed))
        return SegmentMixtures(segments, self.max_level, self.seed)

    def evaluation_mixtures(self, split: Split) -> SegmentList:
        """Crops of what was held out."""
        return SegmentList(self.segments(split, self.order(split, LIST_SEEDS[split])), self.counts[split])

    def diagnoses(self, quiet: bool) -> list[ShardDiagnosis]:
        """Whether all shards are whole."""
        self.fingerprint = None  # whatever there is now
        return [ShardDiagnosis.of(self.catalogue, self.cache, quiet)]


def proposals(data: str) -> dict[str, Any]:
    """Settings that the shards have, for those that are `proposed`."""
    found = read_catalogue(Storage(data))
    return {"sample_rate": found.sample_rate, "datamodule.shards": found.fingerprint}
