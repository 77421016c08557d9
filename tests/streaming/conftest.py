from pathlib import Path

import numpy as np
import pytest
import soundfile

from mixit_lightning.cli import main

SMALL = ["shard_megabytes=0.1", "seconds=1.5", "sample_rate=8000"]
"""Shards of a few segments."""

TINY = [
    "recipe=shards",
    "separator.bottleneck=8",
    "separator.conv_channels=16",
    "separator.repeats=1",
    "separator.dilations_per_repeat=2",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "datamodule.duration=0.5",
    "datamodule.window=2",
    "datamodule.validation_count=4",
    "datamodule.test_count=4",
]
"""A network of a few parameters on crops of half a second."""


def make_recordings(folder: Path, count: int = 14, seconds: float = 4.0, sample_rate: int = 8000) -> Path:
    """Noise that comes and goes, of which a tenth is silence."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        time = np.arange(round((seconds + 0.3 * number) * sample_rate)) / sample_rate
        samples = 0.1 * rng.standard_normal(len(time)) * (1.1 + np.sin(2 * np.pi * rng.uniform(1, 4) * time))
        soundfile.write(folder / f"{number:02}.wav", samples, sample_rate, subtype="PCM_16")
    return folder


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    return make_recordings(tmp_path_factory.mktemp("recordings"))


@pytest.fixture
def pack(tmp_path, recordings):
    """`mixit shard` of the recordings; gives its exit status."""

    def pack(output, *words, data=recordings):
        return main(["shard", f"data={data}", f"output='{output}'", f"index={tmp_path / 'index'}", *SMALL, *words])

    return pack


@pytest.fixture(scope="session")
def packed(tmp_path_factory, recordings):
    """A folder of shards, not to be changed."""
    folder = tmp_path_factory.mktemp("packed")
    words = [f"data={recordings}", f"output={folder / 'shards'}", f"index={folder / 'index'}"]
    assert main(["shard", *words, *SMALL]) == 0
    return folder / "shards"
