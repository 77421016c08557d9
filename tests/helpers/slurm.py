"""A real SLURM of one machine, this one, on loopback and in a temporary folder: munge, its controller and its node."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")

KILL_WAIT = 10
"""Seconds between SIGTERM and SIGKILL."""

PATIENCE = 60
"""Seconds, after which starting or stopping is given up."""


def missing() -> str:
    """What is missing for a cluster; empty if nothing is."""
    if absent := [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]:
        return f"no {', '.join(absent)}; apt-get install slurm-wlm"
    return "" if os.geteuid() == 0 else "only root may start SLURM's daemons"


def search_path() -> str:
    """Where programs are, daemons included."""
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def configuration(folder: Path) -> str:
    """slurm.conf: no accounting, no cgroups, one node and partition."""
    name = socket.gethostname().partition(".")[0]
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        controller, node = (one.getsockname()[1] for one in sockets)
    settings = {
        "ClusterName": "test",
        "SlurmctldHost": f"{name}(127.0.0.1)",
        "SlurmctldPort": controller,
        "SlurmdPort": node,
        "CommunicationParameters": "NoCtldInAddrAny,NoInAddrAny",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder / 'munge.socket'}",
        "CredType": "cred/munge",
        "SlurmUser": "root",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool",
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": folder / "slurmd.pid",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU",
        "MpiDefault": "none",
        "KillWait": KILL_WAIT,
        "OverTimeLimit": 0,
    }
    lines = [f"{key}={value}" for key, value in settings.items()]
    lines.append(f"NodeName={name} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} State=UNKNOWN")
    lines.append("PartitionName=all Nodes=ALL Default=YES MaxTime=60 State=UP")
    return "\n".join(lines) + "\n"


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """A cluster as long as the block lasts, and the environment in which SLURM's commands find it.

    Args:
        folder: for all its files; the daemons' own words are in its `*.log`.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "slurm.conf").write_text(configuration(folder))
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": search_path()}
    places = {"socket": "munge.socket", "key-file": key.name, "pid-file": "munged.pid", "seed-file": "munged.seed"}
    munged = ["munged", "--foreground", "--force", *(f"--{key}={folder / name}" for key, name in places.items())]
    munged.append(f"--log-file={folder / 'munged.own.log'}")
    with ExitStack() as stack:
        stack.enter_context(daemon(munged, folder, environment))
        wait_until((folder / "munge.socket").exists)
        for command in (["slurmctld", "-D", "-c"], ["slurmd", "-D"]):
            stack.enter_context(daemon(command, folder, environment))
        wait_until(lambda: "idle" in ask(environment, "sinfo", "--noheader", "--format=%t"))
        try:
            yield environment
        finally:
            ask(environment, "scancel", "--user=root")
            wait_until(lambda: not ask(environment, "squeue", "--noheader", "--states=running,completing"))


@contextmanager
def daemon(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A process that is told to end when the block does."""
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ask(environment: dict[str, str], *command: str) -> str:
    """What a command of SLURM answers; nothing where it fails, as before the controller is there."""
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout.strip()


def wait_until(holds, patience: float = PATIENCE) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it does not.
    """
    deadline = time.monotonic() + patience
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.1)
