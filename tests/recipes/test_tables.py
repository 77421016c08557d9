"""The rows of the recipes' tables: they can be run, and publish nothing that was not verified."""

from pathlib import Path

import pandas as pd
import pytest

from mixit_lightning.config import load_config, recipe_names
from mixit_lightning.tables.measured import row_config
from mixit_lightning.tables.schema import read_tables
from mixit_lightning.training.train import train

from ..helpers.corpora import make_libri2mix, make_rooms
from ..helpers.small import SMALL

ROWS = [(recipe, table, row) for recipe in recipe_names() for table in read_tables(recipe) for row in table.rows]
RUNNABLE = [(recipe, table, row) for recipe, table, row in ROWS if row.cannot is None]

SHRUNK = {
    "convtasnet": ["n_blocks=1", "n_repeats=1", "bn_chan=8", "hid_chan=16", "skip_chan=8", "n_filters=16"],
    "dprnn": ["n_repeats=1", "hid_size=8", "bn_chan=8", "n_filters=16"],
}
"""Keys of `separator.network`."""

VERIFIED = {
    "libri2mix": {
        ("mixcycle-pit", "si_snri"): 11.2,
        ("mixcycle-pit-5", "si_snri"): 7.1,
        ("mixcycle-pit-dynamic", "si_snri"): 11.8,
        ("mixcycle-pit-dynamic-5", "si_snri"): 11.4,
        ("mixcycle-mixit", "si_snri"): 7.8,
        ("mixcycle-mixit", "si_snri_oracle_remix"): 9.9,
        ("mixcycle-mixit-5", "si_snri"): 6.0,
        ("mixcycle-mixit-5", "si_snri_oracle_remix"): 8.5,
        ("mixcycle-mixpit", "si_snri"): 7.1,
        ("mixcycle-mixpit-5", "si_snri"): 5.6,
        ("mixcycle", "si_snri"): 11.4,
        ("mixcycle-5", "si_snri"): 11.2,
        ("ideal-ratio-mask", "si_snri"): 13.9,
        ("convtasnet-100", "si_snri"): 13.0,
        ("convtasnet-360", "si_snri"): 14.7,
        ("paper-mixit", "si_snri"): 11.7,
        ("paper-pit", "si_snri"): 13.5,
        ("paper-mixit-reverberant", "si_snri"): 10.6,
        ("paper-pit-reverberant", "si_snri"): 6.9,
    },
    "libri-1or2mix": {
        ("paper-mixit", "si_snri"): 16.7,
        ("paper-pit", "si_snri"): 16.3,
        ("paper-mixit-reverberant", "si_snri"): 12.7,
        ("paper-pit-reverberant", "si_snri"): 12.1,
    },
    "wsj0-2mix": {
        ("paper-mixit", "si_snri"): 10.8,
        ("paper-pit", "si_snri"): 12.4,
        ("paper-mixit-reverberant", "si_snri"): 6.9,
        ("paper-pit-reverberant", "si_snri"): 8.0,
        ("espnet-mixit", "si_snr"): 8.34,
        ("convtasnet", "si_snri"): 16.2,
        ("dprnn-16", "si_snri"): 17.7,
        ("dprnn-2", "si_snri"): 19.3,
    },
    "wsj0-1or2mix": {
        ("paper-mixit", "si_snri"): 16.9,
        ("paper-pit", "si_snri"): 16.1,
        ("paper-mixit-reverberant", "si_snri"): 10.6,
        ("paper-pit-reverberant", "si_snri"): 9.7,
        ("espnet-mixit", "si_snr"): 12.25,
    },
    "fuss": {("paper-pit", "msi"): 9.8, ("paper-pit", "one_source"): 35.5},
}
"""Figures that were read at their source."""


def test_every_recipe_has_a_table():
    assert {recipe for recipe, *_ in ROWS} == set(recipe_names())


