"""The order in which the segments of shards are drawn: a function of a seed and a number, and of nothing else.

By hand, as the shuffle buffer of a streaming library is lost when a run resumes, its order depends on the number of
processes, and it knows nothing of the recordings that a mixture of mixtures is made of.
"""

from collections.abc import Sequence

import numpy as np

from ..data.mixture import generator
from ..errors import UserError

SHUFFLE, DEAL = 11, 12
"""Keys of the random generators for the order of an epoch, and of the examples that are dealt out anew."""


class Order:
    """Every segment once per epoch, in another order every time, of which few shards are needed at a time.

    The shards of an epoch are shuffled and taken in windows; the segments of a window are shuffled. Segments whose
    numbers make up one example, such as 2k and 2k + 1, come from different recordings, unless more than its share of
    a window is from one. The few segments that are left over for no whole example are other ones in every epoch.

    Args:
        recordings: for every shard, the numbers of the recordings that its rows are from.
        window: shards whose segments are shuffled together.
        num_mixtures: segments of one example.
        seed: another seed is another order.

    Raises:
        UserError: there are too few segments for one example.
    """

    def __init__(self, recordings: Sequence[Sequence[int]], window: int, num_mixtures: int, seed: int) -> None:
        self.rows = np.array([len(numbers) for numbers in recordings])
        self.starts = np.cumsum(self.rows) - self.rows
        self.recordings = np.concatenate([np.asarray(numbers, np.int32) for numbers in recordings])
        self.size = window
        self.num_mixtures = num_mixtures
        self.seed = seed
        self.recent: dict[int, np.ndarray] = {}
        if not len(self):
            raise UserError(f"there are fewer segments than the {num_mixtures} of one example; pack more recordings")

    def __len__(self) -> int:
        return len(self.recordings) // self.num_mixtures * self.num_mixtures

    def segment(self, number: int) -> tuple[int, int]:
        """Numbers of shard and row of the segment of a number."""
        epoch, index = divmod(number, len(self))
        if epoch not in self.recent:
            self.recent = {key: value for key, value in self.recent.items() if key == epoch - 1}
            self.recent[epoch] = self.arranged(epoch)
        segment = int(self.recent[epoch][index])
        shard = int(np.searchsorted(self.starts, segment, "right")) - 1
        return shard, segment - int(self.starts[shard])

    def window(self, number: int) -> tuple[int, int]:
        """Epoch and window that the segment of a number is in."""
        epoch, index = divmod(number, len(self))
        ends = np.cumsum(self.rows[self.shards(epoch)])
        return epoch, int(np.searchsorted(ends, index, "right")) // self.size

    def ahead(self, epoch: int, window: int) -> np.ndarray:
        """Numbers of the shards of a window and of the next one."""
        first = window * self.size
        found = self.shards(epoch)[first : first + 2 * self.size]
        is_last = first + self.size >= len(self.rows)
        return np.concatenate([found, self.shards(epoch + 1)[: self.size]]) if is_last else found

    def shards(self, epoch: int) -> np.ndarray:
        """Numbers of the shards in the order of an epoch."""
        return generator(self.seed, SHUFFLE, epoch).permutation(len(self.rows))

    def arranged(self, epoch: int) -> np.ndarray:
        """The segments of an epoch, window by window, the members of each example from different recordings."""
        rng, shards = generator(self.seed, SHUFFLE, epoch, 1), self.shards(epoch)
        segments = [self.starts[shard] + np.arange(self.rows[shard]) for shard in shards]
        windows = [np.concatenate(segments[first : first + self.size]) for first in range(0, len(shards), self.size)]
        shuffled = np.concatenate([rng.permutation(window) for window in windows])
        examples = shuffled[: len(self)].reshape(-1, self.num_mixtures)
        # The last window may be too small for partners of different recordings, so it joins the one before.
        ends = np.cumsum([len(window) for window in windows])[:-2] // self.num_mixtures
        rng = generator(self.seed, DEAL, epoch)
        return np.concatenate([apart(part, self.recordings, rng) for part in np.split(examples, ends)]).ravel()


def apart(examples: np.ndarray, kinds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Deal out examples with two items of one kind anew, together with as many others as it takes.

    Sorted by kind, members of an example are as far apart as possible: none has two of one kind then, unless one kind
    has more than its share of all.

    Args:
        examples: `(example, member)`, numbers of items.
        kinds: `(item,)`
        rng: of the order of examples that are dealt out.

    Returns:
        `(example, member)`, the same items.
    """
    bad = alike(kinds[examples])
    wrong, right = np.flatnonzero(bad), np.flatnonzero(~bad)
    count = len(wrong)
    while count:
        places = np.concatenate([wrong, right[:count]])
        items = examples[places].ravel()
        dealt = items[np.argsort(kinds[items], kind="stable")].reshape(examples.shape[1], -1).T
        if count >= len(right) or not alike(kinds[dealt]).any():
            examples = examples.copy()
            examples[places] = rng.permutation(dealt)
            break
        count *= 2
    return examples


def alike(kinds: np.ndarray) -> np.ndarray:
    """Mask of the rows of `(example, member)` that have two of one kind."""
    rows: np.ndarray = (np.diff(np.sort(kinds, axis=1), axis=1) == 0).any(axis=1)
    return rows
