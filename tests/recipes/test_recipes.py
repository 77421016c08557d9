import json
import math
import os
from importlib.metadata import version

import numpy as np
import pytest
import soundfile
import torch
from hydra.utils import instantiate

from mixit_lightning.config import ROOT, load_config, recipe_names
from mixit_lightning.data import prepared

from ..helpers.small import COUNTS
from .conftest import CORPORA

RECIPES = sorted(path.name for path in (ROOT / "recipes").iterdir() if path.is_dir() and path.name != "__pycache__")

SHARED = ["+shared.datamodule.validation_counts=[0,2]", "+shared.datamodule.test_counts=[0,4]"]
"""Short lists of mixtures of two sources, for all domains of reverb-adaptation."""

LISTS = ("datamodule.validation_count=2", "datamodule.test_count=4")

CASES = {
    "synthetic": ("synthetic", "datamodule.validation_counts=[0,2]", "datamodule.test_counts=[0,4]"),
    "synthetic-rooms": (
        "synthetic",
        "rooms=ROOMS",
        "objective=pit",
        "datamodule.validation_counts=[0,2]",
        "datamodule.test_counts=[0,4]",
    ),
    "speech-folder-rooms": ("speech-folder", "rooms=ROOMS", *COUNTS),
    "wsj0-2mix-rooms-early": ("wsj0-2mix", "rooms=ROOMS", "early=20", "objective=pit"),
    "wsj0-1or2mix-rooms-dynamic": ("wsj0-1or2mix", "rooms=ROOMS", "datamodule.dynamic=true"),
    "libri2mix-rooms": ("libri2mix", "rooms=ROOMS", "objective=semi-supervised", "objective.labelled_share=0.5"),
    "reverb-adaptation": ("reverb-adaptation", "rooms=ROOMS", "objective.labelled_share=0.5", *SHARED),
    "reverb-adaptation-mismatched": (
        "reverb-adaptation",
        "rooms=ROOMS",
        "+domains.generated={recipe:synthetic}",
        "labelled=generated",
        "objective.labelled_share=0.5",
        *SHARED,
    ),
    "speech-folder": ("speech-folder", "objective=semi-supervised", "objective.labelled_share=0.5", *COUNTS),
    "speech-folder-16k": ("speech-folder", "sample_rate=16000", *COUNTS),
    "wsj0-2mix-8k-min": ("wsj0-2mix",),
    "wsj0-2mix-8k-max": ("wsj0-2mix", "mode=max", "objective=pit"),
    "wsj0-2mix-16k-min": ("wsj0-2mix", "sample_rate=16000", "objective=pit"),
    "wsj0-2mix-16k-max": ("wsj0-2mix", "sample_rate=16000", "mode=max"),
    "wsj0-1or2mix": ("wsj0-1or2mix", "objective=semi-supervised", "objective.labelled_share=0.5"),
    "wsj0-1or2mix-dynamic": ("wsj0-1or2mix", "datamodule.dynamic=true"),
    "libri2mix": ("libri2mix",),
    "libri2mix-both": ("libri2mix", "datamodule.type=both"),
    "libri-1or2mix": ("libri-1or2mix", "objective=pit"),
    "enhancement": ("enhancement", "objective=semi-supervised", "objective.labelled_share=0.5", *LISTS),
    "fuss": ("fuss", "datamodule.silent_share=0.5", "objective.sparsity=4"),
    "fuss-reverberant": ("fuss", "reverberant=true", "objective=pit", "datamodule.dynamic=true"),
    "own-recordings": ("own-recordings", *LISTS),
    "shards": ("shards", *LISTS),
    "fuss-least-squares": ("fuss", "objective.search=least_squares", "num_outputs=12"),
}
"""Runs on generated recordings, and on real ones where there are such."""

REAL = {
    "speech-folder": CORPORA / "speech",
    "wsj0-2mix": CORPORA / "wsj0-2mix" / "expected",
    "wsj0-1or2mix": CORPORA / "wsj0-2mix" / "expected",
    "libri2mix": CORPORA / "libri2mix" / "expected",
    "libri-1or2mix": CORPORA / "libri2mix" / "expected",
    "enhancement": CORPORA,
    "reverb-adaptation": CORPORA / "speech",
}

NUM_TEST = {
    "synthetic": {"2": 4},
    "speech-folder": {"1": 2, "2": 4},
    "wsj0-2mix": {"2": 2},
    "wsj0-1or2mix": {"1": 2, "2": 2},
    "libri2mix": {"2": 2},
    "libri-1or2mix": {"1": 2, "2": 2},
    "enhancement": {"2": 4},
    "fuss": {"1": 1, "2": 1, "3": 1, "4": 1},
    "reverb-adaptation": {"2": 4},
    "own-recordings": {"0": 4},
    "shards": {"0": 4},
}
"""Test mixtures by number of sources."""

NUM_OUTPUTS = {"enhancement": 3, "fuss": 8, "own-recordings": 6}


