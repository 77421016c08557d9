"""Where shards are stored: a folder or object storage. An unreachable location is tried again for a while."""

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, TypeVar
from urllib.parse import parse_qs, urlsplit

from ..errors import UserError
from ..files import replacing
from ..reading import open_regular

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

READ_BYTES = 2**24
"""Bytes that are read or written at once."""

PAUSES = (1.0, 30.0)
"""Seconds between two attempts: the first pause, and the longest, to which pauses grow."""

REFUSED = (
    "ACCESS_DENIED",
    "INVALID_ACCESS_KEY_ID",
    "INVALID_CLIENT_TOKEN_ID",
    "NO_SUCH_BUCKET",
    "SIGNATURE_DOES_NOT_MATCH",
    "HTTP status 401",
    "HTTP status 403",
)
"""Answers that waiting would not change."""

Result = TypeVar("Result")


class Storage:
    """A folder, or a URI in object storage such as `s3://BUCKET/PREFIX`, with files by name.

    A server of one's own is given in the query: `?scheme=http&endpoint_override=HOST:PORT`. Keys are taken from the
    environment or the files of the AWS tools, never from the URI, which is written to many files.

    Args:
        location: the folder or URI.
        patience: seconds for which an unreachable location is tried again.

    Raises:
        UserError: pyarrow is missing, the URI is invalid, or has keys in it.
    """

    def __init__(self, location: str, patience: float) -> None:
        self.location = location
        self.patience = patience
        self.is_local = "://" not in location
        self.opened_by = 0
        if self.is_local:
            self.root = str(Path(location).expanduser().resolve())
        else:
            parts = urlsplit(location)
            if parts.username or {"access_key", "secret_key"} & parse_qs(parts.query).keys():
                raise UserError(
                    f"{parts.scheme}://...: leave the keys out of the URI; set AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
                )
            self.open()

    def open(self) -> None:
        """Connect; a process that was forked needs a connection of its own.

        Raises:
            UserError: pyarrow is missing, or cannot read such a URI.
        """
        # Checksums of the client's own, which many servers do not know; ours are compared anyway.
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
        try:
            from pyarrow import ArrowException
            from pyarrow.fs import FileSystem
        except ModuleNotFoundError as error:
            raise UserError(f"{self.location}: `pip install pyarrow` to read it") from error
        try:
            self.connection, self.root = FileSystem.from_uri(self.location)
        except (ArrowException, ValueError, OSError, NotImplementedError) as error:
            raise UserError(
                f"{self.location}: is not a URI for shards ({first_line(error)}); see docs/large-data.md"
            ) from error
        self.opened_by = os.getpid()

    @property
    def files(self) -> "FileSystem":
        """The connection of this process."""
        if self.opened_by != os.getpid():
            self.open()
        return self.connection

    def path(self, name: str) -> str:
        """Path of a file, for messages and the connection."""
        return f"{self.root.rstrip('/')}/{name}"

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is none."""
        if self.is_local:
            path = Path(self.path(name))
            return path.stat().st_size if path.is_file() else None

        def ask() -> int | None:
            from pyarrow.fs import FileType

            found = self.files.get_file_info(self.path(name))
            return found.size if found.type == FileType.File else None

        return self.patiently(ask)

    def read(self, name: str, most: int) -> bytes:
        """A small file.

        Args:
            name: of the file.
            most: bytes that it may have.

        Raises:
            FileNotFoundError: there is none.
            UserError: it has more, or cannot be reached.
        """
        content = self.patiently(lambda: self.read_once(name, most))
        if len(content) > most:
            raise UserError(
                f"{self.path(name)}: has more than {most / 1e6:g} MB; it is none of ours, or raise the limit"
            )
        return content

    def read_once(self, name: str, most: int) -> bytes:
        """Read a file, but at most one byte more than `most`."""
        content, left = b"", most + 1
        with self.reading(name) as stream:  # block by block, as a stream allocates as much as it is asked for
            while left > 0 and (block := stream.read(min(left, READ_BYTES))):
                content += block
                left -= len(block)
        return content

    @contextmanager
    def reading(self, name: str) -> Iterator[IO[bytes]]:
        """A file, open at its beginning."""
        if self.is_local:
            with BufferedReader(open_regular(Path(self.path(name)))) as stream:
                yield stream
        else:
            with self.files.open_input_stream(self.path(name)) as stream:
                yield stream

    def digest(self, name: str, most: int, target: Path | None = None) -> str:
        """SHA-256 of a file, which goes into `target` on the way; no more than `most` bytes of it and one more.

        One attempt: whatever is wrong is an OSError.
        """
        digest, left = hashlib.sha256(), most + 1
        with self.reading(name) as stream, (target or Path(os.devnull)).open("wb") as copy:
            while left > 0 and (block := stream.read(min(left, READ_BYTES))):
                digest.update(block)
                copy.write(block)
                left -= len(block)
        return digest.hexdigest()

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A path to write to; the file is there, whole, when the block ends without an error.

        Raises:
            UserError: object storage cannot be reached.
        """
        if self.is_local:
            path = Path(self.path(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial:
                yield partial
            return
        with TemporaryDirectory() as folder:
            path = Path(folder, name)
            yield path
            self.patiently(lambda: self.send(path, name))

    def send(self, path: Path, name: str) -> None:
        """Send a file to object storage."""
        with path.open("rb") as source, self.files.open_output_stream(self.path(name)) as stream:
            while block := source.read(READ_BYTES):
                stream.write(block)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self.is_local:
            Path(self.path(name)).unlink(missing_ok=True)
        elif self.size(name) is not None:
            self.patiently(lambda: self.files.delete_file(self.path(name)))

    def patiently(self, action: Callable[[], Result], patience: float | None = None) -> Result:
        """Retry an action while the network fails, and report that once.

        Args:
            action: may be done more than once.
            patience: seconds; by default that of the storage, and 0 is one attempt without a word.

        Raises:
            UserError: it was not possible, in all that time or at all.
            OSError: something on this machine is wrong, or the file is not there.
        """
        patience = self.patience if patience is None else patience
        start, pause, said = time.monotonic(), PAUSES[0], False
        while True:
            try:
                result = action()
            except OSError as error:
                if self.is_local or error.errno is not None:  # pyarrow's errors of the network have none
                    raise
                why = first_line(error)
                if any(word in why for word in REFUSED):
                    raise UserError(f"{self.location}: is refused ({why}); look at its keys and its name") from error
                waited = time.monotonic() - start
                if waited >= patience:
                    raise UserError(
                        f"{self.location}: cannot be reached for {waited:.0f} s ({why}); run the same command again to "
                        "resume once it can be reached, or set a larger patience to wait longer"
                    ) from error
                if not said:
                    tell(f"{self.location}: cannot be reached, trying again for up to {patience:.0f} s ({why})")
                    said = True
                time.sleep(min(pause, max(0.0, patience - waited)))
                pause = min(2 * pause, PAUSES[1])
            else:
                if said:
                    tell(f"{self.location}: there again after {time.monotonic() - start:.0f} s")
                return result


def tell(line: str) -> None:
    """Print a progress message to stderr."""
    print(line, file=sys.stderr, flush=True)


def first_line(error: Exception) -> str:
    """The first line of a message, without the dot at its end."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
