"""The engine for one machine: Optuna proposes, `mixit train` runs, and what is known stands on disk at every moment."""

import csv
import fcntl
import hashlib
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple

import yaml

from ..config import Config, load_config
from ..errors import UserError
from ..results.quantities import format_duration
from ..training.run import TRAINING_RECORD, differences, provenance
from .file import check_words, default_words, distribution, fixed_words, key_of, with_words
from .hyperband import falls_behind
from .summary import FAILED, FINISHED, PRUNED, RUNNING, Record, Summary

if TYPE_CHECKING:  # slow to import
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

POLL = 0.5
"""Seconds between two looks at the trainings."""

PATIENCE = 60.0
"""Seconds in which a training that is told to stop must have done so."""

MAX_REPEATS = 50
"""Proposals in a row that were made before, after which nothing new is to be expected."""

DIGITS = 6
"""Of the numbers that are drawn: more would only make long words."""

RANDOM_RUNS = 5
"""Runs drawn at random before the Bayesian search has enough to go by."""


def sweep_locally(config: dict[str, Any], words: Sequence[str], agents: int = 1, count: int | None = None) -> Path:
    """Run a sweep on this machine; again: go on where it was stopped.

    The recipe with its words and none of the swept settings is run first, to compare with. A run folder that is
    finished is read, whoever made it, and not trained again.

    Args:
        config: of `read_sweep`.
        words: `recipe=NAME key=value ...`.
        agents: trainings at a time.
        count: runs in all, besides the default; fewer where `run_cap` of the file is lower or a grid has fewer.

    Returns:
        The sweep's folder, with `sweep.csv`, `sweep.json` and `sweep.png`.

    Raises:
        UserError: the recipe has no such setting, something in the file is for W&B alone, the same sweep is under way,
            or not one run succeeded.
        KeyboardInterrupt: it was stopped.
    """
    # Without W&B, nothing is logged to it, unless the words say so.
    config = config | {"command": [part for part in config["command"] if key_of(part).split(".")[0] != "logger"]}
    drawn = space(config)
    caps = [cap for cap in (count, config.get("run_cap")) if cap is not None]
    if config["method"] == "grid":
        caps.append(math.prod(len(choices_of(drawn[key])) for key in drawn))
    if not caps:
        raise UserError(f"sweep {config['name']}: would never end; give count=N, or run_cap in the file")
    line = default_words(config, words)
    check_words(config, line)
    default = load_config(line)
    name = re.sub(r"[^\w.-]+", "-", str(config["name"]))
    folder = default.folder.parent / "sweeps" / f"{name}.{fingerprint(config, default)}"
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    with locked(folder), interruptions() as asked:
        Engine(with_words(config, words), drawn, default, line, folder, agents, min(caps), asked).run()
    return folder


