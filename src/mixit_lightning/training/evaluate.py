"""Evaluation: separate every mixture of the test set, score it, and keep some examples to look at and listen to."""

import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .. import processes
from ..audio.writing import write
from ..config import Config, build
from ..data import EvaluationBatch, MixtureDataModule
from ..files import replacing, written
from ..metrics import MoMi, Scoring, momi
from ..objectives import Objective
from ..records import read_training
from ..run import RESULTS, TRAINING_RECORD, provenance
from .checkpoints import load_checkpoint
from .train import build_module
from .wandb_logger import dashboard_of


def evaluate(config: Config) -> Path:
    """Write `results.json`, `examples.csv` (one row per test mixture) and `examples/` (audio) into the run's folder.

    Raises:
        UserError: no checkpoint, one of another network, or bad recordings.
    """
    with dashboard_of(config) as dashboard:
        write_results(config)
        if dashboard is not None:
            dashboard.show_results()
    return config.folder


def write_results(config: Config) -> None:
    """Write what `evaluate` says."""
    settings = config.settings
    start = time.monotonic()
    lightning.seed_everything(settings.seed, workers=True, verbose=False)
    datamodule: MixtureDataModule = build(settings, "datamodule")
    datamodule.setup()
    checkpoint = Path(settings.checkpoint or config.folder / "checkpoints" / "best.ckpt")
    own = checkpoint.resolve().is_relative_to(config.folder.resolve())
    state = load_checkpoint(checkpoint)
    module = build_module(settings)
    module.load_weights(state["state_dict"], checkpoint)
    device = torch.device("cuda" if torch.cuda.is_available() and settings.trainer.accelerator != "cpu" else "cpu")
    separator = module.separator.to(device).eval()

    domains = datamodule.domains()
    scored = {
        name: score(separator, module.scoring, module.objective, domain.test_dataloader(), device)
        for name, domain in domains.items()
    }
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
            keep_examples(config.folder, separator, module.scoring, domains[first], rows, device)
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


@torch.inference_mode()
def score(
    separator: nn.Module,
    scoring: Scoring,
    objective: Objective,
    batches: DataLoader[EvaluationBatch],
    device: torch.device,
) -> tuple[pd.DataFrame, dict[str, float | None]]:
    """One row per example, and the metrics over all of them; None where a metric applies to no example.

    Several processes take turns at the batches; the rows and the metrics that all of them return are those of all.
    """
    metrics = {name: metric.to(device) for name, metric in scoring.metrics().items()}
    mom_metric = MoMi().to(device)
    names: list[str] = []
    parts: list[dict[str, Tensor]] = []
    for batch in track(batches, "Separating the test mixtures", total=len(batches)):
        mixtures, references, partners = (part.to(device) for part in batch[:3])
        moms = torch.cat([mixtures[:, None], partners], dim=1)
        momis = mixtures.new_full((len(mixtures),), torch.nan)
        if partners.shape[1]:
            momis = momi(separator(moms.sum(1)), moms, objective.admissible, objective.search)
        mom_metric.add(momis)
        scores = scoring.scores(separator(mixtures), references, mixtures, final=True)
        for metric in metrics.values():
            metric.add_scores(scores)
        names += batch.names
        parts.append(columns_of(scores) | {"momi": momis})
    table = table_of(names, parts)
    # An unprocessed single source is a perfect estimate of itself.
    table.loc[table.num_references == 1, "input_si_snr"] = torch.nan
    values = {name: metric.compute().item() for name, metric in {**metrics, "momi": mom_metric}.items()}
    values["input_si_snr"] = table.input_si_snr.mean()
    if not table.num_references.any():  # nothing is known of the sources
        values = {"momi": values["momi"]}
    return table, {name: None if value != value else round(value, 4) for name, value in values.items()}


def table_of(names: list[str], parts: list[dict[str, Tensor]]) -> pd.DataFrame:
    """The rows of all processes in the order of the test set, from the columns of this one's batches."""
    table = pd.DataFrame()
    if parts:
        # Off the device once, at the end: a transfer a batch would make it wait.
        columns = {column: torch.cat([part[column] for part in parts]).cpu().numpy() for column in parts[0]}
        batches = processes.rank() + processes.count() * np.arange(len(parts))
        table = pd.DataFrame({"name": names} | columns, index=batches.repeat([len(part["momi"]) for part in parts]))
    return pd.concat(processes.gathered(table)).sort_index(kind="stable").reset_index(drop=True)


def columns_of(scores: Any) -> dict[str, Tensor]:
    """Columns of a table by name: one per output where scores tell the outputs apart, `energy_share_1` and so on."""
    columns = {}
    for name, values in scores._asdict().items():
        if values.ndim == 1:
            columns[name] = values
        elif name != "mixing_matrix":
            columns |= {f"{name.removesuffix('s')}_{n}": part for n, part in enumerate(values.unbind(-1), 1)}
    return columns


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
    folder: Path,
    separator: nn.Module,
    scoring: Scoring,
    datamodule: MixtureDataModule,
    rows: pd.DataFrame,
    device: torch.device,
) -> None:
    """Write mixture, references and outputs of chosen examples as WAV, with a list of them."""
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
