"""What a sweep has found, as a table and in Optuna's own plots."""

import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from optuna import Study, visualization
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..files import replacing
from ..report.labels import markdown_table
from .file import Sweep

FOLDER, ERROR = "folder", "error"
"""Attributes of a trial: the name of its run's folder, if it resumes another trial's, and why it failed."""


def trials_of(study: Study) -> dict[str, FrozenTrial]:
    """Trials by the names of their runs' folders; of a trial and the one that resumed it, the latter."""
    return {str(trial.user_attrs.get(FOLDER, f"{trial.number:03}")): trial for trial in study.trials}


def write_summary(study: Study, plan: Sweep, folder: Path) -> pd.DataFrame:
    """Write `trials.csv`, `trials.md` and, once two trials are complete, Optuna's plots.

    Returns:
        One row per trial that was begun, the best first.
    """
    rows = [
        {
            "trial": name,
            "state": trial.state.name.lower(),
            plan.metric: trial.value,
            **trial.params,
            ERROR: trial.user_attrs.get(ERROR, ""),
        }
        for name, trial in trials_of(study).items()
        if trial.state != TrialState.WAITING
    ]
    table = pd.DataFrame(rows, columns=["trial", "state", plan.metric, *plan.space, ERROR])
    table = table.sort_values(plan.metric, ascending=plan.direction == StudyDirection.MINIMIZE, kind="stable")
    with replacing(folder / "trials.csv") as partial:
        table.to_csv(partial, index=False)
    texts = table.map(lambda cell: f"{cell:.4g}" if isinstance(cell, float) else str(cell))
    with replacing(folder / "trials.md") as partial:
        partial.write_text(
            "\n".join(markdown_table({str(name): list(column) for name, column in texts.items()})) + "\n"
        )
    if (table["state"] == "complete").sum() > 1:
        draw(study, plan, folder)
    return table


def draw(study: Study, plan: Sweep, folder: Path) -> None:
    """Write `optimization_history.png` and `slice.png`, the metric over every swept setting."""
    with warnings.catch_warnings(), mpl.rc_context():  # Optuna sets a style for all figures
        warnings.simplefilter("ignore", ExperimentalWarning)
        for name in ("optimization_history", "slice"):
            axes = getattr(visualization.matplotlib, f"plot_{name}")(study, target_name=plan.metric)
            figure = np.ravel(axes)[0].figure
            with replacing(folder / f"{name}.png") as partial:
                figure.savefig(partial, format="png", dpi=150, bbox_inches="tight")
            plt.close(figure)
