"""Sweeps on this machine: Optuna draws, `mixit train` runs, and the study stands on disk at every moment."""

import csv
import hashlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna import Study, Trial
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from ..config import load_config
from ..errors import UserError
from ..files import lock
from ..interrupts import REQUEST, STOPPED, Stopped, stoppable
from ..pool import num_cores
from ..reading import last_line, read_json
from .file import Sweep, pruner_of, read_sweep
from .summary import ERROR, FOLDER, trials_of, write_summary

TRAIN = (sys.executable, "-m", "mixit_lightning.cli", "train")

POLL = 0.5
"""Seconds between two looks at the trainings."""


def sweep(
    file: Path, overrides: Sequence[str], count: int | None = None, agents: int = 1, command: Sequence[str] = TRAIN
) -> Path:
    """Run a sweep on this machine, or resume one that was stopped.

    Trials that have ended are not repeated, whatever became of them; one that was under way resumes from the checkpoint
    of its run. The same sweep with a greater `count` is continued.

    Args:
        file: a W&B sweep file.
        overrides: `recipe=NAME key=value ...` of every run; what they set is not swept.
        count: trials in all; fewer where `run_cap` of the file is lower, or a grid has fewer points.
        agents: trials at a time.
        command: that trains.

    Returns:
        The sweep's folder: `trials.csv`, `trials.md`, plots, Optuna's `study.journal`, and a run and a log per trial.

    Raises:
        UserError: the file or an override makes no sense, the same sweep is under way, or no trial reached its end.
        Stopped: it was asked to stop, and can be resumed.
    """
    plan = read_sweep(file, {override.partition("=")[0].lstrip("+~") for override in overrides})
    caps = [cap for cap in (count, plan.run_cap, len(plan.grid)) if cap]
    if not caps:
        raise UserError(f"{file}: would never end; give count=N, or run_cap in the file")
    settings = load_config([*overrides, *overrides_of(plan.example)]).settings
    what = [plan.method, plan.metric, plan.direction, plan.fixed, plan.space, plan.early_terminate, sorted(overrides)]
    name = f"{file.stem}.{hashlib.sha256(repr(what).encode()).hexdigest()[:8]}"
    folder = Path(settings.runs, settings.recipe, "sweeps", name)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as held, stoppable(), REQUEST.deferred():
        if not lock(held.fileno()):
            raise UserError(f"{folder}: this sweep, or a training that it began, is under way; wait for it, or stop it")
        study = open_study(folder, plan)
        gpus = visible_gpus() if agents > 1 and settings.trainer.devices == 1 else []
        line = [*command, *overrides, *overrides_of(plan.fixed)]
        try:
            Trials(study, plan, folder, line, held.fileno(), settings.seed, agents, gpus).run(min(caps))
        finally:
            table = write_summary(study, plan, folder)
    print((folder / "trials.md").read_text())
    if not (table["state"] == "complete").any():
        raise UserError(f"no trial was trained to its end; the last error: {table[ERROR].iloc[-1]}; see {folder}")
    print(
        f"best: mixit train {shlex.join([*overrides, *overrides_of(plan.fixed | study.best_params)])}\nlook: {folder}"
    )
    return folder


def overrides_of(values: dict[str, Any]) -> list[str]:
    """`key=value` for every setting, as W&B's agent writes them."""
    return [f"{key}={value}" for key, value in values.items()]


