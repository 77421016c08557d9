import os
import subprocess
import sys

import pytest

CODE = "import mixit_lightning.cli, os; print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "2000 None"),
        ({"GOMP_SPINCOUNT": "5"}, "5 None"),
        ({"OMP_WAIT_POLICY": "active"}, "None active"),
    ],
)
def test_threads_do_not_spin_for_long_unless_the_user_says_so(given, found):
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    answer = subprocess.run(
        [sys.executable, "-c", CODE], env=environment | given, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split("\n")[0] == found
