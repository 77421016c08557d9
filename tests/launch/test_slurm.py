import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mixit_lightning.cli import main
from mixit_lightning.config import load_config
from mixit_lightning.errors import UserError
from mixit_lightning.launch.slurm import Slurm, seconds

from ..training.conftest import TINY


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """SLURM's commands, pretended: `plan` says what they answer, `calls` how they were called."""
    commands = tmp_path / "commands"
    commands.mkdir()
    for name in ("sbatch", "squeue", "srun", "scontrol"):
        pretend = [sys.executable, "-I", "-S", str(Path(__file__).with_name("pretend.py")), str(tmp_path), name]
        (commands / name).write_text(f'#!/bin/sh\nexec {" ".join(pretend)} "$@"\n')
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    for name in ("SLURM_RESTART_COUNT", "WANDB_SWEEP_ID"):
        monkeypatch.delenv(name, raising=False)
    notes = tmp_path / "notes"

    def plan(**answers):
        (tmp_path / "plan.json").write_text(json.dumps({"sbatch": {"out": "17;cluster"}} | answers))

    def calls(name):
        lines = map(json.loads, notes.read_text().splitlines()) if notes.exists() else []
        return [words for command, *words in lines if command == name]

    plan()
    return SimpleNamespace(plan=plan, calls=calls, runs=tmp_path / "a run's 5%", commands=commands)


@pytest.fixture
def submit(slurm):
    """Submit, and give the status of the command and the run's script."""

    def submit(*words):
        status = main(["train", "launcher=slurm", *TINY, f"runs='{slurm.runs!s}'".replace("run's", "run\\'s"), *words])
        scripts = list(slurm.runs.rglob("slurm.sh"))
        return status, scripts[0] if scripts else None

    return submit


def run_script(script, restarts=0):
    """Run a script as SLURM's batch shell does."""
    environment = os.environ | {"SLURM_JOB_ID": "17", "SLURM_RESTART_COUNT": str(restarts)}
    return subprocess.run(["bash", script], capture_output=True, text=True, env=environment)