@dataclass
class Attempt:
    """A training of the sweep."""

    name: str
    config: Config
    words: list[str]
    """All of them."""
    swept: list[str]
    """Those of the swept settings."""
    log: Path
    trial: "Trial | None" = None
    """Optuna's; the default has none."""
    process: "subprocess.Popen[bytes] | None" = None
    """None where an engine that was killed has left it behind."""
    slot: int = 0
    began: float = field(default_factory=time.monotonic)
    told_to_stop: float | None = None
    started_again: bool = False

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.config.folder

    def trained(self) -> bool:
        """Whether the run has been trained to its end, with these very settings."""
        path = self.folder / "config.yaml"
        if not ((self.folder / TRAINING_RECORD).is_file() and path.is_file()):
            return False
        return not differences(yaml.safe_load(path.read_text()), self.config.plain())

    def start(self, environment: dict[str, str]) -> None:
        """Start, or go on from the checkpoint; where an earlier engine's training still runs, leave it to it."""
        # The child holds its log locked as long as it lives, even if this process is killed.
        with self.log.open("ab") as log:
            if not lock(log.fileno()):
                return
            self.process = start_training(self.words, log, environment)

    def alive(self) -> bool:
        """Whether it still runs."""
        if self.process is not None:
            return self.process.poll() is None
        with self.log.open("ab") as log:
            return not lock(log.fileno())

    def stop(self) -> None:
        """Tell it to stop, which leaves its last checkpoint."""
        self.told_to_stop = time.monotonic()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def kill_if_late(self) -> None:
        """End it if it has not stopped by itself."""
        if self.told_to_stop is not None and time.monotonic() > self.told_to_stop + PATIENCE:
            self.kill()

    def kill(self) -> None:
        """End it and its loading processes at once."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def error(self) -> str:
        """Why it ended: the last line it said."""
        status = self.process.returncode if self.process is not None else None
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        said = lines[-1].removeprefix("mixit: ") if lines else "it said nothing"
        return f"ended by signal {-status}; {said}" if status is not None and status < 0 else said


class Engine:
    """Proposes, runs and records until there are enough runs.

    Args:
        config: the sweep, with the recipe's words in its command.
        drawn: what is drawn for every run, of `space`.
        default: what the runs are compared with.
        line: its words.
        folder: of the sweep.
        agents: trainings at a time.
        cap: runs in all.
        asked: grows with every request to stop.
    """

    def __init__(
        self,
        config: dict[str, Any],
        drawn: "dict[str, BaseDistribution]",
        default: Config,
        line: list[str],
        folder: Path,
        agents: int,
        cap: int,
        asked: list[int],
    ) -> None:
        self.config, self.drawn, self.default, self.line = config, drawn, default, line
        self.folder, self.agents, self.cap, self.asked = folder, agents, cap, asked
        self.metric, self.goal = config["metric"]["name"], config["metric"]["goal"]
        self.early = config.get("early_terminate")
        self.study = open_study(folder / "journal.log", self.goal)
        self.active: list[Attempt] = []
        self.waiting: list[Attempt] = []
        self.nothing_new = False
        self.durations: list[float] = []
        self.environment = dict(os.environ)
        self.gpus: list[str] = []
        if agents > 1:
            self.environment.setdefault("OMP_NUM_THREADS", str(max(1, num_cores() // agents)))
            self.gpus = visible_gpus() if default.settings.trainer.devices == 1 else []
        origin = provenance()
        origin["hardware"]["threads"] = int(self.environment.get("OMP_NUM_THREADS", origin["hardware"]["threads"]))
        self.summary = Summary(folder, config, default, line, origin)

    def run(self) -> None:
        """Until there are enough runs.

        Raises:
            UserError: not one run succeeded, or the default does not log the metric.
            KeyboardInterrupt: it was stopped.
        """
        better = "lower" if self.goal == "minimize" else "higher"
        say(f"sweep {self.config['name']}: up to {self.cap} runs, {self.metric} ({better} is better), in {self.folder}")
        try:
            self.take_up()
            while self.fill():
                time.sleep(POLL)
                if self.asked:
                    raise KeyboardInterrupt
                for attempt in list(self.active):
                    self.watch(attempt)
        except BaseException:
            self.stop()
            self.summary.write(self.records())
            raise
        records = self.records()
        self.summary.write(records)
        say(self.summary.text(records))
        failed = [record for record in records if record.state == FAILED]
        if len(failed) == len(records):
            raise UserError(f"all runs failed, the last one so: {failed[-1].reason}; see {self.folder / 'logs'}")

    def take_up(self) -> None:
        """Go on with the default and the runs that were under way; forget nothing, repeat nothing."""
        from optuna import Trial
        from optuna.trial import TrialState

        if "default" not in self.study.user_attrs:
            self.waiting.append(Attempt("default", self.default, self.line, [], self.folder / "logs" / "default.log"))
        done = [record for record in self.records() if record.state != RUNNING]
        if done:
            say(f"{len(done)} runs are known already, {sum(record.state == FAILED for record in done)} of them failed")
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.sampler = sampler(self.config["method"], self.default.settings.seed, frozen.number)
            self.enlist(Trial(self.study, frozen._trial_id))

    def fill(self) -> bool:
        """Begin as many trainings as may run at a time, and say whether any runs or waits."""
        while len(self.active) < self.agents:
            busy = {attempt.folder for attempt in self.active}
            # The default and a run of the same settings have one folder: one waits for the other.
            attempt = next((one for one in self.waiting if one.folder not in busy), None)
            if attempt is not None:
                self.waiting.remove(attempt)
                self.begin(attempt)
            elif not self.propose():
                break
        return bool(self.active or self.waiting)

    def propose(self) -> bool:
        """Put a new run into the queue, if there is to be one and the sampler has any."""
        for _ in range(MAX_REPEATS):
            if self.nothing_new or self.enough():
                return False
            # A function of the seed, a number and what is known, so that a restart changes nothing.
            number = len(self.study.get_trials(deepcopy=False))
            self.study.sampler = sampler(self.config["method"], self.default.settings.seed, number)
            if self.config["method"] == "grid" and not self.enqueue_from_grid():
                return False
            if self.enlist(self.study.ask()):
                return True
        say(f"the last {MAX_REPEATS} proposals were made before; there is nothing new to try")
        self.nothing_new = True
        return False

    def enough(self) -> bool:
        """Whether all runs have begun, or one has reached the metric's target."""
        records = self.records()[1:]
        target, best = self.config["metric"].get("target"), self.summary.best(records)
        if target is not None and best is not None and best.value is not None:
            reached = best.value <= target if self.goal == "minimize" else best.value >= target
        else:
            reached = False
        return reached or len(records) >= self.cap

    def enqueue_from_grid(self) -> bool:
        """Tell Optuna the next point of the grid, in the order of the file; False where there is none."""
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        if any(trial.state == TrialState.WAITING for trial in trials):
            return True
        begun = [trial.system_attrs.get("fixed_params") for trial in trials]
        for point in itertools.product(*(choices_of(values) for values in self.drawn.values())):
            values = dict(zip(self.drawn, point, strict=True))
            if values not in begun:
                self.study.enqueue_trial(values)
                return True
        return False

    def enlist(self, trial: "Trial") -> bool:
        """Put a trial into the queue, or record that it cannot be run; False where its settings were tried before."""
        from optuna.trial import TrialState

        swept = self.swept_words(trial)
        words = [*fixed_words(self.config), *swept]
        others = [one for one in self.trials() if one.number != trial.number]
        number = trial.user_attrs.get("run", 1 + len(others))
        name = f"run {number}"
        try:
            config = load_config(words)
        except UserError as error:
            self.mark(trial, run=number, swept=swept, folder="", reason=str(error))
            self.study.tell(trial, state=TrialState.FAIL)
            say(f"{name}: {' '.join(swept)}: failed: {error}")
            return True
        settings = identity(config)
        same = next((one for one in others if one.user_attrs.get("settings") == settings), None)
        if same is not None:
            # Known already: told to the sampler again, but neither run nor counted.
            if same.state == TrialState.COMPLETE:
                self.study.tell(trial, same.value)
            else:
                self.study.tell(trial, state=TrialState.FAIL)
            return False
        if settings == identity(self.default):
            config, words = self.default, self.line
        self.mark(trial, swept=swept, settings=settings, folder=str(config.folder), run=number)
        log = self.folder / "logs" / f"run-{number:03}.log"
        self.waiting.append(Attempt(name, config, words, swept, log, trial))
        return True

    def swept_words(self, trial: "Trial") -> list[str]:
        """`key=value` of every parameter as W&B's agent would write it; asked again, a trial says the same."""
        values = {key: draw(trial, key, of) for key, of in self.drawn.items()}
        return [
            word_of(key, specification, values.get(key, specification.get("value")))
            for key, specification in self.config["parameters"].items()
        ]

    def mark(self, trial: "Trial", **values: Any) -> None:
        """Note something on a trial."""
        for name, value in values.items():
            trial.set_user_attr(name, value)

    def trials(self) -> "list[FrozenTrial]":
        """Those that were run or are to be, without repetitions, in order."""
        trials = [trial for trial in self.study.get_trials(deepcopy=False) if "run" in trial.user_attrs]
        return sorted(trials, key=lambda trial: trial.user_attrs["run"])

    def begin(self, attempt: Attempt) -> None:
        """Start a training, unless its folder says all there is to know."""
        about = f"{attempt.name}: {' '.join(attempt.swept)}" if attempt.swept else attempt.name
        if attempt.trained():
            say(f"{about}: was trained before, in {attempt.folder}")
            self.conclude(attempt)
            return
        curve = self.report(attempt)
        if self.behind(attempt, curve):
            attempt.stop()
            self.conclude(attempt)
            return
        taken = {other.slot for other in self.active}
        attempt.slot = next(slot for slot in itertools.count() if slot not in taken)
        environment = dict(self.environment)
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[attempt.slot % len(self.gpus)]
        attempt.began = time.monotonic()
        attempt.start(environment)
        self.active.append(attempt)
        if attempt.process is None:
            say(f"{about}: a training of the engine that was killed still runs; waiting for it")
        else:
            say(f"{about}{': goes on' if curve.values else ''}")

    def watch(self, attempt: Attempt) -> None:
        """See how far a training is; stop it where it falls behind, record it where it has ended."""
        alive = attempt.alive()  # before its values are read, so that none is missed
        curve = self.report(attempt)
        if alive:
            if attempt.told_to_stop is None and self.behind(attempt, curve):
                attempt.stop()
            attempt.kill_if_late()
            return
        self.active.remove(attempt)
        self.durations.append(time.monotonic() - attempt.began)
        status = attempt.process.returncode if attempt.process is not None else None
        lost = status is None or status < 0
        if lost and attempt.told_to_stop is None and not attempt.started_again and not attempt.trained():
            # Killed from outside, which says nothing about its settings: once more, from its checkpoint.
            say(f"{attempt.name}: was killed; once more, from its checkpoint")
            attempt.started_again, attempt.process = True, None
            self.waiting.insert(0, attempt)
            return
        self.conclude(attempt)

    def report(self, attempt: Attempt) -> "Curve":
        """How far a training is; tells Optuna what is new."""
        curve = read_curve(attempt.folder / "metrics.csv", self.metric)
        if attempt.trial is not None:
            known = len(self.study.get_trials(deepcopy=False)[attempt.trial.number].intermediate_values)
            for iteration, value in enumerate(curve.values[known:], known + 1):
                attempt.trial.report(value, iteration)
        return curve

    def behind(self, attempt: Attempt, curve: "Curve") -> bool:
        """Whether early termination is for this run; the default is there to compare with, and runs to its end."""
        at_its_end = curve.step == attempt.config.settings.trainer.max_steps  # nothing is left to be saved
        if self.early is None or attempt.trial is None or at_its_end:
            return False
        others = [
            [trial.intermediate_values[iteration] for iteration in sorted(trial.intermediate_values)]
            for trial in self.trials()
            if trial.number != attempt.trial.number
        ]
        others.append(read_curve(self.default.folder / "metrics.csv", self.metric).values)
        return falls_behind(curve.values, others, self.early, self.goal)

    def conclude(self, attempt: Attempt) -> None:
        """Record what became of a training.

        Raises:
            UserError: the default ran and logged no such metric; then no run will.
        """
        from optuna.trial import TrialState

        values, seconds, _ = self.report(attempt)
        state, reason = FAILED, ""
        if attempt.trained() and values:
            state = FINISHED
            if attempt.process is not None and attempt.process.returncode and attempt.told_to_stop is None:
                reason = f"trained, but then: {attempt.error()}"
        elif attempt.trained():
            reason = f"{self.metric} was not logged; there are: {', '.join(metrics_in(attempt.folder / 'metrics.csv'))}"
            if attempt.trial is None:
                raise UserError(f"sweep {self.config['name']}: metric.name: {reason}")
        elif attempt.told_to_stop is not None:
            state, reason = PRUNED, f"behind the best at iteration {len(values)}"
        else:
            reason = attempt.error()
        if attempt.trial is None:
            record = {"state": state, "reason": reason, "seconds": seconds, "values": values}
            self.study.set_user_attr("default", record)
        else:
            self.mark(attempt.trial, reason=reason, seconds=seconds)
            if state == FINISHED:
                self.study.tell(attempt.trial, values[-1])
            else:
                self.study.tell(attempt.trial, state=TrialState.PRUNED if state == PRUNED else TrialState.FAIL)
        records = self.records()
        self.summary.write(records, picture=False)
        value = f", {self.metric} {values[-1]:.4g}" if values else ""
        why = f": {reason}" if reason else ""
        say(f"{attempt.name}: {state}{why}{value}{self.outlook(records)}")

    def outlook(self, records: Sequence[Record]) -> str:
        """End of a line: the best so far, and the time left."""
        best = self.summary.best(records[1:])
        text = f"; best so far {best.value:.4g} ({' '.join(best.swept)})" if best is not None else ""
        begun = sum(record.state != RUNNING for record in records[1:])
        if self.durations and begun < self.cap:
            left = (self.cap - begun) * sum(self.durations) / len(self.durations) / self.agents
            text += f"; {'at most' if self.early else 'about'} {format_duration(left)} left"
        return text

    def records(self) -> list[Record]:
        """All runs, the default first."""
        from optuna.trial import TrialState

        known = self.study.user_attrs.get("default", {})
        values = known.get("values", [])
        records = [
            Record(
                "default",
                [],
                values[-1] if values and known["state"] == FINISHED else None,
                known.get("state", RUNNING),
                known.get("reason", ""),
                len(values),
                known.get("seconds", 0.0),
                str(self.default.folder),
            )
        ]
        states = {TrialState.COMPLETE: FINISHED, TrialState.PRUNED: PRUNED, TrialState.FAIL: FAILED}
        for trial in self.trials():
            attributes = trial.user_attrs
            records.append(
                Record(
                    f"run {attributes['run']}",
                    attributes["swept"],
                    trial.value,
                    states.get(trial.state, RUNNING),
                    attributes.get("reason", ""),
                    len(trial.intermediate_values),
                    attributes.get("seconds", 0.0),
                    attributes["folder"],
                )
            )
        return records

    def stop(self) -> None:
        """Have all trainings stop; each leaves its last checkpoint. Asked once more: at once."""
        for attempt in self.active:
            attempt.stop()
        while any(attempt.process is not None and attempt.alive() for attempt in self.active):
            for attempt in self.active:
                if len(self.asked) > 1:
                    attempt.kill()
                attempt.kill_if_late()
            time.sleep(POLL)


