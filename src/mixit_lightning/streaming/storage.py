"""Where shards are stored: a folder, or object storage, through the file systems of pyarrow."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from ..config import first_line
from ..errors import UserError
from ..files import replacing

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

ATTEMPTS = 10
"""Attempts at a request to S3, the pauses between which grow to 20 s: about a minute of outage."""


class Storage:
    """A folder, or a URI that pyarrow reads, such as `s3://BUCKET/PREFIX` or `hf://datasets/NAME`, with files by name.

    Args:
        location: the folder or URI.

    Raises:
        UserError: pyarrow is missing, the URI is invalid, or has keys in it.
    """

    def __init__(self, location: str) -> None:
        self.is_local = "://" not in location
        self.location = str(Path(location).expanduser().resolve()) if self.is_local else location
        _, self.root = connect(self.location, os.getpid())

    @property
    def files(self) -> "FileSystem":
        """The file system; a process that was forked connects anew."""
        return connect(self.location, os.getpid())[0]

    def path(self, name: str) -> str:
        """Path of a file, for messages and the file system."""
        return f"{self.root.rstrip('/')}/{name}"

    def size(self, name: str) -> int | None:
        """Bytes of a regular file; None where there is none."""
        from pyarrow.fs import FileType

        with self.explained(name):
            found = self.files.get_file_info(self.path(name))
        return found.size if found.type == FileType.File else None

    def read(self, name: str) -> bytes:
        """A small file.

        Raises:
            UserError: there is none, or it cannot be read.
        """
        if self.size(name) is None:
            raise UserError(f"{self.path(name)}: no regular file is there; `mixit shard` writes it")
        with self.explained(name), self.files.open_input_stream(self.path(name)) as stream:
            content: bytes = stream.read()
        return content

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file to this machine."""
        from pyarrow.fs import LocalFileSystem, copy_files

        with self.explained(name):
            copy_files(self.path(name), str(target), self.files, LocalFileSystem(), chunk_size=2**24)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A path to write to; the file is there, whole, when the block ends without an error.

        Raises:
            UserError: it cannot be written.
        """
        from pyarrow.fs import LocalFileSystem, copy_files

        with self.explained(name):
            if self.is_local:
                path = Path(self.path(name))
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as partial:
                    yield partial
            else:
                with TemporaryDirectory() as folder:
                    yield (path := Path(folder, name))
                    copy_files(str(path), self.path(name), LocalFileSystem(), self.files, chunk_size=2**24)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self.size(name) is not None:
            with self.explained(name):
                self.files.delete_file(self.path(name))

    @contextmanager
    def explained(self, name: str) -> Iterator[None]:
        """Name the file in the errors of the file system.

        Raises:
            UserError: instead of them.
        """
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self.path(name)}: {first_line(error)}; run the same command again to resume once this is mended"
            ) from error


@cache
def connect(location: str, process: int) -> tuple["FileSystem", str]:
    """File system and path of a folder or URI, once in every process.

    A server of one's own is given in the query: `?scheme=http&endpoint_override=HOST:PORT`. Keys are taken from the
    environment or the files of the AWS tools, never from the URI, which is written to many files.

    Args:
        location: the folder or URI.
        process: its number; connections do not outlive a fork.

    Raises:
        UserError: pyarrow is missing, the URI is invalid, or has keys in it.
    """
    parts = urlsplit(location)
    query = dict(parse_qsl(parts.query))
    if "://" in location and (parts.username or {"access_key", "secret_key"} & query.keys()):
        raise UserError(
            f"{parts.scheme}://...: leave the keys out of the URI; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE"
        )
    # Checksums of the client's own, which many servers do not know; the pages of shards have theirs.
    os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    try:
        from pyarrow.fs import AwsStandardS3RetryStrategy, FileSystem, LocalFileSystem, S3FileSystem

        if "://" not in location:  # whatever characters it has
            return LocalFileSystem(), location
        if parts.scheme == "s3":  # for more attempts than a URI has
            files = S3FileSystem(**query, retry_strategy=AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS))
            return files, unquote(parts.netloc + parts.path)
        found: tuple[FileSystem, str] = FileSystem.from_uri(location)
    except ImportError as error:
        raise UserError(f"{location}: {error}; `pip install 'mixit-lightning[shards]'` to read it") from error
    except (ValueError, TypeError, OSError, NotImplementedError) as error:
        raise UserError(f"{location}: is no URI for shards ({first_line(error)}); see docs/large-data.md") from error
    return found
