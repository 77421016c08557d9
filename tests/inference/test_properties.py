"""Whatever a folder holds: outputs have the form of their recording and add up to it, and nothing else is touched."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mixit_lightning.cli import main

from ..helpers.recordings import noise
from .conftest import write_checkpoint

FORMATS = {
    # ending: kinds of samples, rates
    "wav": (("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"), None),
    "flac": (("PCM_16", "PCM_24"), None),
    "aiff": (("PCM_16", "PCM_24", "FLOAT"), None),
    "au": (("PCM_16", "FLOAT", "ULAW"), None),
    "caf": (("PCM_16", "ALAC_16", "ALAC_24"), None),
    "w64": (("PCM_16",), None),
    "ogg": (("VORBIS",), None),
    "opus": (("OPUS",), (8000, 16000, 48000)),
    "mp3": (("MPEG_LAYER_III",), (8000, 16000, 44100, 48000)),
}
STEP = {"PCM_U8": 2**-7, "PCM_16": 2**-15, "ALAC_16": 2**-15, "PCM_24": 2**-23, "ALAC_24": 2**-23, "PCM_32": 2**-31}
RATES = (8000, 11025, 16000, 22050, 44100, 48000)
OUTPUTS = 3


@st.composite
def recordings(draw):
    """Name, ending, kind of samples, rate, channels and samples of a recording."""
    ending = draw(st.sampled_from(sorted(FORMATS)))
    subtypes, rates = FORMATS[ending]
    letters = st.characters(blacklist_categories=("Cs",), blacklist_characters="/\0")
    name = draw(st.text(letters, min_size=1, max_size=20).filter(lambda name: name[0] != "."))
    return (
        name,
        ending,
        draw(st.sampled_from(subtypes)),
        draw(st.sampled_from(rates or RATES)),
        draw(st.sampled_from((1, 2))),
        draw(st.one_of(st.integers(1, 300), st.integers(300, 30000))),
    )


def contents(folder):
    """Every file below a folder, with a checksum."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def lag(one, other):
    """Samples by which one signal comes after another."""
    size = 2 ** int(np.ceil(np.log2(len(one) + len(other))))
    correlation = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size)), size)
    return (int(correlation.argmax()) + size // 2) % size - size // 2


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "best.ckpt")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(found=st.lists(recordings(), min_size=1, max_size=4))
def test_outputs_have_the_form_of_their_recording_and_add_up_to_it(checkpoint, tmp_path_factory, capsys, found):
    root = tmp_path_factory.mktemp("folder")
    source, target = root / "in", root / "out"
    source.mkdir()
    (source / "notes.txt").write_text("no recording")
    originals = {}
    for number, (name, ending, subtype, rate, channels, frames) in enumerate(found):
        samples = noise(frames / rate, rate, channels, seed=number)[:frames]
        path = source / f"{name}.{ending}"
        kind = {"opus": "OGG"}.get(ending, ending.upper())
        soundfile.write(path, samples, rate, subtype=subtype, format=kind)
        originals[path] = samples
    before = contents(source)
    capsys.readouterr()
    places = [f"checkpoint={checkpoint}", f"input={source}", f"output={target}"]
    assert main(["separate", *places, "window=1", "overlap=0.2", "silent=keep", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert contents(source) == before
    made = {Path(entry["file"]): entry for entry in summary["recordings"]}
    skipped = {Path(entry["file"]) for entry in summary["skipped"]}
    assert set(made) | skipped == set(before) and not set(made) & skipped and set(made) == set(originals)
    listed = {
        Path(entry["folder"]) / name for entry in made.values() for name in [*entry["outputs"], "separation.json"]
    }
    assert listed == set(contents(target))
    for path, entry in made.items():
        info, original = soundfile.info(path), originals[path]
        outputs = []
        for name in entry["outputs"]:
            samples, rate = soundfile.read(Path(entry["folder"]) / name, always_2d=True)
            assert (rate, samples.shape[1], len(samples)) == (info.samplerate, info.channels, info.frames)
            outputs.append(samples)
        assert len(outputs) == OUTPUTS
        decoded, _ = soundfile.read(path, always_2d=True)
        step = STEP.get(info.subtype, 0.0)
        assert np.abs(sum(outputs) - decoded).max() <= OUTPUTS * step / 2 + 2e-6 * np.abs(decoded).max()
        assert abs(len(decoded) - len(original)) <= (2400 if path.suffix == ".mp3" else 1)
        if len(original) > 2000:
            assert lag(sum(outputs)[:, 0], original[:, 0]) == 0