def space(config: dict[str, Any]) -> "dict[str, BaseDistribution]":
    """What Optuna draws for every run: parameters that have more than one value.

    Choices are drawn as the text of their words. Quantised ranges are drawn as W&B does it: from the whole range, then
    rounded.

    Raises:
        UserError: a distribution that is for W&B alone.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for key, specification in config["parameters"].items():
        kind, low, high = distribution(specification), specification.get("min"), specification.get("max")
        if kind == "constant":
            continue
        if kind == "categorical":
            found[key] = CategoricalDistribution([str(value) for value in specification["values"]])
        elif kind == "int_uniform":
            found[key] = IntDistribution(low, high)
        elif kind in ("uniform", "q_uniform", "log_uniform_values", "inv_log_uniform_values", "q_log_uniform_values"):
            found[key] = FloatDistribution(low, high, log="log" in kind)
        else:
            raise UserError(
                f"sweep {config['name']}: parameters.{key}: {kind} is for engine=wandb alone; give values, uniform, "
                "int_uniform, q_uniform, log_uniform_values or q_log_uniform_values"
            )
        if config["method"] == "grid" and kind != "categorical":
            step = 1 if kind == "int_uniform" else specification.get("q", 1)
            # W&B leaves out the end of a quantised range, and has that of integers.
            count = high - low + 1 if kind == "int_uniform" else math.ceil((high - low) / step)
            found[key] = CategoricalDistribution([str(tidy(low + step * number)) for number in range(count)])
    return found


def choices_of(values: "BaseDistribution") -> Sequence[Any]:
    """Of a setting in a grid."""
    return values.choices  # type: ignore[attr-defined, no-any-return]


def draw(trial: "Trial", key: str, values: "BaseDistribution") -> Any:
    """The value of a trial, drawn at the first call."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(values, CategoricalDistribution):
        return trial.suggest_categorical(key, values.choices)
    if isinstance(values, IntDistribution):
        return trial.suggest_int(key, values.low, values.high)
    return trial.suggest_float(key, values.low, values.high, log=values.log)  # type: ignore[attr-defined]


