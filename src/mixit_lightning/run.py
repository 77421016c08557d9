"""One run, one folder: where it is, what is in it, and whether it may be continued."""

import hashlib
import json
import platform
import shutil
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError
from .files import replacing, written
from .reading import read_json, read_yaml

TRAINING_RECORD = "training.json"
"""What training says of itself when it ends: steps, seconds, commit, versions, hardware."""

RESULTS = "results.json"
"""What was measured of the run; written last, but for the report."""

PACKAGES = ("mixit-lightning", "torch", "torchaudio", "lightning", "asteroid", "numpy", "soundfile")


def run_name(objective: str, recipe: str, separator: str, overrides: list[str]) -> str:
    """`<objective>.<recipe>.<separator>`, and a short hash of what was overridden, if anything was."""
    name = f"{objective}.{recipe}.{separator}"
    if overrides:
        name += "." + hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:8]
    return name


def open_run(folder: Path, config: dict[str, Any]) -> None:
    """Make the folder with its config, or check that the config in it is the same, so that the run may be resumed.

    Raises:
        UserError: the folder holds a run of another config, or files that are not a run's.
    """
    path = folder / "config.yaml"
    if path.exists():
        earlier = read_yaml(path)
        if changed := differences(earlier, config):
            raise UserError(
                f"{path}: an earlier run had other settings ({', '.join(changed[:5])}); "
                "move its folder away, or give a setting that tells the two apart"
            )
        return
    for name in ("metrics.csv", TRAINING_RECORD, "checkpoints"):
        place = folder / name
        if place.is_file() or (place.is_dir() and any(place.iterdir())):
            raise UserError(f"{place}: is there already, without the config.yaml of a run; give another folder")
    check_results(folder)
    with written(folder):
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(yaml.safe_dump(config, sort_keys=False))


def check_results(folder: Path) -> None:
    """Refuse a folder in which results would replace files that are not a run's.

    Raises:
        UserError: with the file or folder.
    """
    examples, results = folder / "examples", folder / RESULTS
    ours = not results.is_file() or (folder / "config.yaml").is_file() or look_up(read_json(results), "run")
    for place, fine in ((examples, not examples.exists() or (examples / "examples.json").is_file()), (results, ours)):
        if not fine:
            raise UserError(f"{place}: is there already, and not of a run; give another folder")


def differences(one: Any, other: Any, key: str = "") -> list[str]:
    """Dotted keys at which two configs differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            name
            for part in dict.fromkeys([*one, *other])
            for name in differences(one.get(part), other.get(part), f"{key}.{part}".lstrip("."))
        ]
    return [] if one == other else [key]


def look_up(config: Any, key: str) -> Any:
    """Value of a dotted key, None where it does not exist."""
    for part in key.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config


def portable(config: dict[str, Any], places: Iterable[str]) -> dict[str, Any]:
    """A config as it would be wherever the data stand: what two machines can compare, and what can be published.

    Args:
        config: resolved.
        places: keys that are files or folders; `${key}` takes the place of their values, and `${place}` that of
            wherever they went, as one folder may be two of them. What a run is called, what was noted and how the data
            were prepared is left out.
    """
    known = {str(config[key]) for key in places if config.get(key) is not None}

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: replaced(part) for key, part in value.items()}
        if isinstance(value, list):
            return [replaced(part) for part in value]
        if isinstance(value, str):
            for place in sorted(known, key=len, reverse=True):  # the longest, as one may stand in another
                if value == place or value.startswith(f"{place}/"):
                    return "${place}" + value[len(place) :]
        return value

    kept = {key: value for key, value in config.items() if key not in ("run", "note", "preparation")}
    own = {key: f"${{{key}}}" for key in places if config.get(key) is not None}
    return {key: replaced(value) for key, value in kept.items()} | own


def digest(config: dict[str, Any]) -> str:
    """A short name for a portable config, by which a run can say which one it started from."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:16]


def digest_of_run(checkpoint: Path, places: Iterable[str]) -> str | None:
    """That of the run which a checkpoint belongs to; None for one from elsewhere."""
    path = checkpoint.parent.parent / "config.yaml"
    return digest(portable(read_config(path), places)) if path.is_file() else None


def read_config(path: Path) -> dict[str, Any]:
    """The config.yaml of a run.

    Raises:
        UserError: it is none.
    """
    config = read_yaml(path)
    if not (isinstance(config, dict) and all(isinstance(key, str) for key in config)):
        raise UserError(f"{path}: not the config of a run; move it away, or get it again")
    return config


def provenance() -> dict[str, Any]:
    """Commit, versions and hardware, for results that others are to reproduce."""
    return {
        "commit": commit(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "hardware": hardware(),
    }


def commit() -> str:
    """Commit of the checkout that the package runs from; `+changes` where files differ from it."""
    git = shutil.which("git")
    if git is None:
        return "unknown (no git)"

    def ask(*words: str) -> str | None:
        answer = subprocess.run([git, *words], cwd=Path(__file__).parent, capture_output=True, text=True)
        return answer.stdout.strip() if answer.returncode == 0 else None

    head = ask("rev-parse", "HEAD")
    if head is None:
        return "unknown (not a git checkout)"
    return head + ("+changes" if ask("status", "--porcelain", "--untracked-files=no") else "")


def hardware() -> dict[str, Any]:
    """Processor, threads used, and GPUs."""
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
    }
