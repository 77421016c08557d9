"""The page in a browser: Chromium without a window, and the server as people start it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from mixit_lightning.cli import main

from ..report.test_browser import browser  # noqa: F401
from .bad_files import write_bad_files

pytest.importorskip("gradio", reason="gradio is not installed: pip install -e '.[listen]'")

pytestmark = pytest.mark.slow

# Writes down whom the server and its processes try to reach.
SPY = """
import os, sys
def hear(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        with open(os.environ["SPY"], "a") as file:
            print(event, arguments[1:] if event != "socket.getaddrinfo" else arguments, file=file)
sys.addaudithook(hear)
"""

OPTIONS = ["window=1", "overlap=0.2", "device=cpu"]


@pytest.fixture(scope="module")
def served(checkpoint, tmp_path_factory):
    """`mixit listen`, its address, and whom it asked in the end."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "sitecustomize.py").write_text(SPY)
    (folder / "temporary").mkdir()
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "SPY": str(folder / "asked"),
        "TMPDIR": str(folder / "temporary"),
    }
    command = [sys.executable, "-m", "mixit_lightning.cli", "listen", f"checkpoint={checkpoint}", "max_seconds=60"]
    with subprocess.Popen(
        [*command, *OPTIONS], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline()
        yield SimpleNamespace(url=re.search(r"http://\S+", line)[0], folder=folder / "temporary")
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=30)
    assert process.returncode == 0
    assert complaints == ""
    assert list((folder / "temporary").glob("mixit-listen-*")) == []
    # processes of the same machine talk through files, without an address
    asked = (folder / "asked").read_text().splitlines() if (folder / "asked").exists() else []
    assert [line for line in asked if "127.0.0.1" not in line and not re.search(r"\('?/|\(b?'\\x00|pymp-", line)] == []


@pytest.fixture(params=[1280, 400])
def page(request, browser, served):  # noqa: F811
    context = browser.new_context(viewport={"width": request.param, "height": 900}, accept_downloads=True)
    page = context.new_page()
    complaints, addresses = [], set()
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: addresses.add(asked.url.partition("/gradio_api")[0].partition("?")[0]))
    page.on("websocket", lambda socket: addresses.add(socket.url))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(served.url)
    page.wait_for_selector("#upload input[type=file]", state="attached")
    page.complaints = complaints
    yield page
    own = (served.url, "data:", "blob:")
    assert [address for address in addresses if not address.startswith(own)] == []
    assert complaints == []
    context.close()


def drop(page, path):
    page.set_input_files("#upload input[type=file]", str(path))


def ready(page, name):
    page.wait_for_selector(f"#mixer .ready:not([hidden]) .name:text-is({name!r})")
    page.wait_for_selector("#mixer .play:enabled")


def download(page, selector):
    with page.expect_download() as caught:
        page.click(selector)
    return caught.value.suggested_filename, Path(caught.value.path()).read_bytes()


def track(number):
    """Selector of the row of an output; 0 is the recording."""
    return f"#mixer .tracks li:nth-child({number + 1})"


def quiet(page):
    return page.evaluate("[...document.querySelectorAll('#mixer .tracks li')].map((row) => row.matches('.quiet'))")


