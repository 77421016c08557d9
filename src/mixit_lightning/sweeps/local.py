"""The engine for one machine: Optuna proposes, `mixit train` runs, and what is known stands on disk at every moment."""

import hashlib
import itertools
import json
import math
import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import Config, load_config
from ..errors import UserError
from ..files import lock
from ..pool import num_cores
from ..report.labels import format_duration
from ..run import provenance
from .file import check_words, default_words, fixed_words, key_of, with_words
from .hyperband import falls_behind
from .search import choices_of, draw, open_study, sampler, space, word_of
from .summary import FAILED, FINISHED, PRUNED, RUNNING, Record, Summary
from .trainings import Curve, Training, metrics_in, read_curve

if TYPE_CHECKING:  # slow to import
    from optuna import Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

POLL = 0.5
"""Seconds between two looks at the trainings."""

MAX_REPEATS = 50
"""Proposals in a row that were made before, after which nothing new is to be expected."""


def sweep_locally(config: dict[str, Any], words: Sequence[str], agents: int = 1, count: int | None = None) -> Path:
    """Run a sweep on this machine, or resume one that was stopped.

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
        self.active: list[Training] = []
        self.waiting: list[Training] = []
        self.nothing_new = False
        self.durations: list[float] = []
        self.environment = dict(os.environ)
        self.gpus: list[str] = []
        if agents > 1:
            self.environment.setdefault("OMP_NUM_THREADS", str(max(1, num_cores() // agents)))
            self.gpus = visible_gpus() if default.settings.trainer.devices == 1 else []
        origin = provenance()
        threads = self.environment.get("OMP_NUM_THREADS", "")
        origin["hardware"]["threads"] = int(threads) if threads.isdecimal() else origin["hardware"]["threads"]
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
                for training in list(self.active):
                    self.watch(training)
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
            self.waiting.append(Training("default", self.default, self.line, [], self.folder / "logs" / "default.log"))
        done = [record for record in self.records() if record.state != RUNNING]
        if done:
            failed = sum(record.state == FAILED for record in done)
            again = f" (they are not tried again, unless you remove {self.folder})" if failed else ""
            say(f"{len(done)} runs are known already, {failed} of them failed{again}")
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.sampler = sampler(self.config["method"], self.default.settings.seed, frozen.number)
            self.enlist(Trial(self.study, frozen._trial_id))

    def fill(self) -> bool:
        """Begin as many trainings as may run at a time, and say whether any runs or waits."""
        while len(self.active) < self.agents:
            busy = {training.folder for training in self.active}
            # The default and a run of the same settings have one folder: one waits for the other.
            training = next((one for one in self.waiting if one.folder not in busy), None)
            if training is not None:
                self.waiting.remove(training)
                self.begin(training)
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
        self.waiting.append(Training(name, config, words, swept, log, trial))
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

    def begin(self, training: Training) -> None:
        """Start a training, unless its folder says all there is to know."""
        about = f"{training.name}: {' '.join(training.swept)}" if training.swept else training.name
        if training.evaluated():
            say(f"{about}: was trained before, in {training.folder}")
            self.conclude(training)
            return
        curve = self.report(training)
        if self.behind(training, curve):
            training.stop()
            self.conclude(training)
            return
        taken = {other.slot for other in self.active}
        training.slot = next(slot for slot in itertools.count() if slot not in taken)
        environment = dict(self.environment)
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[training.slot % len(self.gpus)]
        training.began = time.monotonic()
        training.start(environment)
        self.active.append(training)
        if training.process is None:
            say(f"{about}: a training of the engine that was killed still runs; waiting for it")
        else:
            say(f"{about}{': resumed' if curve.values else ''}")

    def watch(self, training: Training) -> None:
        """See how far a training is; stop it where it falls behind, record it where it has ended."""
        alive = training.alive()  # before its values are read, so that none is missed
        curve = self.report(training)
        if alive:
            if training.told_to_stop is None and self.behind(training, curve):
                training.stop()
            training.kill_if_late()
            return
        self.active.remove(training)
        self.durations.append(time.monotonic() - training.began)
        status = training.process.returncode if training.process is not None else None
        lost = status is None or status < 0
        if lost and training.told_to_stop is None and not training.started_again and not training.evaluated():
            # Killed from outside, which says nothing about its settings: once more, from its checkpoint.
            say(f"{training.name}: was killed; once more, from its checkpoint")
            training.started_again, training.process = True, None
            self.waiting.insert(0, training)
            return
        self.conclude(training)

    def report(self, training: Training) -> Curve:
        """How far a training is; tells Optuna what is new."""
        curve = read_curve(training.folder / "metrics.csv", self.metric)
        if training.trial is not None:
            known = len(self.study.get_trials(deepcopy=False)[training.trial.number].intermediate_values)
            for iteration, value in enumerate(curve.values[known:], known + 1):
                training.trial.report(value, iteration)
        return curve

    def behind(self, training: Training, curve: Curve) -> bool:
        """Whether early termination is for this run; the default is there to compare with, and runs to its end."""
        at_its_end = curve.step == training.config.settings.trainer.max_steps  # nothing is left to be saved
        if self.early is None or training.trial is None or at_its_end:
            return False
        others = [
            [trial.intermediate_values[iteration] for iteration in sorted(trial.intermediate_values)]
            for trial in self.trials()
            if trial.number != training.trial.number
        ]
        others.append(read_curve(self.default.folder / "metrics.csv", self.metric).values)
        return falls_behind(curve.values, others, self.early, self.goal)

    def conclude(self, training: Training) -> None:
        """Record what became of a training.

        Raises:
            UserError: the default ran and logged no such metric; then no run will.
        """
        from optuna.trial import TrialState

        values, seconds, _ = self.report(training)
        state, reason = FAILED, ""
        if training.trained() and values:
            state = FINISHED
            if training.process is not None and training.process.returncode and training.told_to_stop is None:
                reason = f"trained, but then: {training.error()}"
        elif training.trained():
            reason = (
                f"{self.metric} was not logged; there are: {', '.join(metrics_in(training.folder / 'metrics.csv'))}"
            )
            if training.trial is None:
                raise UserError(f"sweep {self.config['name']}: metric.name: {reason}")
        elif training.told_to_stop is not None:
            state, reason = PRUNED, f"behind the best at iteration {len(values)}"
        else:
            reason = training.error()
        if training.trial is None:
            record = {"state": state, "reason": reason, "seconds": seconds, "values": values}
            self.study.set_user_attr("default", record)
        else:
            self.mark(training.trial, reason=reason, seconds=seconds)
            if state == FINISHED:
                self.study.tell(training.trial, values[-1])
            else:
                self.study.tell(training.trial, state=TrialState.PRUNED if state == PRUNED else TrialState.FAIL)
        records = self.records()
        self.summary.write(records, picture=False)
        value = f", {self.metric} {values[-1]:.4g}" if values else ""
        why = f": {reason}" if reason else ""
        say(f"{training.name}: {state}{why}{value}{self.outlook(records)}")

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
        for training in self.active:
            training.stop()
        while any(training.process is not None and training.alive() for training in self.active):
            for training in self.active:
                if len(self.asked) > 1:
                    training.kill()
                training.kill_if_late()
            time.sleep(POLL)


def identity(config: Config) -> str:
    """What tells two runs apart, however their words are written."""
    plain = {key: value for key, value in config.plain().items() if key != "run"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def fingerprint(config: dict[str, Any], default: Config) -> str:
    """Of what is swept and how; a name or another number of runs makes no other sweep."""
    parts = [config.get(key) for key in ("method", "parameters", "metric", "early_terminate")]
    text = json.dumps([*parts, identity(default)], default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def visible_gpus() -> list[str]:
    """GPUs to share out, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",") if given else [str(number) for number in range(torch.cuda.device_count())]


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