def directives(script):
    lines = script.read_text().splitlines()
    return [line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")]


def test_a_run_is_submitted_and_followed(slurm, submit, capsys):
    status, script = submit()
    assert status == 0
    assert slurm.calls("sbatch") == [["--parsable", str(script)]]
    out = capsys.readouterr().out
    assert "job 17 is in the queue" in out
    (followed,) = [line.removeprefix("follow: ") for line in out.splitlines() if line.startswith("follow: ")]
    assert shlex.split(followed) == ["tail", "-F", str(script.parent / "slurm-17.log")]
    assert "squeue --job 17" in out and "scancel 17" in out
    assert (script.parent / "config.yaml").is_file()
    assert not (script.parent / "training.json").exists()


def test_the_job_asks_for_what_the_settings_say(submit, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    asked = {"partition": "gpu", "account": "sound", "gpus_per_node": "a100:4", "cpus_per_task": 8, "memory": "64G"}
    words = [f"launcher.{name}={value}" for name, value in asked.items()]
    shape = ["trainer=ddp", "launcher.nodes=2", "launcher.tasks_per_node=4", "launcher.time=1-02:00:00"]
    _, script = submit(
        *words, *shape, "launcher.warning=120", '+launcher.options={exclusive:null,comment:"a \\"b\\" #c"}'
    )
    name = script.parent.name
    assert directives(script) == [
        f'job-name="{name}"',
        f'chdir="{tmp_path}"',
        f'output="{tmp_path}/a run\'s 5%%/synthetic/{name}/slurm-%j.log"',
        'open-mode="append"',
        "requeue",
        'signal="USR1@120"',
        'partition="gpu"',
        'account="sound"',
        'nodes="2"',
        'gpus-per-node="a100:4"',
        'ntasks-per-node="4"',
        'cpus-per-task="8"',
        'mem="64G"',
        'time="1-02:00:00"',
        "exclusive",
        'comment="a \\"b\\" #c"',
    ]


def test_the_job_trains_the_very_run(slurm, submit):
    words = ["note='it''s \"$HOME\" `id` \\ ; x'".replace("''", "\\'"), "seed=3", "launcher.cpus_per_task=2"]
    _, script = submit(*words, "launcher.setup=[\"export SET_UP='1 2'\"]")
    run_script(script)
    ((*options, python, _, module, command),) = [call[: call.index("train") + 1] for call in slurm.calls("srun")]
    assert options == ["--kill-on-bad-exit=0", "--wait=0", "--cpus-per-task=2"]
    assert (python, module, command) == (sys.executable, "mixit_lightning.cli", "train")
    (call,) = slurm.calls("srun")
    given = call[call.index("train") + 1 :]
    assert words[0] in given and words[1] in given
    assert [word for word in given if "launcher" in word] == ["launcher=here"]
    config = load_config(given)
    assert config.folder == script.parent
    assert config.settings.note == 'it\'s "$HOME" `id` \\ ; x'
    assert not config.settings.trainer.enable_progress_bar
    assert "export SET_UP='1 2'" in script.read_text().splitlines()


@pytest.mark.parametrize("status", [75, 138, 143])
def test_a_run_that_was_told_to_stop_returns_to_the_queue(slurm, submit, status):
    _, script = submit("launcher.max_requeues=2")
    slurm.plan(srun={"status": status})
    assert run_script(script, restarts=1).returncode == 0
    assert slurm.calls("scontrol") == [["requeue", "17"]]
    ended = run_script(script, restarts=2)
    assert ended.returncode == status
    assert "launcher.max_requeues=2" in ended.stderr
    assert len(slurm.calls("scontrol")) == 1


@pytest.mark.parametrize("status", [0, 1, 130, 137])
def test_a_run_that_is_finished_or_failed_does_not(slurm, submit, status):
    _, script = submit()
    slurm.plan(srun={"status": status})
    assert run_script(script).returncode == status
    assert not slurm.calls("scontrol")


def test_a_run_is_not_submitted_twice(slurm, submit, capsys):
    _, script = submit()
    slurm.plan(squeue={"out": f"3 RUNNING {script}.other\n9 PENDING /elsewhere/slurm.sh\n17 PENDING {script}"})
    assert submit()[0] == 1
    message = capsys.readouterr().err
    assert "job 17 (pending) is this run's" in message and "scancel 17" in message
    assert len(slurm.calls("sbatch")) == 1
    slurm.plan(squeue={"out": f"3 RUNNING {script}.other\n9 PENDING /elsewhere/slurm.sh"})
    assert submit()[0] == 0


def test_what_slurm_says_is_passed_on_in_one_line(slurm, submit, capsys):
    slurm.plan(sbatch={"err": "sbatch: error: invalid partition specified: x\nsbatch: error: more", "status": 1})
    assert submit("launcher.partition=x")[0] == 1
    assert capsys.readouterr().err == "mixit: launcher=slurm: sbatch: invalid partition specified: x\n"


def test_without_slurm_it_says_so(slurm, submit, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert submit()[0] == 1
    assert "there is no squeue here" in capsys.readouterr().err
    assert not slurm.runs.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["launcher.time=5400"], r"launcher\.time=5400: must be H:MM:SS"),
        (["launcher.time=0:05:00"], "longer than launcher.warning=300"),
        (["launcher.nodes=0"], "launcher.nodes=0: must be a whole number, 1 or more"),
        (["launcher.max_requeues=-1"], "max_requeues=-1: must be a whole number, 0 or more"),
        (["launcher.setup=cuda"], "must be a list of lines"),
        (["+launcher.options.signal=TERM"], "launcher.options.signal: is set by the launcher"),
        (["+launcher.options.mem=3G"], r"launcher\.options\.mem: launcher\.memory says this"),
        (["launcher.tasks_per_node=2"], "2 processes; give trainer=ddp"),
        (["launcher.hours=3"], "there is no such key"),
        (["num_outputs=30"], "search"),
    ],
)
def test_mistakes_show_before_the_queue(slurm, submit, capsys, words, message):
    assert submit(*words)[0] == 1
    errors = capsys.readouterr().err
    assert len(errors.splitlines()) == 1
    with pytest.raises(UserError, match=message):
        raise UserError(errors)
    assert not slurm.calls("sbatch")
    assert not slurm.runs.exists()


def test_line_breaks_cannot_reach_the_script():
    launcher = Slurm(options={"comment": "a\n#SBATCH --uid=0"})
    with pytest.raises(UserError, match="no line breaks"):
        launcher.script(Path("/runs/x"), "x", [])


def test_the_launcher_does_not_make_another_run():
    plain = load_config([])
    launched = load_config(["launcher=slurm", "launcher.partition=gpu", "+launcher.options.qos=long"])
    assert launched.folder == plain.folder
    assert launched.plain() == plain.plain()
    assert "launcher" not in plain.plain()


@pytest.mark.parametrize("command", ["sweep", "reproduce", "evaluate", "doctor"])
def test_only_training_is_submitted(command, capsys, slurm):
    assert main([command, "launcher=slurm"]) == 1
    message = "mixit: launcher=slurm: only `mixit train` submits itself; leave it out, or submit the command yourself"
    assert capsys.readouterr().err.strip() == message


def test_an_agent_of_a_sweep_does_not_submit(submit, monkeypatch, capsys, slurm):
    monkeypatch.setenv("WANDB_SWEEP_ID", "x")
    assert submit()[0] == 1
    assert "submit `wandb agent` as a job" in capsys.readouterr().err
    assert not slurm.calls("sbatch")


def test_limits_are_read_as_slurm_reads_them():
    assert seconds("0:02:00") == 120
    assert seconds("36:00:00") == 36 * 3600
    assert seconds("2-03:04:05") == 2 * 86400 + 3 * 3600 + 4 * 60 + 5
