import importlib.util
import json
from pathlib import Path

import pytest
import yaml

from mixit_lightning.cli import main
from mixit_lightning.config import ROOT, load_config
from mixit_lightning.errors import UserError
from mixit_lightning.sweeps.file import check_words, default_words, distribution, read_sweep, with_words

FILES = sorted((ROOT / "conf" / "sweep").glob("*.yaml"))

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "wandb_sweeps.json").read_text())
"""Answers of W&B's own package."""

SWEEP = """
command: ["${env}", mixit, train, logger=wandb, "${args_no_hyphens}"]
method: random
metric: {name: val/loss, goal: minimize}
run_cap: 3
parameters:
  optimizer.lr: {min: 0.001, max: 0.1}
"""


def write(folder, text):
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def wandb_schema():
    """W&B's schema of sweep files, from its package `sweeps`, whose import would need more packages."""
    found = importlib.util.find_spec("sweeps")
    places = (
        [Path(place) / "config" / "schema.json" for place in (found.submodule_search_locations or [])] if found else []
    )
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        pytest.skip("W&B's package `sweeps`, which holds the schema, is not installed")
    return json.loads(path.read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_sweep_files_pass_the_schema_of_wandb(path):
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft7Validator(wandb_schema())
    config = yaml.safe_load(path.read_text())
    assert [error.message for error in validator.iter_errors(config)] == []
    assert not validator.is_valid({**config, "method": "guess"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_sweep_files_are_what_both_engines_need(path):
    config = read_sweep(path.stem)
    assert config == yaml.safe_load(path.read_text())
    assert config["name"] == path.stem
    assert config["project"] == load_config(["logger=wandb"]).settings.logger.project
    assert (ROOT / config["program"]).is_file()
    check_words(config, default_words(config, ["recipe=synthetic"]))


def test_everything_that_was_asked_for_is_swept():
    swept = {key for path in FILES for key in read_sweep(path.stem)["parameters"]}
    asked = {"objective", "separator", "optimizer.lr", "objective.labelled_share", "num_outputs", "objective.max_snr"}
    assert asked <= swept


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_runs_that_differ_in_their_loss_are_not_compared_by_it(path):
    config = read_sweep(path.stem)
    changing = {"objective", "objective.labelled_share", "objective.max_snr", "num_outputs"} & config[
        "parameters"
    ].keys()
    assert (config["metric"]["name"] == "val/loss") == (not changing)
    assert config["metric"]["goal"] == ("maximize" if changing else "minimize")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("method: random", "method: tpe", "method: must be one of grid, random, bayes, not 'tpe'"),
        ("method: random", "", "method: must be one of"),
        ("goal: minimize", "goal: lower", "metric.goal: must be minimize or maximize"),
        ("name: val/loss, ", "", "metric.name"),
        ("mixit, train", "python, train.py", "command: must be"),
        ("${args_no_hyphens}", "${args}", "command: must be"),
        ("logger=wandb", "--verbose", "but has --verbose"),
        ("logger=wandb", "optimizer.lr=1", "parameters.optimizer.lr: the command sets it too"),
        ("logger=wandb", "launcher=slurm", "command: launcher: a sweep cannot say how its runs are launched"),
        ("logger=wandb", "++launcher.setup=id", "command: launcher.setup: a sweep cannot say"),
        ("optimizer.lr:", "launcher.setup:", "parameters: launcher.setup: a sweep cannot say"),
        ("run_cap: 3", "run_cap: 0", "run_cap: must be a whole number above 0"),
        ("run_cap: 3", "early_terminate: {type: median}", "early_terminate.type: must be hyperband"),
        ("run_cap: 3", "early_terminate: {type: hyperband}", "needs min_iter, or max_iter and s"),
        ("run_cap: 3", "early_terminate: {type: hyperband, max_iter: 9}", "needs min_iter, or max_iter and s"),
        (
            "run_cap: 3",
            "early_terminate: {type: hyperband, min_iter: 1.5}",
            "early_terminate.min_iter: must be a whole",
        ),
        ("run_cap: 3", "early_terminate: {type: hyperband, min_iter: 1, eta: 1}", "early_terminate.eta: must be"),
        ("run_cap: 3", "early_terminate: {type: hyperband, max_iter: 2, s: 1}", "max_iter: must be eta or more"),
        ("run_cap: 3", "early_terminate: {type: hyperband, min_iter: 1, strict: 1}", "early_terminate.strict"),
        ("{min: 0.001, max: 0.1}", "{min: 0.001}", "parameters.optimizer.lr: must have value, values, or min and max"),
        ("{min: 0.001, max: 0.1}", "0.1", "parameters.optimizer.lr: must have value, values, or min and max"),
        ("{min: 0.001, max: 0.1}", "{min: 1e-4, max: 0.1}", "needs a number as min, not '1e-4'; YAML reads"),
        ("{min: 0.001, max: 0.1}", "{min: 0.2, max: 0.1}", "min 0.2 is not below max 0.1"),
        ("max: 0.1}", "max: 0.1, distribution: log_uniform_value}", "did you mean log_uniform_values?"),
        ("min: 0.001, max: 0.1}", "min: 0, max: 1, distribution: log_uniform_values}", "must be above 0, not 0"),
        ("max: 0.1}", "max: 0.1, distribution: q_uniform, q: 0}", "q must be above 0"),
        ("max: 0.1}", "max: 0.1, distribution: int_uniform}", "whole numbers"),
        ("{min: 0.001, max: 0.1}", "{values: []}", "values must be a list"),
        ("{min: 0.001, max: 0.1}", "{values: [1, null]}", "None cannot be written as key=value"),
        ("{min: 0.001, max: 0.1}", "{values: [1, 2, 1]}", "1 is there more than once"),
        ("{min: 0.001, max: 0.1}", "{parameters: {a: {value: 1}}}", "nested parameters"),
        ("method: random", "method: grid", "parameters.optimizer.lr: a grid has no uniform"),
        ("parameters:\n  optimizer.lr: {min: 0.001, max: 0.1}", "", "parameters: must say"),
        ("method: random", "method: [", "not valid YAML"),
    ],
)
def test_a_mistake_names_file_and_key(old, new, message, tmp_path):
    assert SWEEP.count(old) == 1
    path = write(tmp_path, SWEEP.replace(old, new))
    with pytest.raises(UserError) as caught:
        read_sweep(str(path))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_sweep_that_does_not_exist_names_the_nearest(capsys):
    assert main(["sweep", "sweep=lerning-rate", "engine=local"]) == 1
    assert capsys.readouterr().err == "mixit: sweep=lerning-rate does not exist; did you mean learning-rate?\n"


def test_what_only_wandb_knows_stays_as_it_is(tmp_path):
    more = "description: why\nentity: us\nproject: p\nprogram: x.py\nfuture: {a: [1]}\n"
    path = write(tmp_path, SWEEP + more)
    assert read_sweep(str(path)) == {"name": "mine"} | yaml.safe_load(SWEEP + more)


def test_words_of_a_recipe_go_into_the_command_once(tmp_path):
    config = read_sweep(str(write(tmp_path, SWEEP.replace("logger=wandb", "logger=wandb, trainer.max_steps=5"))))
    words = ["recipe=synthetic", "trainer.max_steps=9", "optimizer.lr=0.5", "+trainer.detect_anomaly=true"]
    before = yaml.safe_dump(config)
    fixed = ["logger=wandb", "recipe=synthetic", "trainer.max_steps=9", "+trainer.detect_anomaly=true"]
    assert with_words(config, words)["command"] == ["${env}", "mixit", "train", *fixed, "${args_no_hyphens}"]
    assert yaml.safe_dump(config) == before
    assert default_words(config, words) == [*fixed, "optimizer.lr=0.5"]


def test_settings_that_the_recipe_does_not_have_are_found_before_anything_runs(tmp_path):
    for old, new, message in (
        ("optimizer.lr", "optimizer.lrr", "parameters.optimizer.lrr: .*did you mean optimizer.lr"),
        ("optimizer.lr: {min: 0.001, max: 0.1}", "separator: {values: [tdcnpp, nope]}", "there is no such separator"),
    ):
        config = read_sweep(str(write(tmp_path, SWEEP.replace(old, new))))
        with pytest.raises(UserError, match=message):
            check_words(config, ["recipe=synthetic"])
    # A setting may exist beside another one only.
    both = "schedule: {value: halving}\n  schedule.every: {values: [100, 200]}"
    config = read_sweep(str(write(tmp_path, SWEEP.replace("optimizer.lr: {min: 0.001, max: 0.1}", both))))
    check_words(config, ["recipe=synthetic"])


@pytest.mark.parametrize("case", GOLDEN["parameters"], ids=lambda case: json.dumps(case["specification"]))
def test_distributions_that_are_not_named_are_those_of_wandb(case):
    assert distribution(case["specification"]) == case["distribution"]


@pytest.mark.parametrize("word", ["sweep=learning-rate", "sweep=nope"])
def test_a_sweep_is_no_setting_of_a_run(word):
    with pytest.raises(UserError) as caught:
        load_config([word])
    assert str(caught.value) == f"{word}: there is no such key; `mixit sweep` takes it"
