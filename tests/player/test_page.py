"""The page over HTTP."""

import os

import httpx
import numpy as np
import pytest
import soundfile
import torch

from mixit_lightning.inference import Separator

gradio_client = pytest.importorskip("gradio_client", reason="gradio is not installed: pip install -e '.[listen]'")


def noise(path, seconds=2.5, rate=16000, channels=2, **options):
    """Write noise, and return its samples as they are in the file."""
    soundfile.write(
        path, 0.1 * np.random.default_rng(0).standard_normal((int(seconds * rate), channels)), rate, **options
    )
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


def read(path):
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


@pytest.fixture(scope="module")
def separate(address, tmp_path_factory):
    """Send a recording; its copy, and label and file of every output."""
    folder = tmp_path_factory.mktemp("downloads")
    client = gradio_client.Client(address, verbose=False, download_files=folder)

    def separated(path):
        copy, *outputs = client.predict(gradio_client.handle_file(path), api_name="/separate")[:4]
        return copy, [output["label"] for output in outputs], [output["value"] for output in outputs]

    separated.client = client
    return separated


@pytest.mark.parametrize(("name", "channels", "subtype"), [("a b.flac", 2, "PCM_24"), ("é.aiff", 1, "PCM_16")])
def test_outputs_are_those_of_the_separator_and_add_up(separate, checkpoint, tmp_path, name, channels, subtype):
    samples = noise(tmp_path / name, channels=channels, subtype=subtype)
    copy, labels, files = separate(tmp_path / name)
    assert np.array_equal(read(copy), samples)
    outputs = np.stack([read(file) for file in files])
    assert np.abs(outputs.sum(0) - samples).max() < 1e-6
    separator = Separator.from_checkpoint(checkpoint, window=1, overlap=0.2, device="cpu")
    expected = separator.separate(torch.from_numpy(samples.T), 16000).transpose(1, 2).numpy()
    assert np.abs(outputs - expected).max() < 1e-6
    for label, output in zip(labels, expected, strict=True):
        level = 10 * np.log10(np.square(output).sum() / np.square(samples).sum())
        assert abs(float(label.split()[-2]) - level) < 0.06
    stem = name.split(".")[0]
    assert [os.path.basename(file) for file in files] == [f"{stem} output {number}.wav" for number in (1, 2, 3)]  # noqa: PTH119
    assert {soundfile.info(file).subtype for file in (copy, *files)} == {"FLOAT"}


def test_a_mix_is_the_sum_of_the_outputs_with_their_gains(separate, tmp_path):
    noise(tmp_path / "a.wav")
    _, _, files = separate(tmp_path / "a.wav")
    outputs = [read(file) for file in files]
    sent = [gradio_client.handle_file(file) for file in files]
    path = separate.client.predict(*sent, 6, -12.5, -40, api_name="/mix")
    assert os.path.basename(path) == "a mix.wav"  # noqa: PTH119
    assert soundfile.info(path).samplerate == 16000
    assert np.abs(read(path) - (1.9952623 * outputs[0] + 0.2371374 * outputs[1])).max() < 1e-6


def test_what_is_no_recording_or_too_long_is_refused_by_its_name_and_the_page_goes_on(separate, tmp_path):
    (tmp_path / "text.wav").write_text("no sound at all")
    (tmp_path / "text.mp4").write_text("no film at all")
    (tmp_path / "empty.wav").touch()
    noise(tmp_path / "long.flac", 11, 1000, 1)
    soundfile.write(tmp_path / "nan.wav", np.full(900, np.nan, np.float32), 8000, subtype="FLOAT")
    for name in ("text.wav", "text.mp4", "empty.wav", "long.flac", "nan.wav"):
        with pytest.raises(gradio_client.exceptions.AppError) as caught:
            separate(tmp_path / name)
        assert str(caught.value).startswith(f"{name}: ")
        assert "/" not in str(caught.value)
    noise(tmp_path / "good.flac", 9, 1000, 1)
    assert len(separate(tmp_path / "good.flac")[2]) == 3


def test_too_large_a_file_is_refused(address):
    sizes = {2**20: 200, 2**21 + 1: 413}
    for size, status in sizes.items():
        answer = httpx.post(f"{address}gradio_api/upload", files={"files": ("a.wav", bytes(size))})
        assert answer.status_code == status


def test_files_of_the_server_are_neither_separated_nor_served(address, checkpoint, tmp_path):
    noise(tmp_path / "private.wav")
    sent = {"path": str(tmp_path / "private.wav"), "meta": {"_type": "gradio.FileData"}}
    call = f"{address}gradio_api/call/separate"
    event = httpx.post(call, json={"data": [sent]}).json()["event_id"]
    assert httpx.get(f"{call}/{event}").text.startswith("event: error")
    for path in (tmp_path / "private.wav", checkpoint, "/etc/passwd"):
        assert httpx.get(f"{address}gradio_api/file={path}").status_code == 403
