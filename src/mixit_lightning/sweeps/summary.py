"""What a sweep has found, as a table and Optuna's own plots."""

import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from optuna import Study, visualization
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..files import replacing

FOLDER, ERROR = "folder", "error"
"""Attributes of a trial: the folder of its run, where it resumes another trial's, and why it failed."""

PLOTS = ("optimization_history", "slice", "parallel_coordinate")


def trials_of(study: Study) -> dict[str, FrozenTrial]:
    """Trials by the name of their run's folder; of a trial and the one that resumed it, the latter."""
    return {str(trial.user_attrs.get(FOLDER, f"{trial.number:03}")): trial for trial in study.trials}


def write_summary(study: Study, folder: Path, metric: str) -> pd.DataFrame:
    """Write `trials.csv`, `trials.md` and, once there are two values, a PNG for each of Optuna's plots.

    Returns:
        One row per trial that was begun, the best first.
    """
    rows = [
        {
            "trial": name,
            "state": trial.state.name.lower(),
            metric: trial.value,
            **trial.params,
            ERROR: trial.user_attrs.get(ERROR, ""),
        }
        for name, trial in trials_of(study).items()
        if trial.state != TrialState.WAITING
    ]
    table = pd.DataFrame(rows, columns=list(rows[0]) if rows else None)
    if rows:
        table = table.sort_values(metric, ascending=study.direction == StudyDirection.MINIMIZE, kind="stable")
    with replacing(folder / "trials.csv") as partial:
        table.to_csv(partial, index=False)
    with replacing(folder / "trials.md") as partial:
        partial.write_text(markdown(table))
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) > 1:
        draw(study, folder, metric)
    return table


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown, numbers with four digits."""
    lines = [[str(column) for column in table.columns], ["---"] * len(table.columns)]
    for row in table.itertuples(index=False):
        lines.append(
            ["" if pd.isna(value) else f"{value:.4g}" if isinstance(value, float) else str(value) for value in row]
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw(study: Study, folder: Path, metric: str) -> None:
    """Write Optuna's plots."""
    from matplotlib import pyplot as plt

    with warnings.catch_warnings(), mpl.rc_context():  # they set a style for all figures
        warnings.simplefilter("ignore", ExperimentalWarning)
        for name in PLOTS:
            axes = getattr(visualization.matplotlib, f"plot_{name}")(study, target_name=metric)
            figure = np.ravel(axes)[0].figure
            with replacing(folder / f"{name}.png") as partial:
                figure.savefig(partial, format="png", dpi=150, bbox_inches="tight")
            plt.close(figure)
