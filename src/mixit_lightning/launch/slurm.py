"""Training as a job of SLURM, which goes back into the queue before its time is up, until the run is finished."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import Config, build, parse
from ..errors import UserError
from ..files import replacing
from ..interrupts import STOPPED
from ..run import open_run

GOES_ON = (STOPPED, 128 + 10, 128 + 15)
"""Exit statuses of a run that will be resumed: it has saved, or SIGUSR1 or SIGTERM ended it before it could listen."""

EARLY = 60
"""Seconds by which SLURM's warning may come before its time."""

TIME = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)")
"""Days, hours, minutes, seconds. SLURM has shorter forms, but YAML reads 30:00 as a number."""

NAMED = {
    "partition": "partition",
    "account": "account",
    "nodes": "nodes",
    "gpus-per-node": "gpus_per_node",
    "ntasks-per-node": "tasks_per_node",
    "cpus-per-task": "cpus_per_task",
    "mem": "memory",
    "time": "time",
}
"""Options of sbatch, and the settings that say them."""

RESERVED = ("job-name", "chdir", "output", "error", "open-mode", "signal", "requeue", "no-requeue", "array", "wrap")
"""Options of sbatch that resuming a run and finding its job rely on."""


@dataclass(frozen=True)
class Slurm:
    """What a run asks of SLURM; None leaves it to the cluster.

    Args:
        partition: of the cluster.
        account: that is charged.
        nodes: machines.
        gpus_per_node: a number, or `TYPE:NUMBER`.
        tasks_per_node: processes of a machine.
        cpus_per_task: cores of a process.
        memory: of a machine, such as `32G`.
        time: limit of one stay on the machines, `H:MM:SS` or `D-HH:MM:SS`.
        warning: seconds before the limit at which the run is told to save.
        max_requeues: returns to the queue, after which a run that is not finished stays out.
        setup: lines of shell that come first.
        options: any others of sbatch; None for one without a value.

    Raises:
        UserError: a value that SLURM would not understand, or not as it is meant.
    """

    partition: str | None = None
    account: str | None = None
    nodes: int = 1
    gpus_per_node: int | str | None = None
    tasks_per_node: int = 1
    cpus_per_task: int | None = None
    memory: int | str | None = None
    time: str | None = None
    warning: int = 300
    max_requeues: int = 100
    setup: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in (("nodes", 1), ("tasks_per_node", 1), ("warning", 1), ("max_requeues", 0)):
            check_whole(name, getattr(self, name), least)
        if self.cpus_per_task is not None:
            check_whole("cpus_per_task", self.cpus_per_task, 1)
        if self.time is not None and seconds(self.time) <= self.warning + EARLY:
            raise UserError(
                f"launcher.time={self.time}: must be longer than launcher.warning={self.warning} s and the {EARLY} s "
                "by which SLURM may warn early; otherwise nothing is ever trained"
            )
        if isinstance(self.setup, str) or not all(isinstance(line, str) for line in self.setup):
            raise UserError(f"launcher.setup={self.setup}: must be a list of lines, such as ['module load cuda']")
        for name in self.options:
            if name in NAMED:
                raise UserError(f"launcher.options.{name}: launcher.{NAMED[name]} says this; write it there")
            if name in RESERVED:
                raise UserError(f"launcher.options.{name}: is set by the launcher; leave it out")

    def submit(self, config: Config, words: Sequence[str]) -> None:
        """Write `slurm.sh` into the run's folder, submit it, and say how to follow and to cancel the job.

        Args:
            config: of the run.
            words: that it was composed from, `recipe=NAME key=value ...`.

        Raises:
            UserError: the run cannot be trained as it is set, or a job trains it already; there is no SLURM, or it
                refuses the job.
        """
        if "WANDB_SWEEP_ID" in os.environ:
            raise UserError(
                "launcher=slurm: an agent waits for the runs of its sweep; submit `wandb agent` as a job instead"
            )
        check_run(config, self.nodes * self.tasks_per_node)
        folder = config.folder.absolute()
        script = folder / "slurm.sh"
        if active := active_job(script):
            number, state = active
            raise UserError(
                f"{config.folder}: job {number} ({state.lower()}) is this run's; follow it with "
                f"`{follow(config.folder, number)}`, or end it with `scancel {number}`"
            )
        open_run(config.folder, config.plain())
        with replacing(script) as partial:
            partial.write_text(self.script(folder, config.settings.run, words), encoding="utf-8")
        number = ask("sbatch", "--parsable", str(script)).strip().partition(";")[0]
        print(f"job {number} is in the queue: {config.folder / script.name}")
        print(f"look: squeue --job {number}\nfollow: {follow(config.folder, number)}\ncancel: scancel {number}")

    def script(self, folder: Path, name: str, words: Sequence[str]) -> str:
        """The batch script of a run; submitted by hand it does the same.

        Args:
            folder: of the run, absolute.
            name: of the run.
            words: of `mixit train` that mean it in this working directory.
        """
        options: dict[str, Any] = {"job-name": name, "chdir": Path.cwd(), "output": log(folder, "%j", percent="%%")}
        options |= {"open-mode": "append", "requeue": None, "signal": f"USR1@{self.warning}"}
        named = {option: getattr(self, setting) for option, setting in NAMED.items()}
        options |= {option: value for option, value in named.items() if value is not None}
        # Whoever is slower to save than another, or still evaluates, must not be killed for it.
        srun = ["srun", "--kill-on-bad-exit=0", "--wait=0"]
        if self.cpus_per_task is not None:  # srun does not take this one over from sbatch
            srun.append(f"--cpus-per-task={self.cpus_per_task}")
        lines = [
            "#!/bin/bash",
            *(directive(option, value) for option, value in (options | dict(self.options)).items()),
            "export PYTHONUNBUFFERED=1",
            *self.setup,
            shlex.join([*srun, sys.executable, "-m", "mixit_lightning.cli", "train", *words_here(words)]),
            "status=$?",
            f"case $status in {'|'.join(map(str, GOES_ON))})",
            f'    if [ "${{SLURM_RESTART_COUNT:-0}}" -lt {self.max_requeues} ]; then',
            '        exec scontrol requeue "$SLURM_JOB_ID"',
            "    fi",
            f'    echo "not finished after launcher.max_requeues={self.max_requeues}; '
            'run the same command again to resume" >&2',
            "esac",
            "exit $status",
        ]
        return "\n".join(lines) + "\n"


