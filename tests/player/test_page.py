import json
import os
import sys
import time
import uuid

import httpx
import numpy as np
import pytest
import soundfile

from mixit_lightning.cli import main
from mixit_lightning.config import load_described
from mixit_lightning.errors import UserError
from mixit_lightning.player.guard import Guard
from mixit_lightning.player.serve import bound

from .conftest import MAX_BYTES, SETTINGS

SEPARATE = 0
"""Gradio's number of the event."""

asked = []


def hear(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        asked.append((event, arguments[1] if event == "socket.connect" else arguments[0]))


sys.addaudithook(hear)


def send(server, content, name="a.wav", **headers):
    return httpx.post(f"{server.url}/gradio_api/upload", files={"files": (name, content)}, headers=headers)


def noise(folder, seconds=1.0):
    path = folder / "a.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(int(8000 * seconds)), 8000)
    return path


def separate(server, path, session=None, **more):
    """Messages of the queue about a file that the server has, or is said to have."""
    session = session or uuid.uuid4().hex[:11]
    file = {"path": str(path), "meta": {"_type": "gradio.FileData"}, **more}
    body = {"data": [file], "fn_index": SEPARATE, "session_hash": session}
    answer = httpx.post(f"{server.url}/gradio_api/queue/join", json=body)
    assert answer.status_code == 200
    data = f"{server.url}/gradio_api/queue/data?session_hash={session}"
    with httpx.stream("GET", data, timeout=60) as lines:
        return [json.loads(line.removeprefix("data: ")) for line in lines.iter_lines() if line]


def last(messages):
    return next(message for message in messages if message["msg"] == "process_completed")


def shown(messages):
    """What the mixer was shown in the end."""
    return last(messages)["output"]["data"][1]


def test_a_recording_is_separated_and_its_files_are_served(server, tmp_path):
    path = noise(tmp_path)
    session = uuid.uuid4().hex[:11]
    messages = separate(server, send(server, path.read_bytes()).json()[0], session)
    assert last(messages)["success"]
    (folder,) = [place for place in server.folder.iterdir() if (place / "outputs").is_dir()]
    files = sorted((folder / "outputs").glob("output_*.wav"))
    assert len(files) == 3
    answer = httpx.get(f"{server.url}/gradio_api/file={files[0]}")
    assert answer.content == files[0].read_bytes()
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    record = folder / "outputs" / "separation.json"
    assert json.loads(record.read_text())["recording"]["outputs"] == [file.name for file in files]
    separate(server, send(server, b"no sound", "b.wav").json()[0], session)  # the next one takes its place
    assert not folder.exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:7860"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost@evil.example"},
        {"host": ""},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
    ],
    ids=str,
)
def test_nobody_else_may_use_it(server, headers):
    assert httpx.get(server.url, headers=headers).status_code in (400, 403)
    assert send(server, b"no sound", **headers).status_code in (400, 403)


def test_it_goes_by_its_own_names(server):
    port = server.url.rpartition(":")[2]
    for name in ("localhost", "127.0.0.1", "[::1]"):
        assert httpx.get(server.url, headers={"host": f"{name}:{port}"}).status_code == 200
    assert httpx.get(server.url, headers={"origin": server.url}).status_code == 200


def test_only_its_own_files_are_served(server, checkpoint):
    root = f"gradio_api/file={server.folder}"
    outside = [
        "gradio_api/file=/etc/passwd",
        "gradio_api/file=../../../../etc/passwd",
        f"gradio_api/file={checkpoint}",
        f"{root}/../../../../../../../../etc/passwd",
        f"{root}/%2e%2e/{checkpoint.relative_to(server.folder.parent)}",
        f"{root}/..%2f{checkpoint.relative_to(server.folder.parent)}",
        f"{root}",
        f"{root}/",
        "gradio_api/file=http://example.com/",
        "gradio_api/file=https://example.com/",
        "gradio_api/proxy=http://example.com/",
        "file=/etc/passwd",
        "static/../../../../../../../../etc/passwd",
        "static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "assets//etc/passwd",
    ]
    asked.clear()
    answers = {path: raw(server, f"GET /{path} HTTP/1.1") for path in outside}
    assert {path: text for path, text in answers.items() if not text.startswith(("HTTP/1.1 403", "HTTP/1.1 404"))} == {}
    assert not any("root:" in text for text in answers.values())
    assert abroad() == []


def raw(server, line, *headers, body=b""):
    """An answer to a request that httpx would tidy up."""
    import socket

    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line_to:
        head = "\r\n".join([line, f"Host: 127.0.0.1:{port}", "Connection: close", *headers, "", ""])
        line_to.sendall(head.encode() + body)
        parts = []
        try:
            while part := line_to.recv(65536):
                parts.append(part)
        except ConnectionResetError:
            pass
        return b"".join(parts).decode(errors="replace")


def abroad():
    """Whom this process has tried to reach besides itself."""
    return [(event, where) for event, where in asked if "127.0.0.1" not in str(where)]


