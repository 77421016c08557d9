import hashlib
import io
import re
import socket
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from mixit_lightning.corpora import download
from mixit_lightning.corpora.download import download_librispeech, fetch
from mixit_lightning.errors import UserError

FILES = {
    "LibriSpeech/README.TXT": b"read me",
    "LibriSpeech/dev-clean/84/121123/84-121123.trans.txt": b"84-121123-0000 GO DO YOU HEAR\n",
    "LibriSpeech/dev-clean/84/121123/84-121123-0000.flac": np.random.default_rng(0).bytes(50_000),
}

SUBSET = "LibriSpeech/dev-clean"


class Server(ThreadingHTTPServer):
    """Gives the one file that it has; remembers where the answers began and how long they were."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.answers = content, []
        self.ranges, self.breaks_off_after = True, None
        self.url = f"http://127.0.0.1:{self.server_port}/dev-clean.tar.gz"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        content = self.server.content
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if self.server.ranges else None
        start = int(wanted[1]) if wanted else 0
        if self.path != "/dev-clean.tar.gz" or start >= len(content):
            self.server.answers.append((start, 0))
            self.send_error(416 if start else 404)
            return
        sent = content[start:][: self.server.breaks_off_after]
        self.server.answers.append((start, len(sent)))
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def content():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def server(content, monkeypatch):
    """What is taken for OpenSLR."""
    monkeypatch.setenv("no_proxy", "*")
    with Server(content) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setattr(download, "SERVER", server.url.rpartition("/")[0])
        monkeypatch.setitem(download.CHECKSUMS, "dev-clean", hashlib.sha256(content).hexdigest())
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def get(server, tmp_path):
    """Fetch the file; gives its path."""

    def get(sha256=None):
        path = tmp_path / "archive"
        fetch(server.url, path, sha256 or hashlib.sha256(server.content).hexdigest())
        return path

    return get


def files_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_fetched_whole(get, server, tmp_path, capsys):
    assert get().read_bytes() == server.content
    assert server.answers == [(0, len(server.content))]
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]
    assert f"{server.url}: 0.1 MB" in capsys.readouterr().out


def test_fetching_goes_on_after_what_is_there(get, server, tmp_path):
    (tmp_path / "archive.partial").write_bytes(server.content[:30_000])
    assert get().read_bytes() == server.content
    assert server.answers == [(30_000, len(server.content) - 30_000)]
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_what_is_all_there_but_for_its_name_is_not_fetched_again(get, server, tmp_path):
    (tmp_path / "archive.partial").write_bytes(server.content)
    assert get().read_bytes() == server.content
    assert server.answers == [(len(server.content), 0)]


def test_a_server_that_cannot_go_on_is_asked_for_everything(get, server, tmp_path):
    server.ranges = False
    (tmp_path / "archive.partial").write_bytes(server.content[:30_000])
    assert get().read_bytes() == server.content
    assert server.answers == [(0, len(server.content))]


def test_a_connection_that_breaks_off_loses_nothing(get, server, tmp_path):
    server.breaks_off_after = 20_000
    for _ in range(2):
        with pytest.raises(UserError, match=server.url):
            get()
        assert not (tmp_path / "archive").exists()
    assert get().read_bytes() == server.content
    assert server.answers == [(0, 20_000), (20_000, 20_000), (40_000, len(server.content) - 40_000)]


def test_a_wrong_checksum_is_refused_and_nothing_kept(get, server, tmp_path):
    with pytest.raises(UserError, match=f"^{server.url}: .*0000"):
        get(sha256="0000")
    assert not list(tmp_path.iterdir())


def test_a_server_that_is_away_keeps_what_is_there(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/dev-clean.tar.gz"
        (tmp_path / "archive.partial").write_bytes(b"beginning")
        with pytest.raises(UserError, match=f"^{url}: "):
            fetch(url, tmp_path / "archive", "")
    assert files_below(tmp_path) == {"archive.partial": b"beginning"}


def test_a_file_that_the_server_has_not_is_named(server, tmp_path):
    url = server.url.replace("dev", "test")
    with pytest.raises(UserError, match=f"^{url}: .*404.*{tmp_path / 'archive'}"):
        fetch(url, tmp_path / "archive", "")


@pytest.mark.parametrize("given", ["", "LibriSpeech"])
def test_librispeech_is_unpacked_where_it_belongs(server, tmp_path, given):
    download_librispeech(tmp_path / given, ["dev-clean"])
    assert files_below(tmp_path) == {name: data for name, data in FILES.items() if name.startswith(SUBSET)}
    assert [path.name for path in tmp_path.iterdir()] == ["LibriSpeech"]  # no archive, no workplace


def test_unpacking_that_was_interrupted_is_done_again(server, tmp_path):
    workplace = tmp_path / "dev-clean.partial"
    half = workplace / SUBSET / "84" / "121123"
    half.mkdir(parents=True)
    (half / "84-121123-0000.flac").write_bytes(b"half")
    (workplace / "dev-clean.tar.gz").write_bytes(server.content)
    download_librispeech(tmp_path, ["dev-clean"])
    assert files_below(tmp_path) == {name: data for name, data in FILES.items() if name.startswith(SUBSET)}
    assert not workplace.exists() and not server.answers


def test_an_archive_that_a_kill_left_behind_is_removed(server, tmp_path):
    archive = tmp_path / "dev-clean.partial" / "dev-clean.tar.gz"
    for folder in (archive.parent, tmp_path / SUBSET):
        folder.mkdir(parents=True)
    archive.write_bytes(server.content)
    download_librispeech(tmp_path, ["dev-clean"])
    assert not archive.parent.exists() and (tmp_path / SUBSET).is_dir()


def test_a_download_that_was_interrupted_goes_on(server, tmp_path):
    server.breaks_off_after = 20_000
    with pytest.raises(UserError):
        download_librispeech(tmp_path, ["dev-clean"])
    assert not (tmp_path / "LibriSpeech").exists()
    server.breaks_off_after = None
    download_librispeech(tmp_path, ["dev-clean"])
    assert (tmp_path / SUBSET).is_dir()
    assert server.answers == [(0, 20_000), (20_000, len(server.content) - 20_000)]


def test_an_archive_that_cannot_be_unpacked_is_named(server, tmp_path):
    """Such as one that was put there by hand."""
    archive = tmp_path / "dev-clean.partial" / "dev-clean.tar.gz"
    archive.parent.mkdir()
    archive.write_bytes(server.content[:30_000])
    with pytest.raises(UserError, match=f"^{archive}: "):
        download_librispeech(tmp_path, ["dev-clean"])
    assert not (tmp_path / "LibriSpeech").exists()


def test_several_subsets_are_fetched_that_are_missing(server, tmp_path):
    (tmp_path / "LibriSpeech" / "test-clean").mkdir(parents=True)
    download_librispeech(tmp_path, ["test-clean", "dev-clean"])
    assert (tmp_path / SUBSET).is_dir() and len(server.answers) == 1
