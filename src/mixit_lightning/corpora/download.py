"""LibriSpeech from OpenSLR."""

import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from pathlib import Path

from rich.progress import wrap_file

from ..errors import UserError
from ..progress import gigabytes

SERVER = "https://www.openslr.org/resources/12"

CHECKSUMS = {
    "dev-clean": "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    "test-clean": "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    "train-clean-100": "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    "train-clean-360": "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
}
"""SHA-256 of the archives, by subset."""


def download_librispeech(root: Path, subsets: Sequence[str]) -> None:
    """Fetch and unpack what is missing of LibriSpeech into `root/LibriSpeech/<subset>`.

    An interrupted download resumes where it stopped; a subset takes its name only when it is complete. Archives are
    deleted when they are unpacked.

    Args:
        root: where to; the folder `LibriSpeech` itself may be given.
        subsets: of `CHECKSUMS`.

    Raises:
        UserError: the server cannot be reached, what came has another checksum, or it cannot be unpacked, such as for
            want of room.
    """
    if root.name == "LibriSpeech":
        root = root.parent
    for subset in subsets:
        workplace = root / f"{subset}.partial"
        if not (root / "LibriSpeech" / subset).is_dir():
            workplace.mkdir(parents=True, exist_ok=True)
            archive = workplace / f"{subset}.tar.gz"
            if not archive.exists():
                fetch(f"{SERVER}/{archive.name}", archive, CHECKSUMS[subset])
            print(f"{archive}: unpacking", flush=True)
            try:
                shutil.unpack_archive(archive, workplace)  # whose checksum was right
            except (OSError, EOFError, shutil.ReadError, zlib.error) as error:
                raise UserError(
                    f"{archive}: cannot be unpacked ({error}); make room, or delete it if damaged"
                ) from error
            (root / "LibriSpeech").mkdir(exist_ok=True)
            (workplace / "LibriSpeech" / subset).rename(root / "LibriSpeech" / subset)
        shutil.rmtree(workplace, ignore_errors=True)


def fetch(url: str, path: Path, sha256: str) -> None:
    """Fetch a file, resuming after the bytes that an earlier call left in `<path>.partial`.

    Raises:
        UserError: the server cannot be reached or its file has another checksum.
    """
    partial = path.with_name(path.name + ".partial")
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            have, left = have if response.status == 206 else 0, int(response.headers["Content-Length"])
            print(f"{url}: {gigabytes(have + left)}, {gigabytes(have)} of it are here", flush=True)
            with partial.open("ab" if have else "wb") as file, wrap_file(response, left, transient=True) as rest:
                shutil.copyfileobj(rest, file)
        if (size := partial.stat().st_size) < have + left:  # of which urllib says nothing
            raise ConnectionError(f"the connection broke off after {gigabytes(size)} of {gigabytes(have + left)}")
    except urllib.error.HTTPError as error:
        if error.code != 416:  # that range is empty: all of it is here
            raise UserError(f"{url}: {error}; try again later, or fetch it yourself to {path}") from error
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"{url}: {error}; run the same command again to resume the download") from error
    with partial.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        partial.unlink()
        raise UserError(f"{url}: SHA-256 {found} is not {sha256}; run the same command again to fetch it anew")
    partial.rename(path)