@pytest.fixture(scope="session", params=CASES)
def finished(request, run, generated, rooms):
    """Recipe and folder of a finished run on generated recordings."""
    recipe, *overrides = (word.replace("ROOMS", str(rooms)) for word in CASES[request.param])
    return recipe, run(recipe, *overrides, *([f"data={generated[recipe]}"] if recipe in generated else []))


@pytest.fixture(
    scope="session", params=[case for case in CASES if not case.startswith(("synthetic", "fuss", "own", "shards"))]
)
def finished_with_real_recordings(request, run, rooms):
    recipe, *overrides = (
        word.replace("ROOMS", str(rooms)) for word in CASES[request.param]
    )  # FUSS is made of real recordings in test_fuss.py, own-recordings and shards have their own tests
    if not REAL[recipe].is_dir():
        pytest.skip("the recordings beside the repository are absent")
    return recipe, run(recipe, *overrides, f"data={REAL[recipe]}")


def check_run(recipe, folder):
    """A run is complete, its figures are numbers and its provenance is there."""
    config = (folder / "config.yaml").read_text()
    results = json.loads((folder / "results.json").read_text())
    metrics = results["metrics"]
    known = ("si_snri", "estoi" if recipe == "enhancement" else "msi")
    for name in ("momi", *(known if "0" not in NUM_TEST[recipe] else ())):
        assert math.isfinite(metrics[name])
    if "num_outputs: 12" not in config:  # a twelfth of a source is not active
        assert (metrics.get("one_source") is not None) == ("1" in NUM_TEST[recipe])
    assert results["recipe"] == recipe and results["run"] == folder.name
    assert results["num_examples"] == sum(NUM_TEST[recipe].values())
    assert results["num_examples_by_sources"] == NUM_TEST[recipe]
    assert results["trained_with"]["steps"] == 4 and results["seed"] == 0
    assert "val/loss" in results["selection_rule"]
    assert f"{NUM_OUTPUTS.get(recipe, 4)} outputs" in results["selection_rule"] or "num_outputs: 12" in config
    assert results["commit"] and results["hardware"]["cpu"] and results["versions"]["torch"] == version("torch")
    assert results["wall_time"]["train"] > 0 and results["wall_time"]["evaluate"] >= 0
    assert (folder / "report.html").stat().st_size > 10_000
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "checkpoints", "metrics.csv", "examples.csv", "examples"} <= names
    assert not list(folder.rglob("*.partial"))


def test_every_folder_is_a_recipe_and_is_run_here():
    assert recipe_names() == RECIPES
    assert {recipe for recipe, *_ in CASES.values()} == set(RECIPES)  # each is run below


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_says_what_it_is(recipe):
    readme = (ROOT / "recipes" / recipe / "README.md").read_text(encoding="utf-8")
    assert recipe in readme.splitlines()[0]
    assert f"recipe={recipe}" in readme or recipe == "synthetic"


@pytest.mark.parametrize("recipe", ["fuss", "reverb-adaptation"])
def test_what_is_to_be_run_can_be(recipe):
    path = ROOT / "recipes" / recipe / "run.sh"
    assert os.access(path, os.X_OK) and path.read_text().startswith("#!")


