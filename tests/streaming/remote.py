"""Object storage in this process, over a folder, that fails as one asks it to."""

from contextlib import contextmanager
from pathlib import Path

from mixit_lightning.streaming.storage import Storage


class Remote(Storage):
    """Storage that is not local, though its files are.

    Args:
        folder: of the files.
        patience: see `Storage`.
    """

    def __init__(self, folder: Path, patience: float = 5.0) -> None:
        self.folder = folder
        self.failures = 0
        self.read_names = []
        self.cut_at = None
        super().__init__("s3://bucket/place", patience)

    def open(self):
        self.root, self.opened_by = "bucket/place", 0

    def size(self, name):
        path = self.folder / name
        return path.stat().st_size if path.is_file() else None

    @contextmanager
    def reading(self, name):
        self.read_names.append(name)
        if self.failures:
            self.failures -= 1
            raise OSError("AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 7, Could not connect")
        with (self.folder / name).open("rb") as stream:
            yield Dropping(stream, self.cut_at) if self.cut_at else stream


class Dropping:
    """A stream whose connection drops at a byte, once."""

    def __init__(self, stream, at):
        self.stream, self.at = stream, at

    def read(self, size):
        if self.stream.tell() >= self.at:
            raise OSError("AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 56, reset by peer")
        return self.stream.read(min(size, self.at))
