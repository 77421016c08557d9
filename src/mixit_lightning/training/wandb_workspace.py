"""A workspace at Weights & Biases for the runs of a recipe, as sweeps/dashboard.yaml describes it."""

from collections.abc import Iterator
from typing import Any

import yaml
from omegaconf import DictConfig

from ..config import ROOT
from ..errors import UserError
from ..report.labels import axis_label

GROUP = "objective_name"
"""The setting whose values get a curve or bar each."""

LOGARITHMIC = ("optimizer.lr",)
"""Settings whose axes are."""


def make_workspace(recipe: str, logger: DictConfig) -> str:
    """Make a new view of the workspace, and return its URL.

    Args:
        recipe: its name.
        logger: settings with `project` and `entity`.

    Raises:
        UserError: W&B does not know us, or refuses.
    """
    import wandb
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError  # what the server refuses, no wandb.Error

    try:
        entity = str(logger.entity or wandb.Api().default_entity)
        return workspace(recipe, entity, logger.project).save().url
    except (wandb.errors.Error, WandbApiFailedError) as error:
        advice = "train with logger=wandb first, and check logger.entity"
        raise UserError(f"logger.project={logger.project}: {str(error).strip()}; {advice}") from error


def workspace(recipe: str, entity: str, project: str) -> Any:
    """The view of a recipe's runs, not saved yet."""
    from wandb_workspaces import expr, workspaces

    sections = yaml.safe_load((ROOT / "sweeps" / "dashboard.yaml").read_text())
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=f"mixit {recipe}",
        sections=[
            workspaces.Section(name=name, panels=list(panels(section)), is_open=True)
            for name, section in sections.items()
        ],
        runset_settings=workspaces.RunsetSettings(
            filters=[expr.Config("recipe") == recipe],
            pinned_columns=["run:displayName", "summary:test/si_snri", "summary:val/loss"],
        ),
    )


def panels(section: dict[str, Any]) -> Iterator[Any]:
    """The panels of a section."""
    from wandb_workspaces.reports import v2 as reports

    group = reports.Config(GROUP)
    grouped: dict[str, Any] = {"groupby": group, "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}
    for name in section.get("curves", []):
        yield reports.LinePlot(title=title(name), x=section["over"], y=[name], title_x=section["over"], **grouped)
    for outcome in section.get("outcomes", []):
        columns = [
            reports.ParallelCoordinatesPlotColumn(reports.Config(name), log=name in LOGARITHMIC)
            for name in section["settings"]
        ]
        columns.append(reports.ParallelCoordinatesPlotColumn(reports.SummaryMetric(outcome), title(outcome)))
        yield reports.ParallelCoordinatesPlot(columns, title=title(outcome))
        yield reports.ParameterImportancePlot(with_respect_to=outcome)
    for name in section.get("bars", []):
        yield reports.BarPlot(title=title(name), metrics=[name], **grouped)
    for name in section.get("tables", []):
        yield reports.WeavePanelSummaryTable(table_name=name)


def title(name: str) -> str:
    """A metric as all pages call it, and which part of the data it belongs to."""
    part, _, metric = name.partition("/")
    return f"{axis_label(metric).replace('_', ' ')} ({part})"