@pytest.mark.parametrize("objective", ["mixit", "pit", "semi-supervised"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_composes_with_every_objective(recipe, objective, tmp_path):
    words = {
        "reverb-adaptation": ["rooms=rooms.npz"],
        "own-recordings": ["sample_rate=8000", "num_outputs=4", "datamodule.duration=3", "datamodule.recordings=null"]
        + ([f"labelled_data={tmp_path}"] if objective != "mixit" else []),
        "shards": ["sample_rate=8000", "datamodule.shards=null"]
        + ([f"labelled_data={tmp_path}"] if objective != "mixit" else []),
    }.get(recipe, [])
    config = load_config([f"recipe={recipe}", f"data={tmp_path}", f"objective={objective}", "seed=7", *words])
    settings = config.settings
    assert settings.recipe == recipe and settings.run.startswith(f"{objective}.{recipe}.")
    datamodule = instantiate(settings.datamodule)
    module = recipe.replace("-1or2mix", "-2mix").replace("libri-", "libri")  # of the set that it is made of
    assert type(datamodule).__module__ == module.replace("-", "_")
    assert datamodule.sample_rate == settings.sample_rate == settings.separator.sample_rate
    assert datamodule.labelled_share == settings.objective.labelled_share
    assert datamodule.num_mixtures == settings.objective.num_mixtures
    assert datamodule.seed == 7


def test_every_recipe_trains_evaluates_and_reports(finished):
    check_run(*finished)


def test_every_recipe_does_so_with_real_recordings(finished_with_real_recordings):
    check_run(*finished_with_real_recordings)


def test_examples_are_at_the_rate_of_the_recipe_and_add_up(finished):
    recipe, folder = finished
    rate = 16000 if "sample_rate: 16000" in (folder / "config.yaml").read_text() else 8000
    num_outputs = 12 if "num_outputs: 12" in (folder / "config.yaml").read_text() else NUM_OUTPUTS.get(recipe, 4)
    mixtures = sorted(folder.glob("examples/*/mixture.wav"))
    assert mixtures
    for path in mixtures:
        mixture, sample_rate = soundfile.read(path)
        outputs = [soundfile.read(other)[0] for other in sorted(path.parent.glob("output_*.wav"))]
        references = [soundfile.read(other)[0] for other in sorted(path.parent.glob("reference_*.wav"))]
        assert sample_rate == rate and len(outputs) == num_outputs and len(references) <= 4
        assert ("0" in NUM_TEST[recipe]) == (not references)
        # Each file is rounded to 16 bits.
        np.testing.assert_allclose(sum(outputs), mixture, atol=(num_outputs + 1) / 2**15)
        config = (folder / "config.yaml").read_text()
        if references and "type: both" not in config and "early: 20" not in config:
            np.testing.assert_allclose(sum(references), mixture, atol=5 / 2**15)


def datamodule_of(recipe, *overrides):
    datamodule = instantiate(load_config([f"recipe={recipe}", *overrides]).settings.datamodule)
    datamodule.setup()
    return datamodule


@pytest.mark.parametrize("recipe", ["synthetic", "speech-folder"])
def test_validation_and_test_are_the_same_for_every_seed_and_training_is_not(recipe, generated):
    data = [f"data={generated[recipe]}"] if recipe in generated else []
    one, other = (datamodule_of(recipe, f"seed={seed}", "datamodule.duration=0.5", *COUNTS, *data) for seed in range(2))
    fixed = set()
    for split in ("valid", "test"):
        for number in range(len(one.evaluation[split])):
            first, second = one.evaluation[split][number], other.evaluation[split][number]
            assert first.name == second.name and torch.equal(first.mixture, second.mixture)
            assert torch.equal(first.references, second.references)
            fixed.add(first.name)
    assert len(fixed) == 3 + 6
    training = [
        {module.training.draw(number, labelled=labelled).name for number in range(10)}
        for module in (one, other)
        for labelled in (True, False)
    ]
    assert len(set.union(fixed, *training)) == len(fixed) + 40


def test_speech_of_labelled_and_unlabelled_mixtures_is_not_the_same(speech):
    module = datamodule_of(
        "speech-folder", f"data={speech}", "objective=semi-supervised", "objective.labelled_share=0.5"
    )

    def files(labelled):
        names = (module.training.draw(number, labelled=labelled).name for number in range(100))
        return {part for name in names for part in name.split("_") if part.isdigit()}

    assert len(files(True)) == len(files(False)) == 3
    assert not files(True) & files(False)


def test_speech_of_the_splits_is_from_their_folders_at_the_rate_of_the_recipe(speech):
    module = datamodule_of("speech-folder", f"data={speech}", *COUNTS)
    for split, seeds in (("valid", range(10, 16)), ("test", range(20, 26))):
        lengths = {seed: round((0.6 + 0.05 * (seed % 10)) * 8000) for seed in seeds}
        for number in range(len(module.evaluation[split])):
            item = module.evaluation[split][number]
            used = [int(part) for part in item.name.split("_") if part.isdigit()]
            assert set(used) <= set(seeds) and len(used) == len(item.references)
            whole = min(lengths[seed] for seed in used)
            assert item.mixture.shape == (3 * 8000 if split == "valid" else whole,)


@pytest.mark.parametrize(("sample_rate", "mode"), [(8000, "min"), (16000, "max")])
@pytest.mark.parametrize("below", ["", "2speakers"])
def test_wsj0_2mix_takes_the_folders_of_the_rate_and_mode(two_speakers, sample_rate, mode, below):
    module = datamodule_of("wsj0-2mix", f"data={two_speakers / below}", f"sample_rate={sample_rate}", f"mode={mode}")
    root = two_speakers / "2speakers" / f"wav{sample_rate // 1000}k" / mode
    lists = {"tr": module.training, "cv": module.evaluation["valid"], "tt": module.evaluation["test"]}
    for split, mixtures in lists.items():
        assert {row.mixture.parent for row in mixtures.rows} == {root / split / "mix"}
        assert {path.parent for row in mixtures.rows for path in row.references} == {
            root / split / "s1",
            root / split / "s2",
        }
    for number, row in enumerate(lists["tt"].rows):
        samples, _ = soundfile.read(str(row.mixture), dtype="float32")
        np.testing.assert_array_equal(lists["tt"][number].mixture.numpy(), samples)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["objective=mixit"], {"mix"}),
        (["objective=pit"], {"mix", "s1", "s2"}),
    ],
)
def test_unsupervised_training_reads_no_reference(two_speakers, run, overrides, parts, monkeypatch):
    opened = []
    read = prepared.read

    def spy(path, *place):
        opened.append(path.parent)
        return read(path, *place)

    monkeypatch.setattr(prepared, "read", spy)
    run("wsj0-2mix", f"data={two_speakers}", "datamodule.num_workers=0", *overrides)
    assert {folder.name for folder in opened if folder.parent.name == "tr"} == parts
    assert {folder.name for folder in opened if folder.parent.name == "cv"} == {"mix", "s1", "s2"}
