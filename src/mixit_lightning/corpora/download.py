"""LibriSpeech from OpenSLR, through torchaudio."""

import hashlib
import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..progress import ProgressBar, gigabytes

BLOCK = 1 << 20


def download_librispeech(root: Path, subsets: Sequence[str]) -> None:
    """Fetch and unpack what is missing of LibriSpeech into `root/LibriSpeech/<subset>`.

    An interrupted download goes on where it stopped. torchaudio knows the checksums and unpacks; a subset takes its
    name only when it is complete. Archives are deleted when they are unpacked.

    Args:
        root: where to; the folder `LibriSpeech` itself may be given.
        subsets: such as `dev-clean`.

    Raises:
        UserError: the server cannot be reached, what came is not what torchaudio's checksum says, or it cannot be
            unpacked, such as for want of room.
    """
    from torchaudio.datasets import LIBRISPEECH
    from torchaudio.datasets.librispeech import _CHECKSUMS

    if root.name == "LibriSpeech":
        root = root.parent
    for subset in subsets:
        workplace = root / f"{subset}.partial"
        if (root / "LibriSpeech" / subset).is_dir():
            shutil.rmtree(workplace, ignore_errors=True)  # of a call that was killed at its very end
            continue
        workplace.mkdir(parents=True, exist_ok=True)
        archive = workplace / f"{subset}.tar.gz"
        if not archive.exists():
            url = next(url for url in _CHECKSUMS if url.endswith(f"/{subset}.tar.gz"))
            fetch(url, archive, _CHECKSUMS[url])
        shutil.rmtree(workplace / "LibriSpeech", ignore_errors=True)
        print(f"{archive}: unpacking", flush=True)
        try:
            LIBRISPEECH(str(workplace), url=subset, download=True)
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            raise UserError(f"{archive}: cannot be unpacked ({error}); make room, or delete it if damaged") from error
        (root / "LibriSpeech").mkdir(exist_ok=True)
        (workplace / "LibriSpeech" / subset).rename(root / "LibriSpeech" / subset)
        shutil.rmtree(workplace)


def fetch(url: str, path: Path, sha256: str) -> None:
    """Fetch a file, going on after the bytes that an earlier call left in `<path>.partial`.

    Raises:
        UserError: the server cannot be reached or its file has another checksum.
    """
    partial = path.with_name(path.name + ".partial")
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            have = have if response.status == 206 else 0
            total = have + int(response.headers["Content-Length"])
            print(f"{url}: {gigabytes(total)}, {gigabytes(have)} of it are here", flush=True)
            with partial.open("ab" if have else "wb") as file, ProgressBar("Fetching MB", -(-total // BLOCK)) as bar:
                for _ in range(have // BLOCK):
                    bar.advance()
                while block := response.read(BLOCK):
                    file.write(block)
                    bar.advance()
        if (have := partial.stat().st_size) < total:  # of which urllib says nothing
            raise ConnectionError(f"the connection broke off after {gigabytes(have)} of {gigabytes(total)}")
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
