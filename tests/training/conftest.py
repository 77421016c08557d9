import pytest

from mixit_lightning.config import load_config

TINY = [
    "separator.bottleneck=8",
    "separator.conv_channels=16",
    "separator.repeats=1",
    "separator.dilations_per_repeat=2",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
    "datamodule.num_workers=0",
    "datamodule.batch_size=2",
    "datamodule.duration=0.5",
    "datamodule.evaluation_batch_size=3",
    "datamodule.validation_counts=[2,5]",
    "datamodule.test_counts=[2,5]",
]
"""A run of a few seconds on generated sounds; numbers that batch sizes do not divide."""


@pytest.fixture
def tiny(tmp_path):
    """Words of a command line, and a function that composes them."""

    def compose(*words):
        return load_config([*TINY, f"runs={tmp_path / 'runs'}", *words])

    return compose
