"""Weights & Biases: the curves of a run while it trains, and figures, examples and sounds once it is evaluated.

It shows what the run's folder holds, under the same names; what it has missed, it takes from there.
"""

import base64
import io
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from ..config import Config, build
from ..errors import UserError
from ..files import replacing
from ..interrupts import Stopped
from ..processes import rank
from ..records import CURVE_COLUMNS, read_results, read_table
from ..report.sounds import Card, Sound, draw_card, read_card, read_entries

if TYPE_CHECKING:
    from wandb import Audio, Image, Run, Table

    from .csv_logger import CurvesLogger

RUN_ID = "wandb-run-id.txt"
"""In the run's folder: which W&B run it is."""

STEP, HOURS = "step", "hours"
"""The axes: optimizer steps, and hours of training over all sessions."""

CURVES = ("train", "val")
"""What curves are named after; figures of the test set are `test/<metric>`."""

EXAMPLES, SOUNDS = "test/examples", "test/sounds"
"""Tables: one row per test mixture, and one row per sound of the saved examples."""

OTHERWISE = "logger.offline=true keeps the files for `wandb sync`"


class Dashboard(WandbLogger):
    """A run's page at Weights & Biases.

    The W&B run belongs to the folder, which remembers its id: the same command resumes it, and without the folder
    another is started. A sweep agent's id comes first. W&B's own step is the number of optimizer steps,
    so that what a killed run logs again does not stand there twice.

    Args:
        project: at W&B.
        group: of runs.
        name: that is shown.
        save_dir: the run's folder.
        offline: keep the files, for `wandb sync`.
        entity: team or user; None is the default.
    """

    def __init__(
        self, project: str, group: str, name: str, save_dir: str, offline: bool = False, entity: str | None = None
    ) -> None:
        super().__init__(name=name, save_dir=save_dir, offline=offline, project=project, group=group, entity=entity)
        self.folder = Path(save_dir)
        self.where = {"project": project, "entity": entity}
        self.group, self.run_name = group, name
        self.offline = offline
        self.run: Run | None = None
        self.config: dict[str, Any] = {}
        self.curves: CurvesLogger | None = None
        self.first_step = 0
        self.row: dict[str, Any] = {}

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, which this starts or resumes, and brings up to what the folder's curves hold."""
        if self.run is None:
            self.start()
        return self.run

    def start(self) -> None:
        """Start or resume the W&B run."""
        import wandb

        where: dict[str, Any] = dict(self.where)
        if "WANDB_SWEEP_ID" in os.environ:  # the agent says where
            where = {}
        elif (self.folder / RUN_ID).exists():
            where["id"] = (self.folder / RUN_ID).read_text().strip()
        try:
            run = wandb.init(
                **where,
                group=self.group,
                name=self.run_name,
                dir=self.save_dir,
                config=self.config,
                resume="allow",
                mode="offline" if self.offline else None,
            )
        except wandb.errors.Error as error:
            raise UserError(f"logger=wandb: {str(error).splitlines()[0]}; {OTHERWISE}") from error
        with replacing(self.folder / RUN_ID) as partial:
            partial.write_text(f"{run.id}\n")
        for axis in (STEP, HOURS):
            run.define_metric(axis, hidden=True)
        for part in CURVES:
            run.define_metric(f"{part}/*", step_metric=STEP)
        self.first_step = run.starting_step  # 0 offline, where every session's files hold the whole run
        self.run = run
        self.catch_up()

    def catch_up(self) -> None:
        """Send what metrics.csv has and W&B has not: what a kill took, or was logged without W&B."""
        table = read_table(self.folder / "metrics.csv", CURVE_COLUMNS, text=("metric",))
        if table is None:
            return
        for _, rows in table.groupby("step"):
            values = dict(zip(rows["metric"], rows["value"], strict=True))
            self.add(int(rows["step"].iloc[0]), float(rows["seconds"].iloc[-1]), values)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send values, under the number of steps that the run's curves have, which is right after a resume too."""
        if self.curves is None:
            raise RuntimeError("the dashboard follows a run's curves; give it some")
        _ = self.experiment  # first, as it starts with what is older than this
        values = {name: float(value) for name, value in metrics.items() if name != "epoch"}
        if values:
            self.add(self.curves.steps_taken(), self.curves.seconds, values)

    def add(self, step: int, seconds: float, values: Mapping[str, float]) -> None:
        """Add values to the row of a step. A row is sent when it is complete, as W&B takes none again."""
        if step != self.row.get(STEP):
            self.send_row()
        self.row |= {STEP: step, HOURS: seconds / 3600, **values}

    def send_row(self) -> None:
        """Send the row, unless an earlier session did."""
        if self.row and self.row[STEP] >= self.first_step:
            self.experiment.log(self.row, step=self.row[STEP])
        self.row = {}

    @rank_zero_only
    def show_results(self) -> None:
        """Show what evaluation left in the folder: results.json, examples.csv and the sounds of `examples/`."""
        results = read_results(self.folder / "results.json")
        run = self.experiment
        self.send_row()
        shown = {f"test/{name}": value for name, value in results["metrics"].items()}
        for domain, other in results.get("other_domains", {}).items():
            shown |= {f"test/{domain}/{name}": value for name, value in other["metrics"].items()}
        shown |= {key: results[key] for key in ("num_examples", "commit", "selection_rule")}
        shown |= {EXAMPLES: examples_table(self.folder), SOUNDS: sounds_table(self.folder / "examples")}
        # Into the summary alone: a row of the history would take the number of a step that may still be trained.
        run.summary.update({name: value for name, value in shown.items() if value is not None})

    @rank_zero_only
    def finish(self, exit_code: int) -> None:
        """End the W&B run, if it was started, and wait until everything has been sent."""
        if self.run is None:
            return
        if exit_code == 0:
            self.send_row()
        self.run.finish(exit_code=exit_code)
        self.run = None


