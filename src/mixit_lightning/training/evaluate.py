"""Evaluation: separate every mixture of the test set, score it, and keep some examples to look at and listen to."""

import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch
from torch import Tensor

from .. import processes
from ..audio.writing import write
from ..config import Config
from ..data import MixtureDataModule
from ..files import replacing, written
from ..metrics import MoMi, Scoring
from ..records import read_training
from ..run import RESULTS, TRAINING_RECORD, check_results, provenance
from .checkpoints import load_checkpoint
from .module import SeparationModule
from .parts import Parts, parts_of
from .trainers import test_trainer


def evaluate(config: Config) -> Path:
    """Write `results.json`, `examples.csv` (one row per test mixture) and `examples/` (audio) into the run's folder.

    Raises:
        UserError: no checkpoint, one of another network, or bad recordings.
    """
    with parts_of(config) as parts:
        test(parts)
    return config.folder


def test(parts: Parts) -> None:
    """Test the parts of a run with its best checkpoint or the one that the config names, as `evaluate` does."""
    write_results(parts)
    if parts.dashboard is not None:
        parts.dashboard.show_results()


def write_results(parts: Parts) -> None:
    """Write what `evaluate` says."""
    config, datamodule, module, _ = parts
    settings = config.settings
    start = time.monotonic()
    check_results(config.folder)
    lightning.seed_everything(settings.seed, workers=True, verbose=False)
    checkpoint = Path(settings.checkpoint or config.folder / "checkpoints" / "best.ckpt")
    own = checkpoint.resolve().is_relative_to(config.folder.resolve())
    state = load_checkpoint(checkpoint)
    module.load_weights(state["state_dict"], checkpoint)
    trainer = test_trainer(settings)
    domains = datamodule.domains()
    scored = {}
    for name, domain in domains.items():
        trainer.test(module, datamodule=domain, verbose=False)
        scored[name] = module.test_results
    first, *others = domains
    rows, metrics = scored[first]
    tables = [table.assign(domain=name) for name, (table, _) in scored.items()] if others else [rows]
    if processes.rank():  # the first process has it all
        return
    config.folder.mkdir(parents=True, exist_ok=True)
    with replacing(config.folder / "examples.csv") as partial:
        pd.concat(tables).to_csv(partial, index=False, float_format="%.4f")
    try:
        with written(config.folder / "examples"):
            keep_examples(config.folder, module, domains[first], rows, trainer.strategy.root_device)
    finally:
        shutil.rmtree(config.folder / "examples.partial", ignore_errors=True)
    training = read_training_record(checkpoint)
    record: dict[str, Any] = {
        **dict(zip(("objective", "recipe", "separator"), settings.run.split("."), strict=False)),
        "run": settings.run,
        "metrics": metrics,
        "selection_rule": selection_rule(module.scoring, settings, checkpoint, metrics),
        "num_examples": len(rows),
        "num_examples_by_sources": {str(n): int(c) for n, c in rows.num_references.value_counts().sort_index().items()},
        "seed": settings.seed,
        "steps": state.get("global_step"),
        "checkpoint": checkpoint.name if own else str(checkpoint),
        "wall_time": {"train": training.get("seconds"), "evaluate": round(time.monotonic() - start, 1)},
        **provenance(),
        "trained_with": training or None,
    }
    if others:
        record["domain"] = first
        record["other_domains"] = {
            name: {"metrics": scored[name][1], "num_examples": len(scored[name][0])} for name in others
        }
    if settings.note:
        record["note"] = settings.note
    with replacing(config.folder / RESULTS) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n")


def selection_rule(scoring: Scoring, settings: Any, checkpoint: Path, measured: Iterable[str]) -> str:
    """How outputs and checkpoint were chosen, without which the numbers mean nothing."""
    names: dict[str, list[str]] = {}
    for name, metric in {**scoring.metrics(), "momi": MoMi()}.items():
        if name in measured:
            names.setdefault(metric.selection_rule, []).append(name)
    rules = "; ".join(f"{', '.join(of)}: {rule}" for rule, of in names.items())
    chosen = f"checkpoint with the lowest {settings.selection}" if checkpoint.name == "best.ckpt" else checkpoint.name
    return f"{settings.num_outputs} outputs; {rules}; {chosen}"


def read_training_record(checkpoint: Path) -> dict[str, Any]:
    """What training left beside the checkpoint's folder; nothing for a checkpoint from elsewhere."""
    return read_training(checkpoint.parent.parent / TRAINING_RECORD)


def choose_examples(rows: pd.DataFrame) -> dict[int, str]:
    """Numbers of the examples to keep, and why: the worst are as telling as the best, but differ from run to run.

    So some more are chosen by the test set alone, for runs to be compared by ear: three of several sources (or of none
    that are known), one of a single source.
    """
    chosen: dict[int, str] = {}
    measure = "si_snri" if rows.si_snri.notna().any() else "momi"  # without references
    ranked = rows[rows[measure].notna()][measure].sort_values().index
    if len(ranked):
        picks = {
            "worst": 0,
            "second worst": 1,
            "lower quarter": len(ranked) // 4,
            "median": len(ranked) // 2,
            "best": -1,
        }
        for why, place in picks.items():
            if place < len(ranked):
                chosen.setdefault(int(ranked[place]), why)
    single = rows.get("one_source", pd.Series(dtype=float)).dropna().sort_values().index
    if len(single):
        chosen[int(single[0])] = "one source, worst"
        chosen.setdefault(int(single[len(single) // 2]), "one source, median")
    alone = rows.num_references == 1
    for same, count in ((rows.index[~alone], 3), (rows.index[alone], 1)):
        for part in range(count if len(same) else 0):
            place = len(same) * (2 * part + 1) // (2 * count)
            chosen.setdefault(int(same[place]), "the same in every run")
    return chosen


@torch.inference_mode()
def keep_examples(
    folder: Path, module: SeparationModule, datamodule: MixtureDataModule, rows: pd.DataFrame, device: torch.device
) -> None:
    """Write mixture, references and outputs of chosen examples as WAV, with a list of them."""
    separator, scoring = module.separator.to(device).eval(), module.scoring
    target, partial = folder / "examples", folder / "examples.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    entries = []
    for number, why in choose_examples(rows).items():
        item = datamodule.evaluation["test"][number]
        estimates = separator(item.mixture[None].to(device)).cpu()
        scores = scoring.scores(estimates, item.references[None], item.mixture[None], final=False)
        place = partial / str(number)
        place.mkdir()
        signals: dict[str, Tensor] = {"mixture": item.mixture}
        signals |= {f"reference_{n}": signal for n, signal in enumerate(item.references, 1)}
        signals |= {f"output_{n}": signal for n, signal in enumerate(estimates[0], 1)}
        # One gain for all, so that a listener hears that the outputs add up to the mixture.
        peak = max(1.0, *(signal.abs().max().item() for signal in signals.values()))
        for name, signal in signals.items():
            write(place / f"{name}.wav", (signal / peak).numpy(), datamodule.sample_rate)
        matched = {str(n): int(row.argmax()) + 1 for n, row in enumerate(scores.mixing_matrix[0], 1) if row.any()}
        values = {
            name: value
            for name, value in rows.loc[number].items()
            if name != "name"
            and value == value
            and not (rows.num_references[number] == 0 and str(name).startswith("num_"))
            and not str(name).startswith("energy_share")
            and "found" not in str(name)
        }
        entries.append({"folder": str(number), "name": item.name, "why": why, "metrics": values, "matched": matched})
    (partial / "examples.json").write_text(json.dumps(entries, indent=2, default=float) + "\n")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