def test_a_recording_is_separated_heard_mixed_and_downloaded(page, served, checkpoint, tmp_path):
    path = tmp_path / "two voices.wav"
    samples = 0.1 * np.random.default_rng(0).standard_normal((16000 * 5, 2))
    soundfile.write(path, samples, 16000)
    drop(page, path)
    ready(page, "two voices.wav")
    facts = page.inner_text("#mixer .facts")
    assert re.fullmatch(r"5\.0 s, 16000 Hz, 2 channels, 3 outputs, [\d.]+ of real time", facts)
    assert page.evaluate("[...document.querySelectorAll('#mixer img')].every((image) => image.naturalWidth > 100)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    words = [f"checkpoint={checkpoint}", f"input={path}", f"output={tmp_path / 'cli'}"]
    assert main(["separate", *words, *OPTIONS]) == 0
    outputs = []
    for number in (1, 2, 3):
        name, content = download(page, f"{track(number)} .save")
        file = tmp_path / "cli" / "two voices" / f"output_{number}.wav"
        assert name == f"two voices output_{number}.wav"
        assert content == file.read_bytes()
        outputs.append(soundfile.read(file)[0])

    requests = []
    page.on("request", lambda asked: requests.append(asked.url) if "heartbeat" not in asked.url else None)
    page.click("#mixer .play")
    page.wait_for_function("parseFloat(document.querySelector('#mixer .seek').value) > 0.5")
    assert quiet(page) == [False, False, False, False]
    page.click(f"{track(2)} .solo")
    assert quiet(page) == [False, True, False, True]
    page.click(f"{track(0)} .compare")
    assert quiet(page) == [False, True, True, True]
    page.click(f"{track(0)} .compare")
    page.click("#mixer .play")
    assert page.get_attribute("#mixer .play", "aria-label") == "Play"
    box = page.locator(f"{track(1)} .picture").bounding_box()
    page.locator(f"{track(1)} .picture").click(position={"x": box["width"] / 2, "y": 5})
    assert abs(float(page.input_value("#mixer .seek")) - 2.5) < 0.05

    page.click(f"{track(2)} .solo")
    page.click(f"{track(3)} .mute")
    page.locator(f"{track(1)} .gain").fill("-6")
    name, content = download(page, "#mixer .remix")
    assert name == "two voices remix.wav"
    (tmp_path / "remix.wav").write_bytes(content)
    info = soundfile.info(tmp_path / "remix.wav")
    assert (info.samplerate, info.channels, info.subtype) == (16000, 2, "FLOAT")
    remix = soundfile.read(tmp_path / "remix.wav")[0]
    assert np.abs(remix - (10 ** (-6 / 20) * outputs[0] + outputs[1])).max() < 1e-6
    assert [url for url in requests if not url.startswith("blob:")] == []

    page.locator("#mixer .seek").fill("4.5")
    page.click("#mixer .play")
    page.wait_for_selector("#mixer .ready:not(.playing)")  # at its end
    assert page.inner_text("#mixer .now") == "0:00.0"


def test_what_is_heard_is_the_mix(page, tmp_path):
    """The samples that reach the loudspeaker, against the recording: all outputs in sync add up to it."""
    path = tmp_path / "mix.wav"
    samples = 0.1 * np.random.default_rng(1).standard_normal(16000 * 5)
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    page.evaluate("""() => {
        window.heard = [];
        const connect = AudioNode.prototype.connect;
        AudioNode.prototype.connect = function (target, ...more) {
            if (target instanceof AudioDestinationNode) {
                const tap = target.context.tap ??= (() => {
                    const node = target.context.createScriptProcessor(4096, 1, 1);
                    node.onaudioprocess = (event) => heard.push(...event.inputBuffer.getChannelData(0));
                    connect.call(node, target);
                    return node;
                })();
                connect.call(this, tap);
            }
            return connect.call(this, target, ...more);
        };
    }""")
    drop(page, path)
    ready(page, "mix.wav")
    page.click("#mixer .play")
    page.wait_for_function("parseFloat(document.querySelector('#mixer .seek').value) > 4.5")
    page.click("#mixer .play")
    heard = np.array(page.evaluate("heard"))
    assert len(heard) > 4 * 16000
    piece = samples[16000 : 4 * 16000]  # over the ends of two pieces, at 2 s and 4 s
    at = int(np.argmax(np.correlate(heard, piece[:4000], "valid")))
    assert np.abs(heard[at : at + len(piece)] - piece).max() < 1e-4


def test_bad_files_are_explained_and_the_page_lives_on(page, served, tmp_path):
    soundfile.write(tmp_path / "secret.wav", np.zeros(8000), 8000)
    messages = write_bad_files(tmp_path, tmp_path / "secret.wav")
    evil = "<img src=x onerror=alert(1)>.wav"
    (tmp_path / evil).write_text("no sound")
    for name, message in (messages | {evil: "cannot be read as audio"}).items():
        drop(page, tmp_path / name)
        shown = name.replace("<", "").replace(">", "")
        page.wait_for_selector(f"#mixer .error:not([hidden]) .name:text-is({shown!r})")
        assert message in page.inner_text("#mixer .error .what")
        page.wait_for_selector("#upload input[type=file]", state="attached")
    assert page.locator("#mixer img[src=x]").count() == 0
    soundfile.write(tmp_path / "good.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 8000)
    drop(page, tmp_path / "good.wav")
    ready(page, "good.wav")


def test_three_gigabytes_are_refused_at_once(page, served, tmp_path):
    with (tmp_path / "large.wav").open("wb") as file:
        file.truncate(3_000_000_000)
    sent = []
    page.on("request", lambda asked: sent.append(asked.url) if "upload" in asked.url else None)
    drop(page, tmp_path / "large.wav")
    page.wait_for_selector("text=/exceed the maximum allowed size of 200[.0]* Mb/", timeout=10_000)
    page.wait_for_timeout(4000)
    assert [url for url in sent if "upload_progress" not in url] == []
    # Gradio asks how far the upload is before it looks at its size, and complains of the answer.
    assert page.complaints.pop(0).startswith("Failed to load resource") and page.complaints.pop(0) == "Response"
    assert sum(path.stat().st_size for path in served.folder.rglob("*") if path.is_file()) < 50_000_000
