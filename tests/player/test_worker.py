import os
import signal
import time

import numpy as np
import pytest
import soundfile

from mixit_lightning.audio.opening import opened
from mixit_lightning.cli import main
from mixit_lightning.errors import UserError
from mixit_lightning.player.uploads import Limits
from mixit_lightning.player.worker import work

from .bad_files import header, write_bad_files
from .conftest import SETTINGS

LIMITS = Limits(60, 16, 192_000)


def noise(seconds, rate, channels=1):
    return 0.1 * np.random.default_rng(0).standard_normal((int(seconds * rate), channels))


def outcome(checkpoint, path, folder, limits=LIMITS, **settings):
    *_, last = work(path, folder, {"checkpoint": str(checkpoint), **SETTINGS, **settings}, limits)
    return last


class Crash:
    """Limits that a decoder does not survive."""

    def check(self, frames, rate, channels):
        os.kill(os.getpid(), signal.SIGSEGV)


class Endless:
    """Limits that take for ever."""

    def check(self, frames, rate, channels):
        time.sleep(600)


def test_files_that_are_not_what_they_seem_are_each_explained(checkpoint, tmp_path):
    soundfile.write(tmp_path / "secret.wav", noise(1, 8000), 8000)
    messages = write_bad_files(tmp_path, tmp_path / "secret.wav")
    found = {}
    for name in messages:
        with pytest.raises(UserError) as caught:
            outcome(checkpoint, tmp_path / name, tmp_path / f"out {name}")
        found[name] = str(caught.value).removeprefix(f"{tmp_path / name}: ")
        print(f"{name}: {found[name]}")
    assert {name: said for name, said in found.items() if messages[name] not in said} == {}


def test_a_header_that_claims_too_much_is_cut_to_what_is_there(checkpoint, tmp_path):
    (tmp_path / "a.wav").write_bytes(header(samples=b"\1\0" * 8000, claimed=0x7FFE0000))
    value = outcome(checkpoint, tmp_path / "a.wav", tmp_path / "out")
    assert value["seconds"] == 1
    assert value["notes"] == ["the recording is cut off, its end is missing"]


@pytest.mark.parametrize(("name", "subtype", "channels"), [("a.wav", "PCM_16", 1), ("b.flac", "PCM_24", 2)])
def test_outputs_are_the_very_files_of_mixit_separate(checkpoint, tmp_path, name, subtype, channels):
    soundfile.write(tmp_path / name, noise(2.5, 16000, channels), 16000, subtype=subtype)
    value = outcome(checkpoint, tmp_path / name, tmp_path / "out")
    words = [f"checkpoint={checkpoint}", f"input={tmp_path / name}", f"output={tmp_path / 'cli'}"]
    assert main(["separate", *words, "window=1", "overlap=0.2"]) == 0
    folder = tmp_path / "cli" / name.split(".")[0]
    expected = sorted(folder.glob("output_*"))
    files = [track["file"] for track in value["tracks"][1:]]
    assert len(expected) == len(files) == 3
    for path, file in zip(expected, files, strict=True):
        with open(file, "rb") as found:  # noqa: PTH123
            assert found.read() == path.read_bytes()


def test_the_mixer_is_given_samples_pictures_and_levels(checkpoint, tmp_path):
    samples = noise(2, 16000, 2).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    *progress, value = work(tmp_path / "a.wav", tmp_path / "out", {"checkpoint": str(checkpoint), **SETTINGS}, LIMITS)
    assert {"done": 2.0, "total": 2.0} in progress
    read = [np.fromfile(track["samples"], "<f4").reshape(-1, 2) for track in value["tracks"]]
    assert np.array_equal(read[0], samples)
    assert np.allclose(sum(read[1:]), samples, atol=1e-5)
    assert all(track["picture"].startswith("data:image/jpeg;base64,") for track in value["tracks"])
    levels = [10 * np.log10((output**2).sum() / (samples**2).sum()) for output in read[1:]]
    assert np.allclose([track["level"] for track in value["tracks"][1:]], levels, atol=0.06)
    assert value["facts"].startswith("2.0 s, 16000 Hz, 2 channels, 3 outputs")
    mean = outcome(checkpoint, tmp_path / "a.wav", tmp_path / "mean", channels="mean")
    assert np.allclose(np.fromfile(mean["tracks"][0]["samples"], "<f4"), samples.mean(1), atol=1e-7)


def test_silent_outputs_are_named(checkpoint, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1, 8000), 8000)
    value = outcome(checkpoint, tmp_path / "a.wav", tmp_path / "out", silent_below=0.0)
    assert value["notes"] == ["3 silent ones dropped"]
    assert len(value["tracks"]) == 1


def test_a_process_that_dies_is_an_error_and_the_next_one_works(checkpoint, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1, 8000), 8000)
    with pytest.raises(UserError, match=r"a\.wav: took the decoder or the separator down"):
        outcome(checkpoint, tmp_path / "a.wav", tmp_path / "crash", limits=Crash())
    assert len(outcome(checkpoint, tmp_path / "a.wav", tmp_path / "out")["tracks"]) == 4


def test_it_can_be_stopped(checkpoint, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1, 8000), 8000)
    start = time.monotonic()
    news = work(tmp_path / "a.wav", tmp_path / "out", {"checkpoint": str(checkpoint), **SETTINGS}, Endless())
    assert next(news) == next(news) == {"done": 0.0, "total": 0.0}
    news.close()
    assert time.monotonic() - start < 20


def test_a_film_is_refused_before_it_is_decoded_to_its_end(tmp_path):
    from .bad_files import write_film

    write_film(tmp_path / "a.mp4", 20)
    seen = []

    def check(frames, rate, channels):
        seen.append(frames)
        Limits(5, 16, 192_000).check(frames, rate, channels)

    with pytest.raises(UserError, match="longer than 5 s"), opened(tmp_path / "a.mp4", check):
        pass
    assert 5 * 8000 < max(seen) < 6 * 8000