def open_study(folder: Path, plan: Sweep) -> Study:
    """Optuna's study on disk, new or as it was left; what was under way then will be asked for again."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / "study.journal"))),
        study_name=folder.name,
        direction=plan.direction,
        pruner=pruner_of(plan.early_terminate),
        load_if_exists=True,
    )
    for name, trial in trials_of(study).items():
        if trial.state == TrialState.RUNNING:
            # A point of a grid may have been killed before all of it was drawn.
            settings = trial.system_attrs.get("fixed_params", trial.params)
            study.enqueue_trial(settings, user_attrs={FOLDER: name})
            study.tell(trial.number, state=TrialState.FAIL)
    # Not Optuna's GridSampler, which at the end of a grid draws again what other agents are still training.
    for point in plan.grid:
        study.enqueue_trial(point, skip_if_exists=True)
    return study


@dataclass
class Training:
    """The process of a trial."""

    trial: Trial
    name: str
    """Of the run's folder and log, in the sweep's folder."""
    process: "subprocess.Popen[bytes]"
    gpu: str | None
    reported: int = 0
    """Values that Optuna knows."""
    pruned: bool = False


@dataclass
class Trials:
    """Asks Optuna for trials, trains them, and tells it what became of them."""

    study: Study
    plan: Sweep
    folder: Path
    command: list[str]
    """That trains; the settings of a trial follow it."""
    held: int
    """Descriptor of the locked file: as trainings inherit it, none that outlives this process is started twice."""
    seed: int
    agents: int
    gpus: list[str]
    """To be shared out; none where a training takes what it finds."""
    running: list[Training] = field(default_factory=list)

    def run(self, cap: int) -> None:
        """Until so many trials have begun and all have ended.

        Raises:
            Stopped: this process was asked to stop, or a training was.
        """
        begun = sum(trial.state != TrialState.WAITING for trial in trials_of(self.study).values())
        try:
            while True:
                while len(self.running) < self.agents and begun < cap:
                    self.study.sampler = self.plan.sampler(self.seed, begun)
                    self.running.append(self.begin(self.study.ask({**self.plan.space})))
                    begun += 1
                if not self.running:
                    return
                time.sleep(POLL)
                if REQUEST.number is not None:
                    raise Stopped(REQUEST.number)
                self.running = [training for training in self.running if not self.ended(training)]
        finally:
            for training in self.running:
                training.process.terminate()  # each saves what it has
            for training in self.running:
                training.process.wait()

    def begin(self, trial: Trial) -> Training:
        """Start a trial's training, which resumes if its folder holds a checkpoint."""
        name = trial.user_attrs.get(FOLDER, f"{trial.number:03}")
        swept = overrides_of({key: trial.params[key] for key in self.plan.space})
        environment = dict(os.environ)
        gpu = min(self.gpus, key=[training.gpu for training in self.running].count, default=None)
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        if self.agents > 1:
            environment.setdefault("OMP_NUM_THREADS", str(max(1, num_cores() // self.agents)))
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*self.command, *swept, f"hydra.run.dir={self.folder / name}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=[self.held],
                start_new_session=True,  # a terminal's ctrl-C is for this process, which stops its trainings
            )
        print(f"trial {name}: {' '.join(swept)}", flush=True)
        return Training(trial, name, process, gpu)

    def ended(self, training: Training) -> bool:
        """Tell Optuna what is new of a training, and say whether that was all."""
        trial, metric = training.trial, self.plan.metric
        status = training.process.poll()  # before the values are read, so that none is missed
        values = values_of(self.folder / training.name, metric)
        behind = False
        for step, value in list(enumerate(values, 1))[training.reported :]:
            trial.report(value, step)
            behind |= trial.should_prune()  # at every step, as the pruner also notes what others will be compared with
            training.reported = step
        if status is None:
            if behind and not training.pruned:
                training.pruned = True
                training.process.terminate()
            return False
        if training.pruned:
            said = f"pruned after {len(values)} validations"
            self.study.tell(trial, state=TrialState.PRUNED)
        elif status == STOPPED:
            raise Stopped(None)
        elif status == 0 and values:
            said = f"{metric} {values[-1]:.4g}"
            self.study.tell(trial, values[-1])
        else:
            said = failure(status, self.folder / f"{training.name}.log", metric)
            trial.set_user_attr(ERROR, said)
            self.study.tell(trial, state=TrialState.FAIL)
        print(f"trial {training.name}: {said}", flush=True)
        return True


def values_of(folder: Path, metric: str) -> list[float]:
    """Values of a metric in a run's folder, in the order of the steps; of `test/<metric>` the one in `results.json`."""
    part, _, name = metric.partition("/")
    path = folder / ("results.json" if part == "test" else "metrics.csv")
    if not path.exists():
        return []
    if part == "test":
        value = read_json(path)["metrics"].get(name)
        return [] if value is None else [float(value)]
    whole = path.read_text().rpartition("\n")[0]  # the last line may be half written
    return [float(row[3]) for row in csv.reader(whole.splitlines()) if row[2] == metric]


def failure(status: int, log: Path, metric: str) -> str:
    """Why a trial has no value."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    if status == 0:
        return f"{metric} was not logged"
    return last_line(log) or f"status {status}"


def visible_gpus() -> list[str]:
    """GPUs as CUDA_VISIBLE_DEVICES names them."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",") if given else [str(number) for number in range(torch.cuda.device_count())]
