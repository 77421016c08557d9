"""The local engine with `pretend.py` in place of training; as a program, a process that can be killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

from mixit_lightning.cli import main
from mixit_lightning.config import load_config
from mixit_lightning.errors import UserError
from mixit_lightning.run import open_run
from mixit_lightning.sweeps import local, summary, trainings


def pretend(words, log, environment):
    """A process of `pretend.py` in the run's folder."""
    config = load_config(words)
    plan = {
        "notes": os.environ["PRETEND_NOTES"],
        "hold_above": float(os.environ.get("PRETEND_HOLD_ABOVE", "inf")),
        "hold_in": os.environ.get("PRETEND_HOLD_IN", "training"),
        "meet": "PRETEND_MEET" in os.environ,
        "folder": str(config.folder),
        "rate": config.settings.optimizer.lr,
        "swept": next((float(word.split("=")[1]) for word in words if word.startswith("optimizer.lr=")), None),
        "error": None,
    }
    try:
        open_run(config.folder, config.plain())
    except UserError as error:
        plan["error"] = str(error)
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("pretend.py")), *words]
    environment = environment | {"PRETEND": json.dumps(plan)}
    return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def origin():
    """As `provenance`, which takes its time."""
    return {"commit": "abc", "versions": {}, "hardware": {"cpu": "x", "threads": 2, "gpus": []}}


if __name__ == "__main__":
    trainings.start_training, local.provenance, local.POLL = pretend, origin, 0.02
    local.check_words = summary.draw = lambda *_: None
    sys.exit(main(["sweep", "engine=local", *sys.argv[1:]]))
