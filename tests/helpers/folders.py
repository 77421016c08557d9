"""What two commands have made, to be compared."""

import csv
import json
from pathlib import Path

import torch

from mixit_lightning.training.checkpoints import load_checkpoint

TIMES = {"seconds", "wall_time", "finished", "modified", "took", "real_time_factor"}


def contents(folder: Path) -> dict[str, object]:
    """What is in a folder by name, without times; weights as their bytes, pages and pictures left out."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.suffix in (".html", ".png", ".log", ".sqlite"):
            continue
        if path.suffix == ".ckpt":
            state = load_checkpoint(path)
            content = plain({key: state[key] for key in ("state_dict", "optimizer_states", "global_step", "epoch")})
        elif path.suffix == ".json":
            content = plain(json.loads(path.read_text()))
        elif path.name == "metrics.csv":
            with path.open(newline="") as file:  # those of one step in any order
                content = sorted((row["step"], row["metric"], row["value"]) for row in csv.DictReader(file))
        elif path.name == "preparation.jsonl":  # in any order
            content = dict(json.loads(line)[:2] for line in path.read_text().splitlines())
        else:
            content = path.read_bytes()
        found[str(path.relative_to(folder))] = content
    return found


def plain(value: object) -> object:
    """A value without what depends on the clock, and tensors as their bytes."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items() if key not in TIMES}
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value


def assert_same(made: dict[str, object], expected: dict[str, object]) -> None:
    """Compare what is in two folders."""
    missing, more = sorted(expected.keys() - made.keys()), sorted(made.keys() - expected.keys())
    different = [name for name in expected.keys() & made.keys() if made[name] != expected[name]]
    assert not (missing or more or different), f"{missing=}, {more=}, {different=}"
