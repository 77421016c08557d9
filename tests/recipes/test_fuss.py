"""FUSS: its lists, new combinations of its sources, unlabelled clips, and sets made in its layout."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hydra.utils import instantiate

from mixit_lightning.cli import main
from mixit_lightning.config import load_config

from ..helpers.corpora import syllables, write
from .conftest import CORPORA

SHORT = ["datamodule.duration=0.5"]


def datamodule_of(*overrides):
    module = instantiate(load_config(["recipe=fuss", *overrides]).settings.datamodule)
    module.setup()
    return module


def samples_of(path):
    return torch.from_numpy(soundfile.read(str(path), dtype="float32")[0])


@pytest.mark.parametrize("name", ["ssdata", "ssdata_reverb"])
@pytest.mark.parametrize("below", [False, True])
def test_lists_name_mixtures_and_sources(fuss, name, below):
    data = fuss / name if below else fuss
    module = datamodule_of(f"data={data}", f"reverberant={str(name == 'ssdata_reverb').lower()}", *SHORT)
    test = module.evaluation["test"]
    assert len(test) == 4 and [len(test[number].references) for number in range(4)] == [1, 2, 3, 4]
    for number in range(4):
        stem = fuss / name / "eval" / f"example{number:05}"
        assert torch.equal(test[number].mixture, samples_of(f"{stem}.wav"))
        assert torch.equal(test[number].references[0], samples_of(f"{stem}_sources/background0_sound.wav"))
        torch.testing.assert_close(test[number].references.sum(0), test[number].mixture)
    assert module.evaluation["valid"][0].mixture.shape == (8000,)  # the middle


def test_unlabelled_mixtures_are_read_without_their_sources(fuss, monkeypatch):
    from mixit_lightning.data import prepared

    opened, read = [], prepared.read
    monkeypatch.setattr(prepared, "read", lambda path, *rest: opened.append(path) or read(path, *rest))
    module = datamodule_of(f"data={fuss}", *SHORT)
    assert all(len(module.training.draw(number, labelled=False).references) == 0 for number in range(16))
    assert {path.parent.name for path in opened} == {"train"}


@pytest.mark.parametrize("labelled", [False, True])
def test_recombined_mixtures_have_one_background_and_foregrounds_of_other_examples(fuss, labelled):
    module = datamodule_of(
        f"data={fuss}", "datamodule.dynamic=true", "objective=semi-supervised", "objective.labelled_share=0.5", *SHORT
    )
    rows = module.training.rows[labelled]
    stems = {row.name for row in rows}
    counts = set()
    for number in range(60):
        item = module.training.draw(number, labelled=labelled)
        used = item.name.split("_")
        assert set(used) <= stems
        counts.add(len(used))
        if labelled:
            torch.testing.assert_close(item.references.sum(0), item.mixture)
            assert len(item.references) == len(used)
            background = samples_of(next(row for row in rows if row.name == used[0]).references[0])
            starts = (background == item.references[0][0]).nonzero().flatten().tolist()
            crops = [background[start : start + 8000] for start in starts]
            assert any(torch.equal(crop, item.references[0]) for crop in crops)  # at its level
        else:
            assert len(item.references) == 0
    assert counts <= {len(row.references) for row in rows} and len(counts) > 1
    other = {row.name for row in module.training.rows[not labelled]}
    assert not stems & other


@pytest.fixture
def clips(tmp_path):
    for number in range(3):
        write(tmp_path / "clips" / f"clip{number}.wav", syllables(500 + number, 0.3 + 0.4 * number, 22050), 22050)
    return tmp_path / "clips"


def test_clips_are_the_unlabelled_examples_as_loud_as_they_are(fuss, clips):
    module = datamodule_of(
        f"data={fuss}", f"unlabelled={clips}", "objective=semi-supervised", "objective.labelled_share=0.5", *SHORT
    )
    unlabelled = [module.training.draw(number, labelled=False) for number in range(30)]
    assert {item.name for item in unlabelled} == {f"clip{number}.wav" for number in range(3)}
    assert all(item.mixture.shape == (8000,) and len(item.references) == 0 for item in unlabelled)
    assert 0.02 < float(torch.stack([item.mixture for item in unlabelled]).square().mean().sqrt()) < 0.2
    labelled = {module.training.draw(number, labelled=True).name for number in range(8)}
    assert len(labelled) == 8  # all of the set


def test_one_mixture_in_some_examples_is_left_silent(fuss):
    module = datamodule_of(f"data={fuss}", "datamodule.silent_share=0.3", *SHORT)
    silent = []
    for batch in iter(module.train_dataloader()):
        pairs = batch.mixtures.view(-1, 2, 8000).abs().amax(-1) == 0
        assert not pairs.all(1).any()
        silent += pairs.tolist()
        if len(silent) >= 300:
            break
    silent = torch.tensor(silent)
    assert 0.2 < silent.any(1).float().mean() < 0.4
    assert silent[:, 0].any() and silent[:, 1].any()


# Sets made of one's own sounds


def make_sounds(folder: Path) -> Path:
    """Sounds shorter and longer than an example, some foregrounds silent at first."""
    for split_number, split in enumerate(("train", "valid", "test")):
        for number in range(3):
            seed = 100 * split_number + number
            write(folder / "backgrounds" / split / f"{seed}.wav", syllables(seed, 0.7 + number, 16000), 16000)
            bang = np.concatenate([np.zeros(4000 * number), syllables(seed + 50, 0.2 + 0.6 * number, 16000)])
            write(folder / "foregrounds" / split / f"{seed}.wav", bang, 16000)
        write(
            folder / "foregrounds" / split / f"late{split_number}.wav", np.append(np.zeros(30000), bang[-800:]), 16000
        )
    return folder


def prepare(sounds, data, *overrides):
    words = [f"data={data}", f"backgrounds={sounds / 'backgrounds'}", f"foregrounds={sounds / 'foregrounds'}"]
    counts = ["preparation.counts=[12,5,5]", "datamodule.duration=1.0"]
    return main(["prepare", "recipe=fuss", *words, *counts, *overrides])


def integers(path):
    samples, rate = soundfile.read(str(path), dtype="int16")
    assert rate == 16000 and soundfile.info(str(path)).subtype == "PCM_16"
    return samples.astype(int)


def test_a_set_of_ones_own_sounds_has_the_layout_of_fuss(tmp_path, run):
    sounds, data = make_sounds(tmp_path), tmp_path / "data"
    assert prepare(sounds, data) == 0
    root = data / "ssdata"
    seen = set()
    for split, count in {"train": 12, "validation": 5, "eval": 5}.items():
        lines = (root / f"{split}_example_list.txt").read_text().splitlines()
        digits = len(str(count))
        for number, line in enumerate(lines):
            mixture, background, *foregrounds = line.split("\t")
            stem = f"{split}/example{number:0{digits}}"
            assert mixture == f"{stem}.wav" and background == f"{stem}_sources/background0_sound.wav"
            assert foregrounds == [f"{stem}_sources/foreground{k}_sound.wav" for k in range(len(foregrounds))]
            sources = [integers(root / path) for path in (background, *foregrounds)]
            np.testing.assert_array_equal(sum(sources), integers(root / mixture))
            assert all(len(source) == 16000 and np.abs(source).max() > 3 for source in sources)
            assert np.abs(sources[0][-4000:]).max() > 0  # lasts, though some recordings are shorter
            seen.add(len(sources))
        assert len(lines) == count
    assert seen == {1, 2, 3, 4}
    assert main(["doctor", "recipe=fuss", f"data={data}", "datamodule.duration=1.0"]) == 0
    assert (run("fuss", f"data={data}") / "report.html").is_file()
    made = {path.relative_to(data): path.read_bytes() for path in sorted(data.rglob("*.wav"))}
    other = tmp_path / "other"
    assert prepare(sounds, other) == 0
    assert {path.relative_to(other): path.read_bytes() for path in sorted(other.rglob("*.wav"))} == made
    assert prepare(sounds, tmp_path / "third", "preparation.seed=1") == 0
    changed = {path.relative_to(tmp_path / "third"): path.read_bytes() for path in (tmp_path / "third").rglob("*.wav")}
    common = set(made) & set(changed)
    assert sum(made[path] == changed[path] for path in common) < len(common) / 2


def test_foregrounds_are_above_their_background_by_the_range(tmp_path):
    """With foregrounds that fill the whole example, levels can be read off the files."""
    for split in ("train", "valid", "test"):
        for number in range(2):
            write(tmp_path / "backgrounds" / split / f"b{number}.wav", syllables(number, 2.0, 16000), 16000)
            write(
                tmp_path / "foregrounds" / split / f"f{number}.wav",
                np.sign(syllables(9 + number, 3.0, 16000)) / 9,
                16000,
            )
    words = ["preparation.max_foregrounds=2", "preparation.snr=[3,9]", "preparation.counts=[40,1,1]"]
    assert prepare(tmp_path, tmp_path / "data", *words) == 0
    ratios = []
    for background in (tmp_path / "data").rglob("background0_sound.wav"):
        for foreground in background.parent.glob("foreground*.wav"):
            sounding = integers(foreground)
            sounding = sounding[sounding != 0]
            ratios.append(10 * np.log10(np.mean(sounding**2) / np.mean(integers(background) ** 2)))
    assert len(ratios) > 20 and 2.9 < min(ratios) < 4 and 8 < max(ratios) < 9.1


@pytest.mark.skipif(not CORPORA.is_dir(), reason="the recordings beside the repository are absent")
def test_a_set_of_real_sounds_trains_with_real_clips(tmp_path, run):
    words = [f"backgrounds={CORPORA / 'noise'}", f"foregrounds={CORPORA / 'events'}", f"data={tmp_path}"]
    assert main(["prepare", "recipe=fuss", *words, "preparation.counts=[6,4,4]", "datamodule.duration=2.0"]) == 0
    folder = run(
        "fuss",
        f"data={tmp_path}",
        f"unlabelled={CORPORA / 'noise' / 'train'}",
        "objective=semi-supervised",
        "objective.labelled_share=0.5",
        "datamodule.dynamic=true",
    )
    assert (folder / "report.html").is_file()


# Bad input


@pytest.fixture
def copy(fuss, tmp_path):
    return shutil.copytree(fuss, tmp_path / "data")


def refused(capfd, *words):
    assert main(["train", "recipe=fuss", *SHORT, "debug=fast", *words]) == 1
    return capfd.readouterr().err.strip().splitlines()[-1]


def test_a_source_that_is_listed_but_missing(copy, capfd):
    path = copy / "ssdata" / "validation" / "example00002_sources" / "foreground1_sound.wav"
    path.unlink()
    message = refused(capfd, f"data={copy}")
    assert "validation_example_list.txt, line 3" in message and str(path) in message


def test_more_sources_than_outputs(copy, capfd):
    message = refused(capfd, f"data={copy}", "num_outputs=3")
    assert "train_example_list.txt, line 4: 4 sources, but num_outputs=3" in message


@pytest.mark.parametrize("content", ["", "train/example00000.wav\n", None])
def test_lists_that_say_nothing_or_are_missing(copy, capfd, content):
    path = copy / "ssdata" / "train_example_list.txt"
    path.unlink() if content is None else path.write_text(content)
    assert f"mixit: {path}{', line 1' if content else ''}: " in refused(capfd, f"data={copy}")


def test_sources_of_another_length_or_rate(copy, capfd):
    path = copy / "ssdata" / "eval" / "example00001_sources" / "background0_sound.wav"
    soundfile.write(path, np.zeros(100), 16000)
    assert f"{path}: 100 samples" in refused(capfd, f"data={copy}")
    soundfile.write(path, np.zeros(12800), 8000)
    assert f"{path}: 8000 Hz" in refused(capfd, f"data={copy}")


def test_clips_that_are_silent(copy, clips, capfd):
    for path in clips.iterdir():
        soundfile.write(path, np.zeros(9000), 16000)
    message = refused(capfd, f"data={copy}", f"unlabelled={clips}", "objective=mixit")
    assert str(clips) in message


def test_too_few_sounds_to_make_a_set_of(tmp_path, capfd):
    sounds = make_sounds(tmp_path)
    for path in sorted((sounds / "foregrounds" / "valid").iterdir())[:2]:
        path.unlink()
    assert prepare(sounds, tmp_path / "data") == 1
    assert "preparation.max_foregrounds=3" in capfd.readouterr().err
    assert prepare(tmp_path / "nowhere", tmp_path / "data") == 1
    assert "nowhere" in capfd.readouterr().err
    assert not (tmp_path / "data").exists()


def test_backgrounds_with_silence_in_them(tmp_path, capfd):
    sounds = make_sounds(tmp_path)
    for path in (sounds / "backgrounds" / "test").iterdir():
        write(path, np.append(syllables(0, 1.5, 16000), np.zeros(3 * 16000)), 16000)
    assert prepare(sounds, tmp_path / "data") == 0
    for path in (tmp_path / "data").rglob("background0_sound.wav"):
        assert np.abs(integers(path)).max() > 3
    for path in (sounds / "backgrounds" / "test").iterdir():
        write(path, np.append(np.ones(1) / 2, np.zeros(200 * 16000)), 16000)
    assert prepare(sounds, tmp_path / "other") == 1
    assert "backgrounds" in capfd.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("preparation.snr=[5]", "preparation.snr=[5]"),
        ("preparation.snr=[9,3]", "preparation.snr=[9, 3]"),
        ("preparation.counts=[2,1]", "preparation.counts"),
    ],
)
def test_settings_of_preparation_that_do_not_fit(tmp_path, capfd, word, message):
    assert prepare(make_sounds(tmp_path), tmp_path / "data", word) == 1
    assert message in capfd.readouterr().err.strip().splitlines()[-1]


def test_the_dry_set_is_not_taken_for_the_reverberant_one(fuss, capfd):
    message = refused(capfd, f"data={fuss / 'ssdata'}", "reverberant=true")
    assert "reverberant=true" in message


def test_a_background_too_short_to_be_repeated(tmp_path, capfd):
    sounds = make_sounds(tmp_path)
    for path in (sounds / "backgrounds" / "test").iterdir():
        write(path, syllables(0, 0.3, 16000), 16000)
    assert prepare(sounds, tmp_path / "data") == 1
    message = capfd.readouterr().err.strip().splitlines()[-1]
    assert str(sounds / "backgrounds" / "test") in message
