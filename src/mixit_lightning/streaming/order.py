"""The order in which the segments of shards are drawn: a function of a seed and a number, and of nothing else."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..data.mixture import generator

SHARDS, SEGMENTS = 11, 12
"""Keys of the random generators for the order of shards in an epoch and of segments in a window."""


class Window(NamedTuple):
    """Shards whose segments are shuffled together."""

    shards: np.ndarray
    """Their numbers."""
    first: int
    """Number of its first segment among those of all epochs."""
    segments: np.ndarray
    """`(segment, 2)`: numbers of shard and row, in order."""


class Order:
    """Every segment once per epoch, in another order every time, of which few shards are needed at a time.

    The shards of an epoch are shuffled and taken in windows; the segments of a window are shuffled. Segments whose
    numbers make up one example, such as 2k and 2k + 1, come from different recordings, unless more than its share of
    a window is from one.

    Args:
        recordings: for every shard, the numbers of the recordings that its rows are from.
        window: shards.
        num_mixtures: segments of one example.
        seed: another seed is another order.
    """

    def __init__(self, recordings: Sequence[Sequence[int]], window: int, num_mixtures: int, seed: int) -> None:
        self.recordings = [np.asarray(numbers, np.int32) for numbers in recordings]
        self.rows = np.array([len(numbers) for numbers in self.recordings])
        self.total = int(self.rows.sum())
        self.size = window
        self.num_windows = -(-len(self.rows) // window)
        self.num_mixtures = num_mixtures
        self.seed = seed
        self.recent: dict[tuple[int, int], Window] = {}

    def __len__(self) -> int:
        return self.total

    def window_of(self, number: int) -> tuple[int, int]:
        """Epoch and window of the segment of a number."""
        epoch, index = divmod(number, self.total)
        ends = np.cumsum(np.add.reduceat(self.rows[self.shuffled(epoch)], self.starts))
        return epoch, int(np.searchsorted(ends, index, "right"))

    def segment(self, number: int) -> tuple[int, int]:
        """Numbers of shard and row of the segment of a number."""
        for window in self.recent.values():
            if 0 <= number - window.first < len(window.segments):
                break
        else:
            window = self.window(*self.window_of(number))
        shard, row = window.segments[number - window.first]
        return int(shard), int(row)

    @property
    def starts(self) -> np.ndarray:
        """Index, in an epoch, of the first shard of every window."""
        return np.arange(0, len(self.rows), self.size)

    def shuffled(self, epoch: int) -> np.ndarray:
        """Numbers of the shards in the order of an epoch."""
        return generator(self.seed, SHARDS, epoch).permutation(len(self.rows))

    def after(self, epoch: int, window: int) -> tuple[int, int]:
        """Epoch and number of the next window."""
        return (epoch, window + 1) if window + 1 < self.num_windows else (epoch + 1, 0)

    def shards(self, epoch: int, window: int) -> np.ndarray:
        """Numbers of the shards of a window."""
        return self.shuffled(epoch)[window * self.size : (window + 1) * self.size]

    def window(self, epoch: int, window: int) -> Window:
        """A window, put in order."""
        if (epoch, window) not in self.recent:
            while len(self.recent) > 3:
                self.recent.pop(next(iter(self.recent)))
            self.recent[epoch, window] = self.arrange(epoch, window)
        return self.recent[epoch, window]

    def arrange(self, epoch: int, window: int) -> Window:
        """Put the segments of a window in order.

        Those that are left over at its end begin an example that the next window completes. They are chosen first and
        without regard to anything else, so that no window has to know more of another than its last segments.
        """
        shards, first = self.shards(epoch, window), self.first(epoch, window)
        segments = np.concatenate([np.stack([np.full(self.rows[k], k), np.arange(self.rows[k])], 1) for k in shards])
        kinds, last, left = self.divided(epoch, window)
        if len(segments) < 2 * self.num_mixtures:
            return Window(shards, first, segments[[*left, *last]])
        begun: set[int] = set()
        if head := -first % self.num_mixtures:
            others, ends, _ = self.divided(*((epoch, window - 1) if window else (epoch - 1, self.num_windows - 1)))
            begun.update(others[ends].tolist())
        beginning = take(left, kinds, head, begun)
        middle = np.array(left, np.int64)
        middle = middle[apart(kinds[middle], self.num_mixtures, generator(self.seed, SEGMENTS, epoch, window, 1))]
        return Window(shards, first, segments[np.concatenate([beginning, middle, last]).astype(np.int64)])

    def first(self, epoch: int, window: int) -> int:
        """Number of the first segment of a window among those of all epochs."""
        return epoch * self.total + int(self.rows[self.shuffled(epoch)[: window * self.size]].sum())

    def divided(self, epoch: int, window: int) -> tuple[np.ndarray, list[int], list[int]]:
        """Recordings of the segments of a window, unshuffled; which ones come last; the others, shuffled."""
        kinds = np.concatenate([self.recordings[number] for number in self.shards(epoch, window)])
        left = generator(self.seed, SEGMENTS, epoch, window).permutation(len(kinds)).tolist()
        end = self.first(epoch, window) + len(kinds)
        return kinds, take(left, kinds, end % self.num_mixtures, set()), left


def take(left: list[int], kinds: np.ndarray, count: int, others: set[int]) -> list[int]:
    """Take the first `count` out of `left` that are of different kinds, and of none of the others, where possible."""
    taken: list[int] = []
    for _ in range(min(count, len(left))):
        fitting = (number for number in left if int(kinds[number]) not in others)
        number = next(fitting, left[0])
        left.remove(number)
        others.add(int(kinds[number]))
        taken.append(number)
    return taken


def apart(kinds: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """An order in which no group of `size` neighbours has two of one kind, if one kind is not too frequent.

    Groups that have are dealt out anew, together with as many others as it takes: sorted by kind, members of a group
    are as far apart as possible.

    Args:
        kinds: `(item,)`, a multiple of `size`.
        size: of a group.
        rng: of the order of groups that are dealt out.

    Returns:
        `(item,)`, numbers of the items.
    """
    groups = np.arange(len(kinds)).reshape(-1, size)
    bad = alike(kinds[groups])
    wrong, right = np.flatnonzero(bad), np.flatnonzero(~bad)
    count = len(wrong)
    while count:
        dealt_out = np.concatenate([wrong, right[:count]])
        pool = groups[dealt_out].ravel()
        pool = pool[np.argsort(kinds[pool], kind="stable")]
        dealt = pool.reshape(size, -1).T
        if count >= len(right) or not alike(kinds[dealt]).any():
            groups[dealt_out] = rng.permutation(dealt)
            break
        count *= 2
    return groups.ravel()


def alike(kinds: np.ndarray) -> np.ndarray:
    """Mask of the rows of `(group, member)` that have two of one kind."""
    rows: np.ndarray = (np.diff(np.sort(kinds, axis=1), axis=1) == 0).any(axis=1)
    return rows