def word_of(key: str, specification: dict[str, Any], value: Any) -> str:
    """`key=value` as W&B's agent writes it, with fewer digits."""
    if isinstance(value, float):
        kind = distribution(specification) or ""
        if kind.startswith("q_"):
            step = specification.get("q", 1)
            value = round(value / step) * step
        value = tidy(value)
    return f"{key}={value}"


def tidy(value: float) -> float:
    """A number without digits that nobody wants to read."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def sampler(method: str, seed: int, number: int) -> "BaseSampler":
    """Optuna's sampler for the trial of that number."""
    import numpy as np
    from optuna.samplers import RandomSampler, TPESampler

    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    if method == "bayes":
        # Of runs under way it is assumed that they are bad, so that several agents try different things.
        return TPESampler(n_startup_trials=RANDOM_RUNS, constant_liar=True, seed=own)
    return RandomSampler(seed=own)


def open_study(path: Path, goal: Literal["minimize", "maximize"]) -> "Study":
    """Optuna's study in a journal, new or as it was left."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    # What an engine that was killed may have left: its lock, which ours makes needless, and half a line.
    path = path.resolve()
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    if path.exists():
        text = path.read_bytes()
        os.truncate(path, text.rfind(b"\n") + 1)
    storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.create_study(storage=storage, study_name="sweep", direction=goal, load_if_exists=True)


class Curve(NamedTuple):
    """A metric of a run."""

    values: list[float]
    """Finite ones, in the order of the steps: an iteration each."""
    seconds: float
    """Of training so far."""
    step: int
    """The last at which it was logged."""


def read_curve(path: Path, metric: str) -> Curve:
    """A metric in `metrics.csv`."""
    values: dict[int, float] = {}
    seconds = 0.0
    for step, at, name, value in rows_of(path):
        try:
            seconds = float(at)
            if name == metric and math.isfinite(float(value)):
                values[int(step)] = float(value)
        except ValueError:  # it is being written
            continue
    return Curve([values[step] for step in sorted(values)], seconds, max(values, default=0))


def metrics_in(path: Path) -> list[str]:
    """Metrics of `metrics.csv`."""
    return sorted({name for _, _, name, _ in rows_of(path)})


def rows_of(path: Path) -> list[list[str]]:
    """Rows of `metrics.csv` below the heading; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.reader(file) if len(row) == 4 and row[0].isdigit()]


