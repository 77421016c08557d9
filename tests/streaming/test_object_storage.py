"""An S3-compatible server: shards are packed to it and trained on from it, also when it is gone for a while."""

import multiprocessing
import os
import threading
import time
from collections import Counter

import pytest

from mixit_lightning.cli import main
from mixit_lightning.config import load_config
from mixit_lightning.streaming.catalogue import read_catalogue
from mixit_lightning.streaming.storage import Storage
from mixit_lightning.training.module import SeparationModule
from mixit_lightning.training.train import train

from .conftest import TINY

pytest.importorskip("moto.server", reason="not installed: moto[server]")

pytestmark = pytest.mark.slow

AWAY = 8.0
"""Seconds for which the server is gone."""


class Server:
    """moto's server, which keeps what it holds when it is stopped and started again.

    In a process of its own: loading processes, which are forked, would hold its port open.
    """

    def __init__(self):
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other,), daemon=True)
        self.process.start()
        self.port = self.pipe.recv()

    def toggle(self):
        """Stop it, or start it again."""
        self.pipe.send(None)
        self.pipe.recv()

    def uri(self, place):
        return f"s3://recordings/{place}?scheme=http&endpoint_override=127.0.0.1:{self.port}&region=us-east-1"


def serve(pipe):
    from moto.server import ThreadedMotoServer

    port = 0
    while True:
        server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
        server.start()
        _, port = server.get_host_and_port()
        pipe.send(port)
        pipe.recv()
        server.stop()
        pipe.send(None)
        pipe.recv()


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_EC2_METADATA_DISABLED": "true",
            "no_proxy": "127.0.0.1",
        }.items():
            patch.setitem(os.environ, name, value)
        running = Server()
        from pyarrow.fs import FileSystem

        files, _ = FileSystem.from_uri(f"{running.uri('')}&allow_bucket_creation=true")
        files.create_dir("recordings")
        yield running
        running.process.kill()


def test_shards_in_object_storage_are_those_of_a_folder(server, pack, packed):
    place = server.uri("same")
    assert pack(place) == 0
    storage = Storage(place)
    there = read_catalogue(storage)
    assert there == read_catalogue(Storage(str(packed)))
    for shard in there.shards:
        assert storage.read(shard.name) == (packed / shard.name).read_bytes()
    storage.remove(there.shards[0].name)
    storage.remove("catalogue.json")
    assert pack(place) == 0
    assert read_catalogue(storage) == there and storage.size(there.shards[0].name) == there.shards[0].bytes


def test_training_waits_for_the_server_and_sees_every_segment_once(server, pack, tmp_path, monkeypatch):
    place = server.uri("outage")
    assert pack(place, "shard_megabytes=0.05") == 0
    total = sum(len(shard.recordings) for shard in read_catalogue(Storage(place)).of("train"))
    steps = -(-total // 4)
    words = [*TINY, f"data='{place}'", f"runs={tmp_path / 'runs'}", "datamodule.batch_size=2", "datamodule.window=1"]
    words += [f"trainer.max_steps={steps}", f"datamodule.steps_per_epoch={steps}"]
    seen: list[str] = []
    times: list[float] = []
    back: list[float] = []
    step = SeparationModule.training_step

    def outage():
        server.toggle()
        time.sleep(AWAY)
        server.toggle()
        back.append(time.monotonic())

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
    assert any(moment > back[0] for moment in times)
    counts = Counter(seen[:total])
    assert len(counts) == total and set(counts.values()) == {1}


def test_a_server_that_stays_away_ends_a_run_with_a_message_and_the_same_command_resumes(
    server, pack, tmp_path, capfd, monkeypatch
):
    monkeypatch.setattr("mixit_lightning.streaming.storage.ATTEMPTS", 2)
    place = server.uri("gone")
    assert pack(place) == 0
    words = [*TINY, f"data='{place}'", f"runs={tmp_path / 'runs'}", "debug=fast"]
    server.toggle()
    try:
        assert main(["train", *words, "sample_rate=8000", "datamodule.shards=null"]) == 1
        assert "NETWORK_CONNECTION" in capfd.readouterr().err.splitlines()[-1]
    finally:
        server.toggle()
    assert main(["train", *words]) == 0
