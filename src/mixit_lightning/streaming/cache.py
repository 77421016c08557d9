"""Local copies of shards: those of object storage are fetched into a folder, once for all processes of a machine."""

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic, time

from filelock import FileLock, Timeout

from ..errors import UserError
from ..files import replacing
from .catalogue import Shard
from .reading import ShardFile
from .storage import Storage

TRIES = 3
"""Attempts at opening a shard, as other processes may make room at the same time."""

STALE = 86_400
"""Seconds after which a partial file counts as abandoned."""


class Cache:
    """The shards of a location on this machine, each compared with its checksum before it is used.

    A folder of shards is read in place. Those of object storage are kept under their checksums, so that several runs
    may share a folder; the ones that were not used for the longest time make room for others.

    Args:
        storage: where the shards are.
        folder: for those of object storage.
        gigabytes: highest size of that folder; shards that are needed now and next stay in any case.
    """

    def __init__(self, storage: Storage, folder: Path, gigabytes: float) -> None:
        self.storage = storage
        self.folder = folder
        self.limit = round(gigabytes * 1e9)
        self.whole: set[str] = set()
        self.needed: list[Shard] = []
        self.thread: threading.Thread | None = None
        self.thread_of = 0

    def path(self, shard: Shard) -> Path:
        """Path of a complete shard; waits for it if need be.

        Raises:
            UserError: it is damaged, or cannot be fetched.
        """
        if self.storage.is_local:
            return self.checked(shard)
        target = self.target(shard)
        if not self.is_whole(shard, target):
            self.fetch(shard, target, self.storage.patience)
            self.look_ahead(self.needed)
        return target

    def open(self, shard: Shard, sample_rate: int) -> ShardFile:
        """A shard, open, which another process may then remove.

        Args:
            shard: which one.
            sample_rate: Hz, that it must have.

        Raises:
            UserError: it is damaged, or cannot be fetched.
        """
        for _ in range(TRIES - 1):
            path = self.path(shard)
            try:
                return ShardFile(path, sample_rate, len(shard.recordings))
            except UserError as error:
                if not isinstance(error.__cause__, FileNotFoundError):  # another process made room
                    raise
        return ShardFile(self.path(shard), sample_rate, len(shard.recordings))

    def checked(self, shard: Shard) -> Path:
        """A shard of a folder, whose checksum is compared once in every process."""
        path = Path(self.storage.path(shard.name))
        if shard.name not in self.whole:
            try:
                found = self.storage.digest(shard.name, shard.bytes)
            except OSError as error:
                raise UserError(f"{path}: cannot be read ({error.strerror}); `mixit shard` makes it again") from error
            if found != shard.sha256:
                raise damaged(str(path), shard, found)
            self.whole.add(shard.name)
        return path

    def target(self, shard: Shard) -> Path:
        """Path at which a shard of object storage is kept."""
        return self.folder / f"{shard.sha256}.parquet"

    def is_there(self, target: Path) -> bool:
        """Whether a shard is in the cache; it then counts as used."""
        try:
            os.utime(target)
        except FileNotFoundError:
            return False
        return True

    def is_whole(self, shard: Shard, target: Path) -> bool:
        """Whether a shard is in the cache with the right checksum, which is compared once in every process."""
        if not self.is_there(target):
            self.whole.discard(shard.name)
            return False
        if shard.name not in self.whole:
            try:
                with target.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except FileNotFoundError:  # another process made room
                return False
            if found != shard.sha256:
                return False
            self.whole.add(shard.name)
        return True

    def fetch(self, shard: Shard, target: Path, patience: float) -> None:
        """Fetch a shard, unless another process is faster.

        Raises:
            UserError: it is damaged there, cannot be reached for so long, or the disk is full.
        """
        deadline = monotonic() + patience
        try:
            with self.locked(shard.sha256, patience):
                if self.is_whole(shard, target):
                    return
                self.make_room(shard.bytes)
                with replacing(target) as fetched:
                    for _ in range(2):  # the way here may have damaged it
                        rest = max(0.0, deadline - monotonic())
                        found = self.storage.patiently(
                            partial(self.storage.digest, shard.name, shard.bytes, fetched), rest
                        )
                        if found == shard.sha256:
                            break
                    else:
                        raise damaged(self.storage.path(shard.name), shard, found)
                self.whole.add(shard.name)
        except FileNotFoundError as error:
            raise UserError(
                f"{self.storage.path(shard.name)}: missing, though the catalogue has it; run `mixit shard` again"
            ) from error
        except OSError as error:
            raise UserError(
                f"{self.folder}: {shard.name} cannot be kept there ({error}); give datamodule.cache=FOLDER"
            ) from error

    @contextmanager
    def locked(self, name: str, patience: float) -> Iterator[None]:
        """One process of the machine at a time; one that was killed does not keep the others out."""
        locks = self.folder / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / name)
        try:
            # Whoever holds it gives up after the same time.
            lock.acquire(timeout=patience + 60 if patience else 0)
        except Timeout as error:
            raise UserError(f"{self.folder}: another process fetches {name}, and does not end; stop it") from error
        try:
            yield
        finally:
            lock.release()

    def make_room(self, size: int) -> None:
        """Remove the shards that were not used for the longest time, if that many bytes more would be too many.

        And what processes that were killed left of shards.
        """
        with self.locked("room", 60):
            for path, about in self.present("*.partial"):
                if about.st_mtime < time() - STALE:
                    path.unlink(missing_ok=True)
            kept = {self.target(shard) for shard in self.needed}
            present = sorted((about.st_mtime_ns, about.st_size, path) for path, about in self.present())
            total = sum(size for _, size, _ in present)
            for _, bytes_, path in present:
                if total + size <= self.limit:
                    break
                if path not in kept:
                    path.unlink(missing_ok=True)
                    total -= bytes_

    def present(self, pattern: str = "*.parquet") -> Iterable[tuple[Path, os.stat_result]]:
        """The shards that are kept."""
        for path in self.folder.glob(pattern):
            try:
                yield path, path.stat()
            except FileNotFoundError:  # another process made room
                continue

    def look_ahead(self, needed: Sequence[Shard]) -> None:
        """Fetch shards that will be needed, in a thread, and keep them.

        Args:
            needed: shards, the next ones first.
        """
        self.needed = list(needed)
        if self.thread_of != os.getpid() or self.thread is None or not self.thread.is_alive():
            self.thread = threading.Thread(target=self.run_ahead, daemon=True)
            self.thread_of = os.getpid()
            self.thread.start()

    def run_ahead(self) -> None:
        """Fetch one shard after the other; errors are raised when the shard is opened."""
        done: set[str] = set()
        while waiting := [shard for shard in self.needed if shard.name not in done]:
            shard = waiting[0]
            done.add(shard.name)
            try:
                if self.storage.is_local:
                    self.checked(shard)
                elif not self.is_whole(shard, self.target(shard)):
                    self.fetch(shard, self.target(shard), 0)
            except (UserError, OSError):
                continue


def damaged(path: str, shard: Shard, found: str) -> UserError:
    """The error for a shard with a wrong checksum."""
    return UserError(
        f"{path}: is damaged, its SHA-256 begins with {found[:12]} where the catalogue says {shard.sha256[:12]}; "
        "remove it, and run `mixit shard` again with the same settings, which makes what is missing"
    )