def identity(config: Config) -> str:
    """What tells two runs apart, however their words are written."""
    plain = {key: value for key, value in config.plain().items() if key != "run"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def fingerprint(config: dict[str, Any], default: Config) -> str:
    """Of what is swept and how; a name or another number of runs makes no other sweep."""
    parts = [config.get(key) for key in ("method", "parameters", "metric", "early_terminate")]
    text = json.dumps([*parts, identity(default)], default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def num_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """GPUs to share out, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",") if given else [str(number) for number in range(torch.cuda.device_count())]


def lock(descriptor: int) -> bool:
    """Lock an open file until all processes that have it open as it is have closed it; False where another has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def start_training(words: Sequence[str], log: IO[bytes], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    """`mixit train` as a process of its own, whose output goes to a file."""
    # A bar would fill the file; it is of no consequence for the run or its name.
    command = [sys.executable, "-m", "mixit_lightning.cli", "train", "trainer.enable_progress_bar=false"]
    return subprocess.Popen(
        [*command, *words],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,  # the terminal's ctrl-c is for this process, which tells its children
    )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second engine away.

    Raises:
        UserError: this is the second.
    """
    path = folder / "lock"
    with path.open("a+") as file:
        if not lock(file.fileno()):
            raise UserError(
                f"{folder}: this sweep is under way in process {path.read_text().strip()}; wait, or stop it"
            )
        path.write_text(f"{os.getpid()}\n")
        yield


@contextmanager
def interruptions() -> Iterator[list[int]]:
    """Collect the signals that ask a program to stop, even where the shell has ignored ctrl-c for it.

    An exception in the middle of a write to the journal would spoil it.
    """
    asked: list[int] = []

    def note(number: int, frame: Any) -> None:
        asked.append(number)

    earlier = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield asked
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def say(text: str) -> None:
    """Print a line at once, whatever reads it."""
    print(text, flush=True)
