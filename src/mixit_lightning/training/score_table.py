"""What a test measures: a table with one row per mixture, and the metrics over all of them."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .. import processes
from ..metrics import MoMi, Scoring


class ScoreTable:
    """Scores of test mixtures, batch by batch; several processes take turns at the batches.

    Args:
        scoring: how outputs are compared with references.
        device: where the batches are.
    """

    def __init__(self, scoring: Scoring, device: torch.device) -> None:
        self.metrics = {name: metric.to(device) for name, metric in scoring.metrics().items()}
        self.momi = MoMi().to(device)
        self.names: list[str] = []
        self.columns: list[dict[str, Tensor]] = []

    def add(self, names: list[str], scores: Any, momis: Tensor) -> None:
        """Add a batch.

        Args:
            names: of its mixtures.
            scores: of their outputs, as `Scoring.scores` gives them.
            momis: `(batch,)` in dB, see `momi`; NaN where there is no mixture of mixtures.
        """
        self.momi.add(momis)
        for metric in self.metrics.values():
            metric.update(scores)
        self.names += names
        self.columns.append(columns_of(scores) | {"momi": momis})

    def results(self) -> tuple[pd.DataFrame, dict[str, float | None]]:
        """One row per mixture of all processes, and the metrics; None where a metric applies to no mixture."""
        table = table_of(self.names, self.columns)
        # An unprocessed single source is a perfect estimate of itself.
        table.loc[table.num_references == 1, "input_si_snr"] = torch.nan
        values = {name: metric.compute().item() for name, metric in {**self.metrics, "momi": self.momi}.items()}
        values["input_si_snr"] = table.input_si_snr.mean()
        if not table.num_references.any():  # nothing is known of the sources
            values = {"momi": values["momi"]}
        return table, {name: None if value != value else round(value, 4) for name, value in values.items()}


def table_of(names: list[str], parts: list[dict[str, Tensor]]) -> pd.DataFrame:
    """The rows of all processes in the order of the test set, from the columns of this one's batches."""
    table = pd.DataFrame()
    if parts:
        # Off the device once, at the end: one transfer per batch would make it wait.
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
