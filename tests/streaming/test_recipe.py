"""The recipe: what it draws, what it refuses, and a run from recordings to figures."""

import json
import math
import shutil

import numpy as np
import pytest
import soundfile
import torch
import yaml

from mixit_lightning.cli import main
from mixit_lightning.config import build, load_config
from mixit_lightning.errors import UserError
from mixit_lightning.streaming.catalogue import read_catalogue
from mixit_lightning.streaming.mixtures import SegmentMixtures
from mixit_lightning.streaming.storage import Storage

from .conftest import TINY


@pytest.fixture
def prepared(tmp_path):
    """The recipe's data module for some shards, set up."""

    def prepared(data, *words):
        config = load_config([*TINY, f"data={data}", f"runs={tmp_path / 'runs'}", "datamodule.num_workers=0", *words])
        datamodule = build(config.settings, "datamodule")
        datamodule.setup()
        return datamodule

    return prepared


def test_crops_are_of_the_recordings_at_one_level(packed, recordings, prepared):
    datamodule = prepared(packed, "datamodule.max_level=0")
    mixtures = [datamodule.training.draw(number, labelled=False) for number in range(30)]
    for item in mixtures:
        name, start = item.name.removesuffix(" s").split(" from ")
        whole = torch.from_numpy(soundfile.read(recordings / name, dtype="float32")[0])
        part = whole[round(float(start) * 8000) :]
        assert item.mixture.shape == (4000,) and item.references.shape == (0, 4000)
        correlation = np.correlate(part[: 3 * 8000].numpy(), item.mixture.numpy())
        place = int(correlation.argmax())
        found = part[place : place + 4000]
        scale = torch.dot(found, item.mixture) / torch.dot(found, found)
        assert torch.allclose(scale * found, item.mixture, atol=1e-4)
        assert scale.item() == pytest.approx(0.05 / whole.square().mean().sqrt().item(), rel=0.15)


def test_levels_and_places_are_drawn_by_number_and_seed(packed, prepared):
    one, again, other = (prepared(packed, f"seed={seed}") for seed in (0, 0, 1))
    numbers = [7, 500, 3, 40]
    draws = [[module.training.draw(number, labelled=False) for number in numbers] for module in (one, again, other)]
    for first, second, third in zip(*draws, strict=True):
        assert first.name == second.name and torch.equal(first.mixture, second.mixture)
        assert not torch.equal(first.mixture, third.mixture)
    segments = one.training.mixtures[False].segments
    same_segment, another_crop = (SegmentMixtures(segments, 5.0, seed).draw(7) for seed in (0, 1))
    assert same_segment.name == another_crop.name and not torch.equal(same_segment.mixture, another_crop.mixture)
    again.training.draw(0, labelled=False)
    assert torch.equal(again.training.draw(40, labelled=False).mixture, draws[0][3].mixture)


def test_whole_epochs_in_batches_whatever_the_number_of_workers(packed, prepared):
    def names(*words):
        module = prepared(packed, "datamodule.batch_size=4", "datamodule.steps_per_epoch=20", *words)
        return [name for batch in module.train_dataloader() for name in batch.names]

    total = len(prepared(packed).order("train", 0))
    alone = names()
    assert len(set(alone[:total])) == total and len(alone) == 160 > total
    assert names("datamodule.num_workers=2") == alone
    module = prepared(packed, "datamodule.batch_size=4", "datamodule.steps_per_epoch=20")
    resumed = module.training_sampler(steps_taken=lambda: 7)
    assert [module.training.draw(number, labelled=False).name for batch in resumed for number in batch.members(2)] == (
        alone[7 * 8 :]
    )


def test_lists_are_the_same_for_every_seed_and_their_neighbours_differ(pack, prepared, tmp_path):
    assert pack(tmp_path / "out", "held_out=0.25") == 0  # four recordings each, none of which has half
    words = [tmp_path / "out", "datamodule.window=9"]
    one, other = prepared(*words), prepared(*words, "seed=1")
    for split in ("valid", "test"):
        items = [one.evaluation[split][number] for number in range(4)]
        assert len(one.evaluation[split]) == 4
        assert [item.name for item in items] == [other.evaluation[split][number].name for number in range(4)]
        for first, second in ((0, 1), (2, 3)):
            assert items[first].name.split(" from ")[0] != items[second].name.split(" from ")[0]


def test_a_run_from_shards_to_figures(packed, tmp_path, capsys):
    words = [*TINY, f"data={packed}", f"runs={tmp_path}", "debug=fast"]
    assert main(["train", *words]) == 0
    (folder,) = (tmp_path / "shards").iterdir()
    results = json.loads((folder / "results.json").read_text())
    assert math.isfinite(results["metrics"]["momi"]) and results["num_examples"] == 4
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["sample_rate"] == 8000 and "cache" not in config["datamodule"]
    capsys.readouterr()
    # Where shards are kept is no part of the run.
    assert main(["train", *words, f"datamodule.cache={tmp_path}", "datamodule.cache_gigabytes=1"]) == 0
    assert "this run is finished" in capsys.readouterr().out


def test_a_run_keeps_to_its_shards(packed, pack, prepared, tmp_path):
    folder = shutil.copytree(packed, tmp_path / "shards")
    fingerprint = read_catalogue(Storage(str(folder))).fingerprint
    prepared(folder, f"datamodule.shards={fingerprint}")
    assert pack(folder, "seed=3") == 0
    with pytest.raises(UserError, match="its shards have changed since this run began"):
        prepared(folder, f"datamodule.shards={fingerprint}")
    prepared(folder, "datamodule.shards=null")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sample_rate=16000"], "its shards have 8000 Hz where sample_rate=16000"),
        (["datamodule.window=0"], r"datamodule\.window=0"),
        (["datamodule.test_count=1"], "test_count must be 2 or more"),
        (["objective=pit"], "give labelled_data=FOLDER"),
        (["labelled_data=anywhere"], "no meaning for objective=mixit"),
    ],
)
def test_wrong_settings_are_refused(packed, prepared, words, message):
    with pytest.raises(UserError, match=message):
        prepared(packed, *words)


def test_labelled_recordings_join(packed, recordings, prepared, tmp_path):
    for source in ("s1", "s2"):
        (tmp_path / "labelled" / source).mkdir(parents=True)
        shutil.copy(recordings / "03.wav", tmp_path / "labelled" / source / "a.wav")
    words = ["objective=semi-supervised", "objective.labelled_share=0.5", f"labelled_data={tmp_path / 'labelled'}"]
    batch = next(iter(prepared(packed, *words).train_dataloader()))
    assert batch.references.shape == (4, 2, 4000) and batch.mixtures.shape == (12, 4000)


def test_the_doctor_finds_damaged_shards(packed, tmp_path, capsys):
    folder = shutil.copytree(packed, tmp_path / "shards")
    words = ["doctor", *TINY, f"data={folder}", f"runs={tmp_path}"]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == {}
    path = folder / "valid-00000.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    assert main(words) == 1
    assert f"error: {path}: it cannot be read" in capsys.readouterr().out


def test_no_shards_there(tmp_path, capsys):
    assert main(["train", *TINY, f"data={tmp_path}", f"runs={tmp_path / 'runs'}"]) == 1
    assert f"{tmp_path}/catalogue.json: no regular file is there; `mixit shard` writes it" in capsys.readouterr().err
