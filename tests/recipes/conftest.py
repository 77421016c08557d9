from pathlib import Path

import pytest

from mixit_lightning.cli import main

from ..helpers.corpora import (
    make_fuss,
    make_libri2mix,
    make_noisy,
    make_own,
    make_rooms,
    make_speech,
    make_two_speakers,
)
from ..helpers.small import SMALL

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"
"""Recordings that are no part of the project; tests that use them are skipped where they are absent."""


@pytest.fixture(scope="session")
def own(tmp_path_factory) -> Path:
    return make_own(tmp_path_factory.mktemp("own-recordings"))


@pytest.fixture(scope="session")
def shards(own, tmp_path_factory) -> Path:
    """Those recordings at 8 kHz, packed."""
    folder = tmp_path_factory.mktemp("shards")
    words = ["sample_rate=8000", "shard_megabytes=0.2", f"index={folder / 'index'}"]
    assert main(["shard", f"data={own}", f"output={folder / 'shards'}", *words]) == 0
    return folder / "shards"


@pytest.fixture(scope="session")
def noisy(tmp_path_factory) -> Path:
    return make_noisy(tmp_path_factory.mktemp("enhancement"))


@pytest.fixture(scope="session")
def fuss(tmp_path_factory) -> Path:
    folder = make_fuss(tmp_path_factory.mktemp("fuss"))
    return make_fuss(folder, "ssdata_reverb")


@pytest.fixture(scope="session")
def libri2mix(tmp_path_factory) -> Path:
    return make_libri2mix(tmp_path_factory.mktemp("libri2mix"))


@pytest.fixture(scope="session")
def rooms(tmp_path_factory) -> Path:
    """A few small, dry rooms for two sources at 8 kHz."""
    return make_rooms(tmp_path_factory.mktemp("rooms") / "rooms.npz", 8000)


@pytest.fixture(scope="session")
def speech(tmp_path_factory) -> Path:
    return make_speech(tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="session")
def two_speakers(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wsj0-2mix")
    for sample_rate in (8000, 16000):
        for mode in ("min", "max"):
            make_two_speakers(folder, sample_rate, mode)
    return folder


@pytest.fixture(scope="session")
def generated(speech, two_speakers, libri2mix, noisy, fuss, own, shards):
    """Data roots of generated recordings."""
    prepared = {"wsj0-2mix": two_speakers, "wsj0-1or2mix": two_speakers, "enhancement": noisy, "fuss": fuss}
    prepared |= {"reverb-adaptation": speech, "own-recordings": own, "shards": shards}
    return {"speech-folder": speech, "libri2mix": libri2mix, "libri-1or2mix": libri2mix} | prepared


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Train, evaluate and report a recipe with a small network; gives the run's folder."""

    def run(recipe: str, *overrides: str) -> Path:
        runs = tmp_path_factory.mktemp("runs")
        assert main(["train", f"recipe={recipe}", f"runs={runs}", *SMALL, *overrides]) == 0
        (folder,) = (runs / recipe).iterdir()
        return folder

    return run