@pytest.mark.parametrize(("recipe", "table", "row"), ROWS, ids=[f"{recipe}-{row.name}" for recipe, _, row in ROWS])
def test_nothing_is_published_that_was_not_verified(recipe, table, row):
    for figure in row.figures:
        verified = VERIFIED.get(recipe, {}).get((row.name, figure.metric))
        assert (figure.published.value if figure.published else None) == verified
        if figure.published and verified is None:
            source = figure.published
            assert "paper" in source.source or source.says, "an unread figure needs its table's name"


def test_what_is_trained_on_single_clean_sounds_says_so():
    """1-or-2-source pools hold clean recordings: where a row says that it has no labels, it says that as well."""
    without_labels = [found for found in RUNNABLE if "no labels" in found[2].what]
    assert without_labels
    for recipe, table, row in without_labels:
        config = row_config(recipe, table, row, 0)["datamodule"]
        single = config.get("one_source_share", 0) or (config.get("source_shares") or [0])[0]
        if single:
            assert "clean" in row.what, f"{recipe}, {row.name}"


@pytest.fixture(scope="session")
def places(tmp_path_factory, generated, noisy, rooms) -> dict[str, dict[str, Path]]:
    """What rows need, by recipe and by key."""
    libri = tmp_path_factory.mktemp("libri2mix-all")
    for sample_rate, split in ((8000, "train-100"), (8000, "train-360"), (16000, "train-360")):
        make_libri2mix(libri, sample_rate, split)
    folder = tmp_path_factory.mktemp("librispeech-wham")
    for corpus, kind, names in (
        ("librispeech", "speech", ("train-clean-100", "dev-clean", "test-clean")),
        ("wham", "noise", ("tr", "cv", "tt")),
    ):
        (folder / corpus).mkdir()
        for name, split in zip(names, ("train", "valid", "test"), strict=True):
            (folder / corpus / name).symlink_to(noisy / kind / split)
    data = generated | {"libri2mix": libri, "libri-1or2mix": libri}
    return {
        "data": data,
        "rooms": {8000: rooms, 16000: make_rooms(tmp_path_factory.mktemp("rooms") / "rooms16k.npz", 16000)},
        "others": {
            "librispeech": folder / "librispeech",
            "wham": folder / "wham",
            "unlabelled": noisy / "noise" / "train",
            "labelled_data": libri,
        },
    }


def first_rows():
    """All rows; those that are not the first of their table take part in slow runs only."""
    for recipe, table, row in RUNNABLE:
        marks = [] if row is table.rows[0] else [pytest.mark.slow]
        yield pytest.param(recipe, table, row, id=f"{recipe}-{row.name}", marks=marks)


@pytest.mark.parametrize(("recipe", "table", "row"), first_rows())
def test_every_row_trains_a_few_steps(recipe, table, row, places, tmp_path):
    config = row_config(recipe, table, row, 0)
    words = [f"recipe={recipe}", *table.settings_of(row), "seed=0"]
    data = places["data"].get(recipe)
    if "corpora=" in " ".join(words):
        data = places["data"]["wsj0-2mix"]
    words += [f"data={data}"] if data else []
    for key in row.needs:
        place = places["rooms"][config["sample_rate"]] if key == "rooms" else places["others"][key]
        words.append(f"{key}={place}")
    separator = next((word.partition("=")[2] for word in reversed(words) if word.startswith("separator=")), None)
    if separator in SHRUNK:
        small = [word for word in SMALL if not word.startswith("separator")]
        given = " ".join(words)
        small += [f"+separator.network.{word}" for word in SHRUNK[separator] if word.partition("=")[0] not in given]
    else:
        small = [word for word in SMALL if word != "separator=tdcnpp-small"]
    # Four mixtures have no tenth.
    small += [
        f"{key}=0.5" for key in ("objective.labelled_share", "datamodule.train_share") if f"{key}=0." in str(words)
    ]
    small += [
        "trainer.max_steps=2",
        "datamodule.steps_per_epoch=1",
        "datamodule.num_workers=0",
        "trainer.limit_val_batches=1",
    ]
    folder = train(load_config([*words, *small, f"runs={tmp_path}"]))
    curves = pd.read_csv(folder / "metrics.csv").set_index("metric")["value"]
    assert curves[["train/loss", "val/loss"]].notna().all()
    assert curves["train/loss"].size == 2
