"""Crops of the segments of shards: endless ones to train on, and fixed lists."""

from collections.abc import Sequence

import numpy as np

from ..data.dynamic import REFERENCE_RMS
from ..data.mixture import Mixture, generator, unlabelled
from ..errors import UserError
from .cache import Cache
from .catalogue import Shard
from .order import Order
from .reading import ShardFile

CROP = 13
"""Key of the random generator for position and level of a crop."""


class Segments:
    """The segments of some shards by number, in the order of `Order`; the shards are fetched ahead of time.

    Args:
        shards: one or more.
        cache: where they are read.
        order: of their segments.
        sample_rate: Hz.
        length: samples of a crop.
    """

    def __init__(self, shards: Sequence[Shard], cache: Cache, order: Order, sample_rate: int, length: int) -> None:
        self.shards = shards
        self.cache = cache
        self.order = order
        self.sample_rate = sample_rate
        self.length = length
        self.window: tuple[int, int] | None = None
        self.files: dict[int, ShardFile] = {}

    def crop(self, number: int, position: float) -> tuple[str, np.ndarray]:
        """Name and samples of a crop of the segment of a number; see `ShardFile.crop`."""
        shard, row = self.order.segment(number)
        if shard not in self.files:
            self.open(shard, number)
        return self.files[shard].crop(row, position, self.length)

    def open(self, shard: int, number: int) -> None:
        """Open the shard of the segment of a number, and fetch those of its window and of the next one."""
        if (window := self.order.window(number)) != self.window:
            self.window = window
            needed = dict.fromkeys(self.order.ahead(*window).tolist())
            self.files = {key: file for key, file in self.files.items() if key in needed}
            self.cache.look_ahead([self.shards[key] for key in needed])
        self.files[shard] = self.cache.open(self.shards[shard], self.sample_rate)


class SegmentMixtures:
    """Random crops of segments to train on, by number: every segment once per epoch.

    Args:
        segments: what to cut from.
        max_level: dB, up or down, of every crop.
        seed: of the random crops.
    """

    def __init__(self, segments: Segments, max_level: float, seed: int) -> None:
        self.segments = segments
        self.max_level = max_level
        self.seed = seed

    def draw(self, number: int, *, labelled: bool = False) -> Mixture:
        """Crop of that number.

        Raises:
            UserError: its shard is damaged, or cannot be fetched.
        """
        rng = generator(self.seed, CROP, number)
        name, samples = self.segments.crop(number, float(rng.random()))
        gain = REFERENCE_RMS * 10 ** (rng.uniform(-self.max_level, self.max_level) / 20)
        return unlabelled(name, gain * samples)


class SegmentList:
    """The middles of the first segments of an order: a fixed list, whose neighbours are from different recordings.

    Args:
        segments: what to cut from.
        count: of the list, at most; there are no more than segments.

    Raises:
        UserError: there are fewer than two.
    """

    def __init__(self, segments: Segments, count: int) -> None:
        self.segments = segments
        self.count = min(count, len(segments.order))
        if self.count < 2:
            raise UserError("there are fewer than two segments to validate or test on; pack more recordings")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Mixture:
        name, samples = self.segments.crop(number, 0.5)
        return unlabelled(name, REFERENCE_RMS * samples)
