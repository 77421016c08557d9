"""How fast is mixing in rooms on the fly, and does it slow training down?

Mixtures in the layout of wsj0-2mix (generated noise that comes and goes, 5 to 8 s at 8 kHz, 16-bit WAV) and a bank of
rooms with the default ranges (RT60 0.2 to 0.6 s). First, one process with one thread draws crops of 4 s of two
sources, from file to mixture, with and without rooms. Then `separator=tdcnpp`, the default, trains with two loading
processes, with and without rooms in turns; the figure is the ratio of the times of its steps. Words after the options
are settings of recipe wsj0-2mix.

    python benchmarks/reverberation.py [--rounds 5] [--steps 4] [key=value ...]
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from mixit_lightning.config import build, load_config
from mixit_lightning.rooms import make_bank
from mixit_lightning.run import commit, hardware
from mixit_lightning.training.parts import build_module

RATE, SECONDS, DRAWN = 8000, 4.0, 300

LOADED_AHEAD = 4
"""Batches that two loading processes keep ready."""


def make_mixtures(folder: Path, count: int = 60) -> None:
    """Mixtures of two sources in the layout of wsj0-2mix."""
    rng = np.random.default_rng(0)
    for split in ("tr", "cv", "tt"):
        for number in range(count if split == "tr" else 2):
            length = int(rng.uniform(5, 8) * RATE)
            swell = 1.1 + np.sin(2 * np.pi * 3 * np.arange(length) / RATE)
            sources = 0.05 * rng.standard_normal((2, length)) * swell
            for part, samples in zip(("s1", "s2", "mix"), [*sources, sources.sum(0)], strict=True):
                path = (
                    folder
                    / "2speakers"
                    / "wav8k"
                    / "min"
                    / split
                    / part
                    / f"{number:03}a0001_1_{number:03}b0001_-1.wav"
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, samples, RATE, subtype="PCM_16")


def draw(mixtures: Any, rounds: int, *, labelled: bool) -> list[float]:
    """Seconds of audio that one core makes in a second, for each round."""
    rates = []
    for round_number in range(rounds):
        numbers = range(round_number * DRAWN, (round_number + 1) * DRAWN)
        start = time.perf_counter()
        for number in numbers:
            mixtures.draw(number, labelled=labelled).render()
        rates.append(DRAWN * SECONDS / (time.perf_counter() - start))
    return rates


def steps(words: list[str]) -> Iterator[None]:
    """Endless training steps."""
    config = load_config(words)
    datamodule = build(config.settings, "datamodule")
    datamodule.setup()
    module = build_module(config.settings)
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    optimizer = module.make_optimizer(module.parameters())
    for number, batch in enumerate(datamodule.train_dataloader()):
        optimizer.zero_grad()
        module.training_step(batch, number).backward()
        optimizer.step()
        yield


def spread(values: list[float], digits: int = 1) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    options, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_mixtures(folder)
        rooms = folder / "rooms.npz"
        ranges = {"size": [(3, 10), (3, 8), (2.5, 4)], "rt60": (0.2, 0.6), "distance": (0.5, 3), "height": (1, 2)}
        counts = {"train": 60, "valid": 1, "test": 1}
        make_bank(str(rooms), RATE, counts, **ranges, clearance=0.5, num_sources=4, seed=0)  # type: ignore[arg-type]
        base = ["recipe=wsj0-2mix", f"data={folder}", "datamodule.steps_per_epoch=1000000", "datamodule.num_workers=2"]
        words = {"dry": [*base, *more], "rooms": [*base, *more, f"rooms={rooms}"]}

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        rates = {}
        for kind in words:
            datamodule = build(load_config([*words[kind], "objective=semi-supervised"]).settings, "datamodule")
            datamodule.setup()
            draw(datamodule.training, 1, labelled=False)
            for labelled in (True, False):
                what = "with references" if labelled else "mixture alone"
                rates[f"{kind}, {what}"] = spread(draw(datamodule.training, options.rounds, labelled=labelled), 0)
        torch.set_num_threads(threads)

        loops = {kind: steps(words[kind]) for kind in words}
        for loop in loops.values():
            next(loop)
        times: dict[str, list[float]] = {kind: [] for kind in words}
        for _ in range(options.rounds):
            for kind, loop in loops.items():
                for _ in range(LOADED_AHEAD):  # while the other side had its turn
                    next(loop)
                start = time.perf_counter()
                for _ in range(options.steps):
                    next(loop)
                times[kind].append((time.perf_counter() - start) / options.steps)
                time.sleep(2)  # in which its loading processes fill up again, not in the other side's turn
        ratios = [wet / dry for dry, wet in zip(times["dry"], times["rooms"], strict=True)]
        record = {
            "seconds of audio a second and core": rates,
            "step time with rooms to that without": spread(ratios, 3),
            "seconds a step without rooms": spread(times["dry"], 2),
            "rounds": options.rounds,
            "steps a round": options.steps,
            "settings": more,
            "commit": commit(),
            "hardware": hardware(),
        }
        print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
