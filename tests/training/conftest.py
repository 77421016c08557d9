import pytest

from mixit_lightning.config import load_config

from ..helpers.small import TINY


@pytest.fixture
def tiny(tmp_path):
    """Words of a command line, and a function that composes them."""

    def compose(*words):
        return load_config([*TINY, f"runs={tmp_path / 'runs'}", *words])

    return compose
