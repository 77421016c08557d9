"""A real S3-compatible server: shards are packed to it and trained on from it, also when it is gone for a while."""

import re
import shutil
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from mixit_lightning.cli import main
from mixit_lightning.config import load_config
from mixit_lightning.streaming.catalogue import read_catalogue
from mixit_lightning.streaming.storage import Storage
from mixit_lightning.training.module import SeparationModule
from mixit_lightning.training.train import train

from .conftest import TINY
from .s3_server import MISSING, s3_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (Debian: ceph-mon ceph-osd radosgw)"
    ),
]

AWAY = 20.0
"""Seconds for which the server is gone."""


@pytest.fixture(scope="module")
def server():
    folder = Path(tempfile.mkdtemp(prefix="s3-"))  # its sockets' names must be short
    try:
        with s3_server(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_shards_in_object_storage_are_those_of_a_folder(server, pack, packed, capsys):
    place = server.uri("same")
    assert pack(place) == 0
    there = read_catalogue(Storage(place, 5), 64)
    assert there == read_catalogue(Storage(str(packed), 5), 64)
    storage = Storage(place, 5)
    for shard in there.shards:
        assert storage.read(shard.name, 10**8) == (packed / shard.name).read_bytes()
        assert storage.size(shard.sidecar) is None
    storage.remove(there.shards[0].name)
    capsys.readouterr()
    assert pack(place) == 0
    assert "Packing: 1 of 1" in capsys.readouterr().err
    assert read_catalogue(storage, 64) == there


def test_training_goes_on_when_the_server_comes_back(server, pack, tmp_path, monkeypatch, capfd):
    place = server.uri("outage")
    assert pack(place, "shard_megabytes=0.05") == 0
    total = sum(len(shard.recordings) for shard in read_catalogue(Storage(place, 5), 64).of("train"))
    steps = -(-total // 4)
    words = [*TINY, f"data='{place}'", f"runs={tmp_path / 'runs'}", "datamodule.batch_size=2", "datamodule.window=1"]
    words += [f"trainer.max_steps={steps}", f"datamodule.steps_per_epoch={steps}", "datamodule.cache_gigabytes=0.0005"]
    seen: list[str] = []
    away: list[tuple[float, float]] = []
    times: list[float] = []
    step = SeparationModule.training_step

    def outage():
        server.stop_gateway()
        start = time.monotonic()
        time.sleep(AWAY)
        server.start_gateway()
        away.append((start, time.monotonic()))

    thread = threading.Thread(target=outage)

    def spy(self, batch, number):
        seen.extend(batch.names)
        times.append(time.monotonic())
        if len(times) == steps // 3:
            thread.start()
        return step(self, batch, number)

    monkeypatch.setattr(SeparationModule, "training_step", spy)
    train(load_config(words))
    thread.join()
    said = capfd.readouterr().err
    assert len(re.findall(r"cannot be reached, trying again for up to \d+ s", said)) == 1
    assert len(re.findall(r"there again after \d+ s", said)) == 1
    (start, end) = away[0]
    assert end - start >= AWAY and any(moment > end for moment in times)
    counts = Counter(seen[:total])
    assert len(counts) == total and set(counts.values()) == {1}


def test_the_network_that_stays_away_ends_a_run_with_a_message_and_the_same_command_resumes(
    server, pack, tmp_path, capfd
):
    place = server.uri("gone")
    assert pack(place) == 0
    words = [*TINY, f"data='{place}'", f"runs={tmp_path / 'runs'}", "debug=fast", "datamodule.patience=3"]
    server.stop_gateway()
    try:
        start = time.monotonic()
        assert main(["train", *words, "sample_rate=8000", "datamodule.shards=null"]) == 1
        assert time.monotonic() - start < 60
        assert "cannot be reached" in (last := capfd.readouterr().err.splitlines()[-1]) and "patience" in last
    finally:
        server.start_gateway()
    assert main(["train", *words]) == 0


def test_wrong_keys_are_said_at_once(server, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    start = time.monotonic()
    assert main(["train", *TINY, f"data='{server.uri('same')}'", f"runs={tmp_path}"]) == 1
    assert "is refused" in capsys.readouterr().err and time.monotonic() - start < 20
