"""What other programs have started, as their environment variables say."""

import pytest
from omegaconf import OmegaConf

from mixit_lightning.cli import main
from mixit_lightning.errors import UserError
from mixit_lightning.processes import Started, environment, started_processes

SRUN = {
    "SLURM_NTASKS": "8",
    "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_NNODES": "2",
    "SLURM_JOB_NAME": "a",
    "SLURM_JOB_ID": "7",
}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3"}


@pytest.fixture
def given(monkeypatch):
    def given(**variables):
        for name in (*SRUN, *TORCHRUN):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return given


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        (TORCHRUN, Started("torchrun", 2, 3)),
        (SRUN, Started("srun", 2, 4)),
        (SRUN | TORCHRUN, Started("torchrun", 2, 3)),  # torchrun in an allocation
    ],
)
def test_who_started_them(given, variables, expected):
    given(**variables)
    assert started_processes() == expected
    assert len(environment()) == (expected is not None and expected.by == "srun")


def test_numbers_that_contradict_are_refused():
    started = Started("srun", 1, 2)
    settings = OmegaConf.create({"trainer": {"devices": "auto", "num_nodes": 1}})
    started.put_into(settings)
    started.put_into(settings)
    assert settings.trainer == {"devices": 2, "num_nodes": 1}
    for key, value in (("devices", 4), ("num_nodes", 3)):
        with pytest.raises(UserError, match=f"trainer.{key}={value}"):
            started.put_into(OmegaConf.merge(settings, {"trainer": {key: value}}))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (SRUN, "trainer=ddp"),
        ({key: value for key, value in SRUN.items() if "PER_NODE" not in key}, "srun"),
    ],
)
def test_processes_that_would_each_train_alone_are_refused(given, variables, message, tmp_path, capsys):
    given(**variables)
    assert main(["train", f"runs={tmp_path}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.glob("*/*"))
