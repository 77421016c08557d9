"""Any folder of recordings: what is used, held out, proposed, trained on, separated; and what is said of the rest."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
import yaml

from mixit_lightning.cli import main
from mixit_lightning.config import build, load_config
from mixit_lightning.errors import UserError

from ..helpers.corpora import syllables, write
from ..helpers.small import SMALL
from .conftest import CORPORA

USELESS = {
    "odd/again.wav": "holds the same samples as day0/00.wav",
    "odd/cut-off.flac": "cannot be read as audio",
    "odd/letter.wav": "cannot be read as audio",
    "odd/short.wav": "is 0.2 s long, below datamodule.shortest=1",
    "odd/silent.wav": "is silent",
    "odd/telephone.wav": "has 8000 Hz, below sample_rate=16000",
}


@pytest.fixture
def prepared(tmp_path):
    """The recipe's data module for a folder, set up."""

    def prepared(folder, *words):
        config = load_config(["recipe=own-recordings", f"data={folder}", f"runs={tmp_path / 'runs'}", *words])
        datamodule = build(config.settings, "datamodule")
        datamodule.setup()
        return datamodule

    return prepared


def names(recordings):
    return {recording.name for recording in recordings}


def test_whole_recordings_are_held_out_by_what_they_hold(own, prepared, tmp_path):
    splits = prepared(own).splits
    assert [len(splits[split]) for split in ("train", "valid", "test")] == [11, 2, 2]
    assert len(set.union(*map(names, splits.values()))) == 15
    # Other names and places change nothing.
    renamed = tmp_path / "renamed"
    for path in own.glob("day*/*"):
        renamed.mkdir(exist_ok=True)
        shutil.copy(path, renamed / f"x{path.stem}{path.suffix}")
    again = prepared(renamed).splits
    for split, recordings in splits.items():
        assert names(again[split]) == {f"x{name.rpartition('/')[2]}" for name in names(recordings)}


def test_a_recording_with_most_of_the_time_is_trained_on(own, prepared, tmp_path):
    folder = shutil.copytree(own, tmp_path / "own")
    for seed in range(4):
        write(folder / "long.wav", syllables(seed, 30, 16000), 16000)
        splits = prepared(folder).splits
        assert "long.wav" in names(splits["train"])


def test_the_ends_of_few_recordings_are_held_out(prepared, tmp_path):
    folder = tmp_path / "few"
    for number in range(2):
        write(folder / f"{number}.wav", syllables(number, 40, 16000), 16000)
    datamodule = prepared(folder, "datamodule.duration=2")
    splits = datamodule.splits
    for split, (first, last) in {"train": (0, 320), "valid": (320, 360), "test": (360, 400)}.items():
        assert names(splits[split]) == {"0.wav", "1.wav"}
        for recording in splits[split]:
            (channel,) = recording.channels
            assert (channel.first, channel.end) == (first * 1600, last * 1600)
    for number in range(50):
        start = float(datamodule.training.draw(number, labelled=False).name.split(" around ")[1].removesuffix(" s"))
        assert start < 32
    assert len(datamodule.evaluation["test"]) == 4


