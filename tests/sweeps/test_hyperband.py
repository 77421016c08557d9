import json
from pathlib import Path

import pytest

from mixit_lightning.sweeps.hyperband import bands, falls_behind

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "wandb_sweeps.json").read_text())["hyperband"]
"""Answers of W&B's own package."""


@pytest.mark.parametrize("number", range(len(GOLDEN)))
def test_the_runs_that_wandb_would_stop_are_stopped(number):
    case = GOLDEN[number]
    runs = case["runs"]
    stopped = [
        falls_behind(runs[place], runs[:place] + runs[place + 1 :], case["early_terminate"], case["goal"])
        for place in range(len(runs))
    ]
    assert stopped == case["stopped"]


def test_iterations_at_which_runs_are_compared():
    # The example of W&B's documentation: max_iter 27, s 2, eta 3 is 9 and 3.
    assert bands({"max_iter": 27, "s": 2, "eta": 3}, 100) == [3, 9]
    assert bands({"min_iter": 3, "eta": 3}, 100) == [3, 9, 27, 81]
    assert bands({"min_iter": 3}, 2) == []


def test_the_first_run_goes_on():
    assert not falls_behind([5.0, 4.0], [], {"min_iter": 1}, "minimize")
