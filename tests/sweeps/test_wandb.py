import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mixit_lightning.sweeps.file import SWEEPS


@pytest.mark.slow
def test_wandb_takes_a_sweep_file_as_it_is(wandb_server, tmp_path):
    """`wandb sweep` and `wandb agent` themselves, with a shipped file and two short runs of it."""
    config = yaml.safe_load((SWEEPS / "max-snr.yaml").read_text())
    short = {"debug": "fast", "datamodule.test_counts": "[2,5]", "runs": str(tmp_path / "runs")}
    config["parameters"] = {"objective.max_snr": {"values": [10, 30]}}
    config["parameters"] |= {key: {"value": value} for key, value in short.items()}
    path = tmp_path / "max-snr.yaml"
    path.write_text(yaml.safe_dump(config))
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": paths}

    def wandb(*words):
        line = [sys.executable, "-m", "wandb", *words]
        subprocess.run(line, env=environment, cwd=tmp_path, check=True)

    wandb("sweep", str(path))
    (sweep,) = wandb_server.sweeps.values()
    wandb("agent", f"tester/{config['project']}/{sweep.id}")
    assert sweep.config == config and not sweep.left
    assert len(sweep.runs) == 2 and wandb_server.runs.keys() == sweep.runs.keys()
    for run in wandb_server.runs.values():
        assert (run.about["sweep"], run.exit_code) == (sweep.id, 0)
        assert isinstance(run.summary["val/si_snri"], float)
    assert {run.config["objective"]["max_snr"] for run in wandb_server.runs.values()} == {10, 30}