def test_a_path_or_an_address_is_no_upload(server, checkpoint, tmp_path):
    path = noise(tmp_path)
    asked.clear()
    for given in ("/etc/passwd", path, checkpoint, "http://example.com/a.wav", "https://93.184.216.34/a.wav"):
        for more in ({}, {"url": "http://example.com/a.wav"}, {"is_stream": True}):
            message = last(separate(server, given, **more))
            assert not message["success"], (given, more)
    assert abroad() == []
    assert not any(place.name in ("passwd", "best.ckpt") for place in server.folder.rglob("*"))


@pytest.mark.parametrize(
    "path",
    [
        "run/separate",
        "call/separate",
        "component_server",
        "process_recording",
        "vibe-edit",
        "vibe-code",
        "info",
        "reset",
    ],
)
def test_what_the_page_does_not_need_is_not_there(server, path):
    assert httpx.post(f"{server.url}/gradio_api/{path}", json={}).status_code == 404
    assert httpx.get(f"{server.url}/gradio_api/{path}").status_code == 404


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(server):
    before = set(server.folder.iterdir())
    form = "Content-Type: multipart/form-data; boundary=x"
    line = "POST /gradio_api/upload HTTP/1.1"
    assert raw(server, line, form, "Content-Length: 3000000000").startswith("HTTP/1.1 413")
    assert raw(server, line, form, "Transfer-Encoding: chunked", body=b"5\r\n--x\r\n\r\n").startswith("HTTP/1.1 411")
    assert raw(server, line, form).startswith("HTTP/1.1 411")
    assert raw(server, line, form, "Content-Length: -5").startswith("HTTP/1.1 4")
    assert send(server, b"\0" * (MAX_BYTES + 100_000)).status_code == 413
    assert send(server, b"\0" * (MAX_BYTES + 100)).status_code == 413  # of this one gradio counts the bytes
    assert set(server.folder.iterdir()) - before == set()
    assert send(server, b"\0" * MAX_BYTES).status_code == 200


@pytest.mark.parametrize(
    "name", ["../../evil.wav", "/etc/evil.wav", "..\\..\\evil.wav", "<img src=x onerror=evil()>.wav"]
)
def test_a_name_leads_nowhere(server, name):
    (path,) = send(server, b"no sound at all", name).json()
    assert os.path.realpath(path).startswith(f"{server.folder}/")
    messages = separate(server, path)
    assert shown(messages)["error"].startswith("cannot be read as audio")
    assert "/" not in shown(messages)["name"]


def test_waiting_recordings_are_told_their_place(server, tmp_path):
    path = send(server, noise(tmp_path).read_bytes()).json()[0]
    messages = separate(server, path)
    assert any(message["msg"] == "estimation" and message["rank"] == 0 for message in messages)


def test_a_visitor_who_leaves_takes_everything_along(server, tmp_path):
    session = uuid.uuid4().hex[:11]
    path = send(server, noise(tmp_path, 1.5).read_bytes()).json()[0]
    with httpx.stream("GET", f"{server.url}/gradio_api/heartbeat/{session}"):
        before = {place for place in server.folder.iterdir() if (place / "outputs").is_dir()}
        separate(server, path, session)
        (folder,) = {place for place in server.folder.iterdir() if (place / "outputs").is_dir()} - before
    for _ in range(100):
        if not folder.exists():
            return
        time.sleep(0.1)
    raise AssertionError("10 s later its folder is still there")


def test_the_guard_answers_to_a_host_that_it_is_given():
    guard = Guard(None, "/tmp", "listener.example", 1)
    assert guard.is_known("listener.example:80") and guard.is_known("192.0.2.1") and guard.is_known("[2001:db8::1]:80")
    assert not guard.is_known("other.example")
    assert not guard.is_known("[")


def test_settings_are_those_of_separate():
    listen = load_described("listen", ["checkpoint=x"]).listen
    separate = load_described("separate", ["checkpoint=x", "input=y", "output=z"]).separate
    assert {key: listen[key] for key in SETTINGS} == {key: separate[key] for key in SETTINGS}
    assert listen.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["checkpoint=/nowhere"], "/nowhere"),
        (["max_seconds=0"], "must be positive"),
        (["silent=mute"], "silent=mute: must be drop or keep"),
        (["port=99999"], "port=99999: cannot listen there"),
        (["host=203.0.113.9"], "host=203.0.113.9 port=None: cannot listen there"),
        (["hots=x"], "did you mean host?"),
    ],
)
def test_settings_that_make_no_sense_are_explained(checkpoint, capsys, words, message):
    assert main(["listen", f"checkpoint={checkpoint}", *words]) == 1
    assert message in capsys.readouterr().err


def test_a_port_that_is_taken_is_an_error_and_otherwise_the_next_one_is_used():
    with bound("127.0.0.1", None) as first, bound("127.0.0.1", None) as second:
        ports = [listener.getsockname()[1] for listener in (first, second)]
        assert ports[1] > ports[0] >= 7860
        with pytest.raises(UserError, match="give another host= or port="):
            bound("127.0.0.1", ports[0])


def test_without_gradio_it_says_how_to_install_it(checkpoint, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["listen", f"checkpoint={checkpoint}"]) == 1
    assert "pip install 'mixit-lightning[listen]'" in capsys.readouterr().err
