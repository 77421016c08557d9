import importlib.util
import json
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler, TPESampler

from mixit_lightning.config import load_config
from mixit_lightning.errors import UserError
from mixit_lightning.sweeps.file import SWEEPS, distribution_of, find_sweep, pruner_of, read_sweep

FILES = [path for path in sorted(SWEEPS.glob("*.yaml")) if path.stem != "dashboard"]

SWEEP = """
method: random
metric: {name: val/loss, goal: minimize}
run_cap: 3
parameters:
  optimizer.lr: {min: 0.001, max: 0.1}
"""


def wandb_schema():
    """W&B's schema of sweep files, from its package `sweeps`, whose import would need more packages."""
    found = importlib.util.find_spec("sweeps")
    for place in (found.submodule_search_locations or []) if found else []:
        if (path := Path(place) / "config" / "schema.json").is_file():
            return json.loads(path.read_text())
    return pytest.skip("W&B's package `sweeps`, which holds the schema, is not installed")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_sweep_files_pass_the_schema_of_wandb(path):
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft7Validator(wandb_schema())
    config = yaml.safe_load(path.read_text())
    assert [error.message for error in validator.iter_errors(config)] == []
    assert not validator.is_valid({**config, "method": "guess"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_recipe_has_all_settings_of_a_sweep_file(path):
    config, plan = yaml.safe_load(path.read_text()), read_sweep(path)
    assert config["name"] == path.stem
    assert config["project"] == load_config(["logger=wandb"]).settings.logger.project
    assert config["parameters"].keys() == plan.fixed.keys() | plan.space.keys()
    values = [plan.example | point for point in plan.grid or [{}]]
    for settings in values:
        load_config(["recipe=synthetic", *(f"{key}={value}" for key, value in settings.items())])


def test_everything_that_was_asked_for_is_swept():
    swept = {key for path in FILES for key in read_sweep(path).space}
    asked = {"objective", "separator", "optimizer.lr", "objective.labelled_share", "num_outputs", "objective.max_snr"}
    assert asked <= swept


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_runs_that_differ_in_their_loss_are_not_compared_by_it(path):
    plan = read_sweep(path)
    changing = {"objective", "objective.labelled_share", "objective.max_snr", "num_outputs"} & plan.space.keys()
    assert (plan.metric == "val/loss") == (not changing)
    assert plan.direction.name == ("MAXIMIZE" if changing else "MINIMIZE")


@pytest.mark.parametrize(
    ("parameter", "distribution"),
    [
        ({"values": [1, "a", None]}, CategoricalDistribution([1, "a", None])),
        ({"min": 1, "max": 5}, IntDistribution(1, 5)),
        ({"min": 2, "max": 8, "q": 2, "distribution": "q_uniform"}, IntDistribution(2, 8, step=2)),
        ({"min": 0, "max": 1, "q": 0.25, "distribution": "q_uniform"}, FloatDistribution(0, 1, step=0.25)),
        ({"min": 1, "max": 5.0}, FloatDistribution(1, 5)),
        ({"min": 1, "max": 5, "distribution": "uniform"}, FloatDistribution(1, 5)),
        ({"min": "1e-4", "max": 1, "distribution": "log_uniform_values"}, FloatDistribution(1e-4, 1, log=True)),
    ],
)
def test_distributions_are_those_of_wandb(parameter, distribution):
    assert distribution_of(parameter) == distribution


def test_a_grid_has_all_points_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    parameters = "parameters: {b: {values: [x, y]}, fixed: {value: 7}, a: {min: 1, max: 5, q: 2}}"
    path.write_text(SWEEP.replace("random", "grid").partition("parameters")[0] + parameters)
    plan = read_sweep(path)
    assert plan.grid == [{"b": b, "a": a} for b in "xy" for a in (1, 3, 5)]
    assert plan.fixed == {"fixed": 7}
    assert read_sweep(path, {"b", "fixed"}).grid == [{"a": 1}, {"a": 3}, {"a": 5}]


@pytest.mark.parametrize(("method", "sampler"), [("random", RandomSampler), ("bayes", TPESampler)])
def test_the_method_chooses_the_sampler(method, sampler, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SWEEP.replace("random", method))
    assert type(read_sweep(path).sampler(0, 0)) is sampler


@pytest.mark.parametrize(
    ("early_terminate", "bands"),
    [
        ({"type": "hyperband", "min_iter": 3, "eta": 2}, [3, 6, 12]),
        ({"type": "hyperband", "min_iter": 2}, [2, 6, 18]),
        ({"type": "hyperband", "max_iter": 27, "s": 2, "eta": 3}, [3, 9, 27]),
    ],
)
def test_trials_are_compared_at_the_iterations_of_wandb(early_terminate, bands):
    """Those that https://docs.wandb.ai/models/sweeps/sweep-config-keys computes."""
    for last in range(1, bands[-1] + 1):
        study = optuna.create_study(pruner=pruner_of(early_terminate))
        best, other = study.ask(), study.ask()
        for step in range(1, last + 1):
            for trial, value in ((best, 0.0), (other, float(step == last))):  # behind at the last step alone
                trial.report(value, step)
                assert trial.should_prune() == (trial is other and step == last and step in bands)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("method: random", "method: tpe", "method: "),
        ("method: random", "", "method: "),
        ("goal: minimize", "goal: lower", "metric.goal: "),
        ("name: val/loss, ", "", "metric.name: "),
        ("run_cap: 3", "run_cap: many", "run_cap: "),
        ("run_cap: 3", "early_terminate: {type: median}", "early_terminate: type: must be hyperband"),
        ("run_cap: 3", "early_terminate: {min_iter: 3}", "early_terminate: 'type' is missing"),
        ("run_cap: 3", "early_terminate: {type: hyperband}", "early_terminate: 'max_iter' is missing"),
        ("run_cap: 3", "early_terminate: {type: hyperband, min_iter: 1, eta: 2.5}", "early_terminate: "),
        ("run_cap: 3", "early_terminate: {type: hyperband, max_iter: 2, s: 1}", "early_terminate: "),
        ("{min: 0.001, max: 0.1}", "{min: 0.001}", "optimizer.lr: 'max' is missing"),
        ("{min: 0.001, max: 0.1}", "0.1", "parameters.optimizer.lr: "),
        ("{min: 0.001, max: 0.1}", "{min: low, max: 0.1}", "optimizer.lr: "),
        ("{min: 0.001, max: 0.1}", "{min: 0.2, max: 0.1}", "optimizer.lr: "),
        ("max: 0.1}", "max: 0.1, distribution: beta}", "optimizer.lr: only W&B draws from beta"),
        ("{min: 0.001, max: 0.1}", "{values: [1, 2], probabilities: [0.1, 0.9]}", "optimizer.lr: only W&B"),
        ("min: 0.001, max: 0.1}", "min: 0, max: 1, distribution: log_uniform_values}", "optimizer.lr: "),
        ("max: 0.1}", "max: 0.1, distribution: q_uniform, q: 0}", "optimizer.lr: "),
        ("{min: 0.001, max: 0.1}", "{values: []}", "optimizer.lr: "),
        ("{min: 0.001, max: 0.1}", "{values: 5}", "optimizer.lr: "),
        ("method: random", "method: grid", "optimizer.lr: a grid needs values"),
        ("method: random", "method: [", "not valid YAML"),
    ],
)
def test_a_mistake_names_file_and_key(old, new, message, tmp_path):
    assert SWEEP.count(old) == 1
    path = tmp_path / "mine.yaml"
    path.write_text(SWEEP.replace(old, new))
    with pytest.raises(UserError) as caught:
        read_sweep(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_sweep_is_found_by_name_and_by_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(SWEEP)
    assert find_sweep("learning-rate") == SWEEPS / "learning-rate.yaml"
    assert find_sweep("mine.yaml") == Path("mine.yaml")
    with pytest.raises(UserError, match="did you mean learning-rate"):
        find_sweep("lerning-rate")
