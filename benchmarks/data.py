"""How many examples a second do two loading processes make of files, against asteroid's way and the training's needs?

Mixtures in the layout of wsj0-2mix (generated noise that comes and goes, 5 to 8 s at 8 kHz, 16-bit WAV, in the page
cache); random crops of 4 s in batches of 8. First the labelled case, mixture and two sources on both sides; then
the unlabelled one of MixIT, for which an example takes two mixtures: ours opens no other file, asteroid's dataset
always reads the sources. asteroid's is its `Wsj0mixDataset` in the DataLoader that its recipe makes, but for loading
processes that stay between epochs, as ours do. Then what the default network consumes.

    python benchmarks/data.py [--quick] [--json]
"""

import importlib.util
import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asteroid
import numpy as np
import torch
from harness import Row, Spread, in_turns, medians, run, short
from reverberation import RATE, SECONDS, make_mixtures, steps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from mixit_lightning.config import build, load_config
from mixit_lightning.data import Mixture, MixtureDataModule
from mixit_lightning.data.prepared import Crop
from mixit_lightning.memory import keep_freed_memory

BATCH, WORKERS = 8, 2

LENGTH = round(SECONDS * RATE)

HEADER = 44
"""Bytes before the samples."""


def ours(folder: Path, objective: str, batches: int) -> MixtureDataModule:
    """The recipe's data."""
    words = [f"objective={objective}", f"datamodule.steps_per_epoch={batches}", f"datamodule.batch_size={BATCH}"]
    datamodule: MixtureDataModule = build(
        load_config(["recipe=wsj0-2mix", f"data={folder}", f"datamodule.num_workers={WORKERS}", *words]).settings,
        "datamodule",
    )
    datamodule.setup()
    return datamodule


def theirs(folder: Path, datamodule: MixtureDataModule) -> Dataset[tuple[Tensor, Tensor]]:
    """asteroid's dataset of the same files, which it is told by lists."""
    rows = datamodule.training.rows
    for part, place in (("mix", 0), ("s1", 1), ("s2", 2)):
        paths = [[row.mixture, *row.references][place] for row in rows]
        entries = [[str(path), row.frames] for path, row in zip(paths, rows, strict=True)]
        (folder / f"{part}.json").write_text(json.dumps(entries))
    # The file alone, as its package also imports what only other datasets of it need.
    spec = importlib.util.spec_from_file_location("wsj0_mix", Path(asteroid.__path__[0], "data", "wsj0_mix.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Wsj0mixDataset(str(folder), sample_rate=RATE, segment=SECONDS)


def assert_same(dataset: Dataset[tuple[Tensor, Tensor]], datamodule: MixtureDataModule) -> None:
    """Both give the same samples of the same crops."""
    for number, row in enumerate(datamodule.training.rows[:50]):
        np.random.seed(number)  # noqa: NPY002 - asteroid draws from it
        mixture, sources = dataset[number]
        np.random.seed(number)  # noqa: NPY002
        start = np.random.randint(0, row.frames - LENGTH)  # noqa: NPY002
        found = Crop(row, start, LENGTH).mixture(with_references=True)
        assert torch.equal(found.mixture, mixture) and torch.equal(found.references, sources), row.name


def bare(paths: list[Path]) -> None:
    """The bytes of a crop of each file, as float32: no check, no batch, no other process."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        samples = np.frombuffer(os.pread(descriptor, 2 * LENGTH, HEADER), np.int16)
        os.close(descriptor)
        np.multiply(samples, np.float32(1 / 2**15), dtype=np.float32)


class Ready:
    """One mixture that was read before, for every number."""

    def __init__(self, mixture: Mixture) -> None:
        self.labelled = mixture
        self.unlabelled = mixture._replace(references=mixture.references[:0])

    def draw(self, number: int, *, labelled: bool) -> Mixture:
        """That mixture."""
        return self.labelled if labelled else self.unlabelled


def consumption(folder: Path, batch_size: int, timed: int) -> float:
    """Examples a second that training with the default network takes."""
    loop = steps(["recipe=wsj0-2mix", f"data={folder}", f"datamodule.batch_size={batch_size}"])
    next(loop)
    start = time.perf_counter()
    for _ in range(timed):
        next(loop)
    return timed * batch_size / (time.perf_counter() - start)


def measure(quick: bool) -> Iterator[Row]:
    """Labelled, unlabelled, and against the step."""
    keep_freed_memory()
    batches = 40 if quick else 300
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_mixtures(folder, 60 if quick else 300)
        rates = {}
        for objective, question, mixtures in (
            ("pit", "Examples a second, mixture and two sources", 1),
            ("mixit", "Examples a second, two mixtures without sources", 2),
        ):
            datamodule = ours(folder, objective, batches)
            dataset = theirs(folder, datamodule)
            assert_same(dataset, datamodule)
            shuffled = RandomSampler(dataset, num_samples=batches * BATCH * mixtures)
            peer = DataLoader(
                dataset,
                BATCH * mixtures,
                sampler=shuffled,
                num_workers=WORKERS,
                drop_last=True,
                persistent_workers=True,
            )
            loader = datamodule.train_dataloader()
            datamodule.training = Ready(datamodule.training[0])
            handing = datamodule.train_dataloader()
            rows = loader.dataset.mixtures.rows
            files = [[row.mixture, *row.references] if objective == "pit" else [row.mixture] for row in rows]
            per_example = mixtures * len(files[0])
            paths = list(itertools.islice(itertools.cycle(itertools.chain(*files)), batches * BATCH * per_example))
            sides = {
                "ours": lambda loader=loader: sum(1 for _ in loader),
                "asteroid": lambda peer=peer: sum(1 for _ in peer),
                "handing over": lambda handing=handing: sum(1 for _ in handing),
                "bare": lambda paths=paths: bare(paths),
            }
            times = in_turns(sides, rounds=3 if quick else 5, warm_up=1)
            times["bare"] = [seconds / WORKERS for seconds in times["bare"]]
            typical = {side: seconds / (batches * BATCH) for side, seconds in medians(times).items()}
            rates[question] = [batches * BATCH / seconds for seconds in times["ours"]]
            yield Row(
                question=question,
                peer="asteroid's Wsj0mixDataset",
                ratio=Spread.ratio(times["asteroid"], times["ours"]),
                goal=2,
                limit=f"two processes handing over batches read before: {short(1 / typical['handing over'])} a second, "
                f"{short(typical['asteroid'] / typical['handing over'])} times asteroid's; "
                f"the bytes read and converted alone: {short(1 / typical['bare'])}",
                distance=Spread.ratio(times["ours"], times["handing over"]),
                seconds=typical,
                note=f"seconds an example; ours {short(1 / typical['ours'])} a second, "
                f"asteroid {short(1 / typical['asteroid'])}",
            )
        consumed = consumption(folder, *((1, 1) if quick else (2, 3)))
        yield Row(
            question="Examples a second, two mixtures without sources",
            peer="a training step of separator=tdcnpp on this CPU",
            ratio=Spread.of([rate / consumed for rate in rates[question]]),
            goal=10,
            note=f"the step takes {short(consumed)} examples a second; one of 0.1 s with {BATCH} would take "
            f"{short(BATCH / 0.1)}",
        )


if __name__ == "__main__":
    run(measure, __doc__)