def check_whole(name: str, value: Any, least: int) -> None:
    """Refuse a setting that is not a whole number from `least` on.

    Raises:
        UserError: with the setting.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"launcher.{name}={value}: must be a whole number, {least} or more")


def seconds(time: Any) -> int:
    """Seconds of `H:MM:SS` or `D-HH:MM:SS`.

    Raises:
        UserError: it is something else.
    """
    matched = TIME.fullmatch(time) if isinstance(time, str) else None
    if matched is None:
        raise UserError(f"launcher.time={time}: must be H:MM:SS or D-HH:MM:SS; in a file, within quotes")
    days, hours, minutes, rest = (int(part or 0) for part in matched.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def check_run(config: Config, processes: int) -> None:
    """Find mistakes that would otherwise wait in the queue first; of the data only that they are there.

    Raises:
        UserError: a part refuses its settings, or several processes would each train alone.
    """
    from ..training.train import build_module  # slow to import

    if processes > 1 and "strategy" not in config.settings.trainer:
        raise UserError(f"launcher.nodes, launcher.tasks_per_node: {processes} processes; give trainer=ddp as well")
    build_module(config.settings)
    build(config.settings, "datamodule")


def words_here(words: Sequence[str]) -> list[str]:
    """The words of the same run without the launcher, nor a progress bar, which would fill the log."""
    keys = [override.key_or_group for override in parse(words)]
    kept = [word for word, key in zip(words, keys, strict=True) if key.partition(".")[0] != "launcher"]
    bar = [] if "trainer.enable_progress_bar" in keys else ["trainer.enable_progress_bar=false"]
    return [*kept, *bar, "launcher=here"]


def directive(option: str, value: Any) -> str:
    """A line of the script that gives sbatch an option, quoted as sbatch reads it.

    Raises:
        UserError: the value has more than one line.
    """
    if value is None:
        return f"#SBATCH --{option}"
    text = str(value)
    if "\n" in text:
        raise UserError(f"{option}={text!r}: SLURM takes no line breaks; leave them out")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'#SBATCH --{option}="{escaped}"'


def log(folder: Path, number: str, percent: str = "%") -> Path:
    """Where all stays of a run's job write to.

    Args:
        folder: of the run.
        number: of the job.
        percent: how a percent sign in the folder's name is written.
    """
    return Path(str(folder).replace("%", percent), f"slurm-{number}.log")


def follow(folder: Path, number: str) -> str:
    """The command with which one follows a run's job."""
    return shlex.join(["tail", "-F", str(log(folder, number))])


def active_job(script: Path) -> tuple[str, str] | None:
    """Number and state of our job that waits, runs or is about to end, of this very script.

    Raises:
        UserError: SLURM does not answer.
    """
    for line in ask("squeue", "--noheader", f"--user={os.getuid()}", "--format=%i %T %o").splitlines():
        number, state, command = [*line.split(" ", 2), "", ""][:3]
        if command.strip() == str(script):
            return number, state
    return None


def ask(*command: str) -> str:
    """What a command of SLURM answers.

    Raises:
        UserError: there is no such command here, or it fails; with the first line of its error.
    """
    try:
        answer = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise UserError(f"launcher=slurm: there is no {command[0]} here; submit where SLURM is installed") from error
    if answer.returncode:
        said = (answer.stderr.strip() or f"status {answer.returncode}").splitlines()[0]
        raise UserError(f"launcher=slurm: {command[0]}: {said.removeprefix(f'{command[0]}: ').removeprefix('error: ')}")
    return answer.stdout