@contextmanager
def dashboard_of(config: Config) -> Iterator[Dashboard | None]:
    """The dashboard of a config, None without one; its W&B run ends with the block.

    Raises:
        UserError: W&B does not know us; before anything was written.
    """
    if not has_dashboard(config) or rank():  # the first process speaks for all
        yield None
    else:
        dashboard: Dashboard = build(config.settings, "logger")
        dashboard.config = wandb_config(config)
        code = 1
        try:
            yield dashboard
            code = 0
        except Stopped as stopped:
            code = stopped.status
            raise
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
            raise
        except KeyboardInterrupt:
            code = 128 + signal.SIGINT
            raise
        finally:
            dashboard.finish(code)


def has_dashboard(config: Config) -> bool:
    """Whether the logger is this one, with `logger=wandb`; any other of Lightning's may be set as well."""
    return config.settings.logger.get("_target_") == f"{Dashboard.__module__}.{Dashboard.__qualname__}"


def wandb_config(config: Config) -> dict[str, Any]:
    """The run's config, with names to group by: groups of the config have none of their own."""
    objective, _, separator = config.settings.run.split(".")[:3]
    return {**config.plain(), "objective_name": objective, "separator_name": separator}


def examples_table(folder: Path) -> "Table":
    """examples.csv."""
    import pandas as pd
    import wandb

    return wandb.Table(dataframe=pd.read_csv(folder / "examples.csv"))


def sounds_table(folder: Path) -> "Table":
    """One row per sound of the saved examples: the mixture, each reference with its output, and the other outputs."""
    import wandb

    table = wandb.Table(columns=["example", "why", "figures", "sound", "share of energy, %", "audio", "spectrogram"])
    for entry in read_entries(folder):
        card = draw_card(read_card(folder, entry))
        figures = "; ".join(f"{item.label} {item.text} {item.unit}".strip() for item in card.quantities)
        named = [("Mixture", card.mixture)]
        for reference, output in card.pairs:
            named.append((reference.label, reference))
            if output is not None:
                named.append((f"{output.label}, matched to {reference.label}", output))
        named += [(output.label, output) for output in card.rest]
        for label, sound in named:
            audio, picture = playable(sound, card), spectrogram(sound)
            table.add_data(card.name, card.why, figures, label, sound.share, audio, picture)
    return table


def playable(sound: Sound, card: Card) -> "Audio":
    """A sound at the gain that all sounds of its example share."""
    import wandb

    return wandb.Audio(sound.samples * card.gain, sample_rate=card.sample_rate)


def spectrogram(sound: Sound) -> "Image":
    """The picture of a sound that report.html shows as well."""
    import wandb
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(sound.spectrogram)))
    return wandb.Image(picture, file_type="jpg")