def test_the_doctor_says_what_is_there_and_what_is_used(own, tmp_path, capsys):
    words = ["doctor", "recipe=own-recordings", f"data={own}", f"runs={tmp_path}"]
    assert main([*words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["found"], facts["used"]) == (21, 15)
    assert facts["skipped"].keys() == USELESS.keys()
    assert all(facts["skipped"][name].startswith(why) for name, why in USELESS.items())
    assert facts["hours"] == pytest.approx(sum(1.1 + 0.1 * number for number in range(15)) / 3600, abs=1e-3)
    assert set(facts["hours_by_rate"]) == {"16000", "44100", "48000", "22050"}
    assert sum(facts["hours_by_format"].values()) == pytest.approx(facts["hours"], abs=1e-3)
    assert facts["proposed"]["sample_rate"]["value"] == 16000 and facts["problem"] is None
    assert main([*words, "sample_rate=8000"]) == 0
    text = capsys.readouterr().out
    assert "16 of 21 recordings are used" in text and "skipped: odd/silent.wav: is silent" in text
    assert "proposed: sample_rate=16000 (in force: 8000)" in text and "proposed: num_outputs=6" in text


def test_the_doctor_says_that_there_is_too_little(tmp_path, capsys):
    write(tmp_path / "data" / "a.wav", syllables(0, 1.5, 16000), 16000)
    soundfile.write(tmp_path / "data" / "clipped.wav", np.ones(20), 16000)
    words = ["doctor", "recipe=own-recordings", f"data={tmp_path / 'data'}", f"runs={tmp_path}"]
    assert main(words) == 1
    assert "error: a.wav: what is held out of it is too short for two crops" in capsys.readouterr().out
    assert main([*words, "sample_rate=48000"]) == 1
    assert "error: " in (text := capsys.readouterr().out) and "none of its recordings can be used" in text


def test_proposals_stay_with_the_run(own, tmp_path):
    folder = shutil.copytree(own, tmp_path / "own")
    words = ["recipe=own-recordings", f"data={folder}", f"runs={tmp_path}"]
    first = load_config(words)
    fingerprint = first.settings.datamodule.recordings
    assert (first.settings.sample_rate, first.settings.num_outputs) == (16000, 6)
    assert first.settings.datamodule.sample_rate == 16000 and "proposals" not in first.plain()
    assert first.settings.separator.num_outputs == 6 and first.settings.datamodule.duration == 0.7
    for path in folder.glob("day*/*"):  # now they suggest something else
        path.unlink()
    for number in range(3):
        write(folder / f"slow{number}.wav", syllables(number, 60, 8000), 8000)
    assert load_config(words).settings.sample_rate == 8000
    first.folder.mkdir(parents=True)
    (first.folder / "config.yaml").write_text(yaml.safe_dump(first.plain()))
    assert load_config(words).settings.sample_rate == 16000
    assert load_config([*words, "sample_rate=24000"]).settings.sample_rate == 24000
    # And so does what it is trained on and tested with.
    assert load_config(words).settings.datamodule.recordings == fingerprint
    with pytest.raises(UserError, match="its recordings have changed since this run began"):
        build(load_config(words).settings, "datamodule").setup()
    build(load_config([*words, "datamodule.recordings=null"]).settings, "datamodule").setup()


@pytest.mark.parametrize("words", [["note=proposed"], ["recipe=own-recordings", "data=OWN", "optimizer.lr=proposed"]])
def test_what_nobody_proposes_is_refused(own, tmp_path, words):
    words = [word.replace("OWN", str(own)) for word in words]
    with pytest.raises(UserError, match="=proposed: nobody proposes it; give a value"):
        load_config([*words, f"runs={tmp_path}"])


def test_one_command_from_a_folder_to_separated_files(own, tmp_path, capsys):
    runs, target = tmp_path / "runs", tmp_path / "separated here"
    words = ["train", "recipe=own-recordings", f"data={own}", f"runs={runs}", f'separate_into="{target}"', *SMALL]
    lists = ["datamodule.validation_count=2", "datamodule.test_count=4"]
    assert main([*words, *lists]) == 0
    out = capsys.readouterr().out
    for name, why in USELESS.items():
        assert f"{name}: {why}" in out
    assert out.count("odd/letter.wav") == 1  # once is enough
    separated = sorted(path.parent.relative_to(target).as_posix() for path in target.rglob("separation.json"))
    assert len(separated) == 19 and "day1/14" in separated and "odd/silent" in separated
    splits = [soundfile.read(path, always_2d=True)[0] for path in sorted((target / "day0/01").glob("output_*.flac"))]
    assert np.abs(sum(splits) - soundfile.read(own / "day0/01.flac", always_2d=True)[0]).max() < 1e-4
    results = json.loads(next(runs.glob("own-recordings/*/results.json")).read_text())
    assert list(results["metrics"]) == ["momi"] and np.isfinite(results["metrics"]["momi"])
    assert results["selection_rule"].count(":") == 1  # that of the only figure
    # Where they go is no part of the run.
    assert main([*words, *lists, "separate_into=null"]) == 0
    assert "this run is finished" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["out", "..", "."])
def test_outputs_stay_apart_from_the_recordings(own, tmp_path, capsys, place):
    words = ["train", "recipe=own-recordings", f"data={own}", f"runs={tmp_path}", f"separate_into={own / place}"]
    assert main([*words, *SMALL]) == 1
    assert "lies in the other; choose another folder" in capsys.readouterr().err


@pytest.fixture
def labelled(tmp_path):
    """Three labelled mixtures of two sources, with a folder of their sums beside."""
    folder = tmp_path / "labelled"
    for number in range(3):
        sources = [syllables(50 + 2 * number + source, 2.0, 16000) for source in range(2)]
        for source, samples in enumerate(sources):
            write(folder / f"s{source + 1}" / f"{number}.wav", samples, 16000)
        write(folder / "mix_both" / f"{number}.wav", np.sum(sources, axis=0), 16000)
    return folder


