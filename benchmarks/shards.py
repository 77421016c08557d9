"""Do shards stream from object storage as fast as from the disk?

Six hours of generated noise that comes and goes, at 16 kHz, packed into a folder and sent to an S3-compatible server on
this machine's loopback (moto's, which is written in Python and so a lower bound). Both are then read as training reads
them: the recipe's loader with one loading process, crops of 3 s in batches of 8 mixtures of mixtures, windows of 2
shards, a whole epoch, the cache for object storage empty before each. Server, loading process and this one share the
machine. Both sides give the same samples. Then what the recipe's network consumes.

    python benchmarks/shards.py [--quick] [--json]
"""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import soundfile
import torch
from harness import Row, Spread, in_turns, medians, run, short
from hydra.utils import instantiate
from pyarrow.fs import FileSystem

from mixit_lightning.config import build, compose_settings, load_config
from mixit_lightning.data import MixtureDataModule
from mixit_lightning.memory import keep_freed_memory
from mixit_lightning.training.parts import build_module

RATE, BATCH, SECONDS = 16000, 8, 3.0


def make_recordings(folder: Path, minutes: int) -> float:
    """Recordings of a minute each; gives how many bytes a second they have."""
    folder.mkdir()
    for number in range(minutes):
        rng = np.random.default_rng(number)
        time_axis = np.arange(60 * RATE) / RATE
        samples = np.cumsum(rng.standard_normal(len(time_axis)))  # as steep as speech and most sounds are
        samples -= np.convolve(samples, np.ones(160) / 160, "same")
        samples *= 0.02 * (1.1 + np.sin(2 * np.pi * rng.uniform(1, 4) * time_axis))
        soundfile.write(folder / f"{number:04}.wav", np.clip(samples, -1, 1), RATE, subtype="PCM_16")


@contextmanager
def s3_server() -> Iterator[str]:
    """A place in an empty bucket of a server; the environment has what clients need."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}
    os.environ.update(keys, no_proxy="127.0.0.1")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    query = f"scheme=http&endpoint_override=127.0.0.1:{port}&region=us-east-1"
    try:
        files, _ = FileSystem.from_uri(f"s3://recordings/shards?{query}&allow_bucket_creation=true")
        for _ in range(20):  # until it has started
            with suppress(OSError):
                files.create_dir("recordings")
                break
        yield f"s3://recordings/shards?{query}"
    finally:
        server.kill()
        server.wait()


def packed(data: Path, output: str, index: Path) -> float:
    """Pack with the default settings; gives the seconds that it took."""
    words = [f"data={data}", f"output='{output}'", f"index={index}", f"sample_rate={RATE}"]
    start = time.perf_counter()
    instantiate(compose_settings("shard", words))
    return time.perf_counter() - start


def datamodule_of(place: str, runs: Path, steps: int) -> MixtureDataModule:
    """The recipe's data."""
    words = [f"data='{place}'", f"runs={runs}", f"datamodule.batch_size={BATCH}", f"datamodule.duration={SECONDS}"]
    words += [f"datamodule.steps_per_epoch={steps}", "datamodule.num_workers=1", "datamodule.window=2"]
    datamodule: MixtureDataModule = build(load_config(["recipe=shards", *words]).settings, "datamodule")
    datamodule.setup()
    return datamodule


def epoch(place: str, runs: Path, steps: int) -> None:
    """Read a whole epoch by a loader that has read nothing yet."""
    shutil.rmtree(runs / "cache", ignore_errors=True)
    for _ in datamodule_of(place, runs, steps).train_dataloader():
        pass


def consumption(runs: Path, place: str) -> float:
    """Examples a second that a training step of the recipe's network takes on this machine."""
    settings = load_config(
        ["recipe=shards", f"data={place}", f"runs={runs}", f"datamodule.duration={SECONDS}"]
    ).settings
    module = build_module(settings)
    optimizer = torch.optim.Adam(module.parameters())
    mixtures = torch.randn(2 * BATCH, round(SECONDS * RATE)) * 0.05
    times = []
    for _ in range(4):
        start = time.perf_counter()
        estimates = module.separator(mixtures[::2] + mixtures[1::2])
        estimates.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    return BATCH / float(np.median(times[1:]))


def measure(quick: bool) -> Iterator[Row]:
    """Object storage against the disk, and the disk against the step."""
    if importlib.util.find_spec("moto") is None:
        print("not measured, as moto[s3,server] is not installed", file=sys.stderr)
        return
    keep_freed_memory()
    minutes = 60 if quick else 360
    folder = Path(tempfile.mkdtemp(prefix="s3-"))
    try:
        make_recordings(folder / "data", minutes)
        scanning = packed(folder / "data", str(folder / "warm"), folder / "index")
        packing = packed(folder / "data", str(folder / "shards"), folder / "index")
        catalogue = json.loads((folder / "shards" / "catalogue.json").read_text())
        train = [shard for shard in catalogue["shards"] if shard["name"].startswith("train")]
        size, hours = sum(shard["bytes"] for shard in train), sum(shard["seconds"] for shard in train) / 3600
        steps = sum(len(shard["recordings"]) for shard in train) // (2 * BATCH)
        with s3_server() as place:
            sending = packed(folder / "data", place, folder / "index")
            one, other = (datamodule_of(where, folder / "runs", steps) for where in (str(folder / "shards"), place))
            for number in range(0, 2 * steps, 7):
                first, second = (module.training.draw(number, labelled=False) for module in (one, other))
                assert first.name == second.name and torch.equal(first.mixture, second.mixture), first.name
            sides = {
                "object storage": lambda: epoch(place, folder / "runs", steps),
                "disk": lambda: epoch(str(folder / "shards"), folder / "runs", steps),
            }
            times = in_turns(sides, rounds=3 if quick else 5, warm_up=1)
        typical = {side: seconds / (steps * BATCH) for side, seconds in medians(times).items()}
        rates = {side: short(1 / seconds) for side, seconds in typical.items()}
        yield Row(
            question=f"An epoch of {len(train)} shards from object storage, {size / 1e6:.0f} MB, {hours:.2f} hours",
            peer="the same from the disk",
            ratio=Spread.ratio(times["disk"], times["object storage"]),
            goal=0.8,
            seconds=typical,
            note=f"seconds an example; {rates['object storage']} and {rates['disk']} a second, "
            f"{size / 1e6 / medians(times)['object storage']:.3g} MB/s from object storage; scanning and packing took "
            f"{scanning:.3g} s, packing alone {packing:.3g} s, packing to object storage {sending:.3g} s, of "
            f"{minutes / 60:.3g} hours; {size / hours / 1e6:.3g} MB an hour",
        )
        consumed = consumption(folder / "runs", str(folder / "shards"))
        yield Row(
            question="Examples a second from object storage",
            peer="a forward and backward of separator=tdcnpp-small on this CPU",
            ratio=Spread.of([steps * BATCH / seconds / consumed for seconds in times["object storage"]]),
            goal=2,
            note=f"the step takes {short(consumed)} examples a second",
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    run(measure, __doc__)
