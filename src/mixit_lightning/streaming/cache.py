"""Local copies of the shards of object storage, each fetched once for all processes of a machine."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from time import time

from ..errors import UserError
from ..files import replacing
from .catalogue import Shard
from .reading import ShardFile
from .storage import Storage

RECENT = 60
"""Seconds after which a copy may be removed: until then, a process may be about to open it."""


class Cache:
    """The shards of a location on this machine.

    A folder of shards is read in place. Copies of those of object storage are named after their content, so that
    several runs may share a folder; the ones that were not used for the longest time make room for others.

    Args:
        storage: where the shards are.
        folder: for the copies.
        gigabytes: size of that folder above which copies are removed.
    """

    def __init__(self, storage: Storage, folder: Path, gigabytes: float) -> None:
        self.storage = storage
        self.folder = folder
        self.limit = gigabytes * 1e9

    def open(self, shard: Shard, sample_rate: int) -> ShardFile:
        """A shard, open; waits for it if need be.

        Args:
            shard: which one.
            sample_rate: Hz, that it must have.

        Raises:
            UserError: it is damaged, or cannot be fetched.
        """
        path = Path(self.storage.path(shard.name)) if self.storage.is_local else self.copy(shard)
        return ShardFile(path, sample_rate, len(shard.recordings))

    def copy(self, shard: Shard) -> Path:
        """Path of the copy of a shard, which is fetched unless another process has done so.

        Raises:
            UserError: it cannot be fetched, or the disk is full.
        """
        target = self.folder / f"{shard.plan}.parquet"
        with self.locked(shard.plan):
            if target.exists():
                os.utime(target)
                return target
            self.make_room(shard.bytes)
            with replacing(target, synchronise=False) as partial:
                self.storage.fetch(shard.name, partial)
        return target

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """One process of the machine at a time; one that was killed does not keep the others out."""
        from filelock import FileLock

        locks = self.folder / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / name):
            yield

    def make_room(self, size: int) -> None:
        """Remove the copies that were not used for the longest time, if that many bytes more would be too many."""
        with self.locked("room"):
            about = {path: path.stat() for path in self.folder.glob("*.parquet*")}
            size += sum(stat.st_size for stat in about.values())
            for path, stat in sorted(about.items(), key=lambda item: item[1].st_mtime):
                if size <= self.limit or stat.st_mtime > time() - RECENT:
                    break
                path.unlink(missing_ok=True)
                size -= stat.st_size

    def look_ahead(self, shards: Iterable[Shard]) -> None:
        """Fetch shards that will be needed, in a thread; errors are raised when they are opened."""

        def fetch() -> None:
            for shard in shards:
                with suppress(UserError, OSError):
                    self.copy(shard)

        if not self.storage.is_local:
            Thread(target=fetch, daemon=True).start()