def test_labelled_recordings_join(own, labelled, prepared, run):
    words = [f"labelled_data={labelled}", "objective=semi-supervised", "objective.labelled_share=0.5"]
    whole = [*words, "datamodule.max_level=0", "datamodule.duration=2", "datamodule.held_out=0.25"]
    datamodule = prepared(own, *whole)
    (labelled / "s1" / "._0.wav").write_bytes(b"of another system")
    draws = [prepared(own, *words, f"seed={seed}").training.draw(0, labelled=True).mixture for seed in range(3)]
    levels = {round(draw.square().mean().sqrt().item(), 4) for draw in draws}
    assert len(levels) == 3 and all(0.05 / 1.8 < level < 0.05 * 1.8 for level in levels)
    for number in range(6):
        mixture = datamodule.training.draw(number, labelled=True)
        assert mixture.references.shape == (2, 32000)
        assert torch.equal(mixture.references.sum(0), mixture.mixture)
        assert mixture.mixture.square().mean().sqrt().item() == pytest.approx(0.05, rel=1e-3)
        crops = mixture.references / mixture.references[0].abs().max()
        first = torch.from_numpy(soundfile.read(labelled / "s1" / f"{mixture.name[0]}.wav", dtype="float32")[0])
        assert torch.allclose(crops[0], first / first.abs().max(), atol=1e-5)  # all of it: it has the crop's length
    batch = next(iter(datamodule.train_dataloader()))
    assert batch.references.shape[:2] == (4, 2) and batch.mixtures.shape == (12, 32000)
    lists = ["datamodule.validation_count=2", "datamodule.test_count=4"]
    folder = run("own-recordings", f"data={own}", *words, *lists)
    assert "train/pit_loss" in (folder / "metrics.csv").read_text()


def test_a_crop_of_a_short_labelled_recording_is_padded(own, labelled, prepared):
    words = [f"labelled_data={labelled}", "objective=pit", "datamodule.duration=3"]
    mixture = prepared(own, *words).training.draw(0, labelled=True)
    assert mixture.mixture.shape == (48000,) and 31990 < (mixture.references[0] != 0).sum() <= 32000
    training = prepared(own, *words).training
    starts = {training.draw(number, labelled=True).mixture.nonzero().min().item() for number in range(4)}
    assert len(starts) == 4 and max(starts) <= 16000
    training = prepared(own, *words[:2], "datamodule.duration=1").training
    assert len({training.draw(number, labelled=True).name.split(" from ")[1] for number in range(8)}) > 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["objective=pit"], "give labelled_data=FOLDER"),
        (["labelled_data=LABELLED"], "no meaning for objective=mixit"),
        (["labelled_data=LABELLED/s1", "objective=pit"], "two or more folders, one for each source"),
        (["labelled_data=LABELLED", "objective=pit", "sample_rate=24000"], "16000 Hz, below sample_rate=24000"),
        (["datamodule.held_out=0.5"], "datamodule.held_out=0.5"),
        (["datamodule.fairness=2"], "datamodule.fairness=2"),
        (["datamodule.test_count=1"], "test_count must be 2 or more"),
        (["sample_rate=96000"], "none of its recordings can be used"),
    ],
)
def test_wrong_settings_are_refused(own, labelled, prepared, words, message):
    with pytest.raises(UserError, match=message):
        prepared(own, *(word.replace("LABELLED", str(labelled)) for word in words))


def test_sources_that_do_not_go_together_are_named(own, labelled, prepared):
    words = [f"labelled_data={labelled}", "objective=pit"]
    write(labelled / "s2" / "1.wav", syllables(0, 1.0, 16000), 16000)
    with pytest.raises(UserError, match=r"s2/1\.wav: 16000 samples at 16000 Hz, where .*s1/1\.wav has 32000"):
        prepared(own, *words)
    (labelled / "s2" / "1.wav").unlink()
    with pytest.raises(UserError, match=r"s2/1\.wav: missing"):
        prepared(own, *words)


@pytest.mark.skipif(not CORPORA.is_dir(), reason="the recordings beside the repository are absent")
def test_real_recordings(run):
    lists = ["datamodule.validation_count=4", "datamodule.test_count=4"]
    folder = run("own-recordings", f"data={CORPORA / 'noise' / 'valid'}", *lists)
    results = json.loads((folder / "results.json").read_text())
    assert results["num_examples_by_sources"] == {"0": 4} and np.isfinite(results["metrics"]["momi"])
