"""What is wrong with the recordings is said in one line that names the file or the key, and nothing half-done stays."""

import shutil

import numpy as np
import pytest
import soundfile

from mixit_lightning.cli import main

from ..helpers.small import COUNTS, SMALL

SPLIT = "2speakers/wav8k/min/tr"


@pytest.fixture
def attempt(tmp_path, capfd, monkeypatch):
    """Train; check that it is refused in one line and leaves nothing half-written; gives the line."""
    monkeypatch.delenv("WSJ0_2MIX_DATA", raising=False)
    monkeypatch.delenv("SPEECH_FOLDER_DATA", raising=False)
    runs = tmp_path / "runs"

    def attempt(*words, before_training=True):
        status = main(["train", f"runs={runs}", *SMALL, *words])
        lines = capfd.readouterr().err.strip().splitlines()
        assert status == 1
        messages = [line for line in lines if line.startswith("mixit: ")]
        assert len(messages) == 1 and lines[-1] == messages[0]
        assert not [line for line in lines if "Traceback" in line or "Error" in line]
        assert not list(tmp_path.rglob("*.partial"))
        if before_training:
            assert lines == messages
            assert not list(runs.glob("*/*"))
        return messages[0]

    return attempt


@pytest.fixture
def mixtures(two_speakers, tmp_path):
    """A copy of the prepared mixtures to break."""
    part = "2speakers/wav8k/min"
    return shutil.copytree(two_speakers / part, tmp_path / "data" / part).parents[2]


@pytest.fixture
def speakers(speech, tmp_path):
    """A copy of the speech to break."""
    return shutil.copytree(speech, tmp_path / "data")


def cut_off(path):
    content = path.read_bytes()
    path.write_bytes(content[: 2 * len(content) // 3])


def spoil(path):
    samples, sample_rate = soundfile.read(path)
    samples[len(samples) // 2] = np.nan
    soundfile.write(path, samples, sample_rate, subtype="FLOAT")


@pytest.mark.parametrize("recipe", ["wsj0-2mix", "speech-folder"])
def test_no_data_root(attempt, recipe):
    message = attempt(f"recipe={recipe}")
    assert "data=PATH" in message and f"{recipe.upper().replace('-', '_')}_DATA" in message


@pytest.mark.parametrize("recipe", ["wsj0-2mix", "speech-folder"])
def test_data_root_that_is_nowhere(attempt, tmp_path, recipe):
    assert f"data={tmp_path / 'nowhere'}: no such folder" in attempt(f"recipe={recipe}", f"data={tmp_path}/nowhere")


def test_data_root_of_the_environment_that_is_nowhere(attempt, tmp_path, monkeypatch):
    monkeypatch.setenv("WSJ0_2MIX_DATA", str(tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere") in attempt("recipe=wsj0-2mix")


@pytest.mark.parametrize(("recipe", "missing"), [("wsj0-2mix", SPLIT), ("speech-folder", "train")])
def test_empty_data_root(attempt, tmp_path, recipe, missing):
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty" / missing) in attempt(f"recipe={recipe}", f"data={tmp_path / 'empty'}")


def test_folder_without_recordings(attempt, mixtures):
    for path in (mixtures / SPLIT / "s1").iterdir():
        path.unlink()
    assert f"{mixtures / SPLIT / 's1'}: no recordings" in attempt("recipe=wsj0-2mix", f"data={mixtures}")


def row(folder, number):
    """A file of that place in the list."""
    return sorted(folder.iterdir())[number]


@pytest.mark.parametrize("split", ["tr", "cv", "tt"])
def test_missing_reference(attempt, mixtures, split):
    path = row(mixtures / "2speakers/wav8k/min" / split / "s2", 1)
    path.unlink()
    assert f"mixit: {path}: missing" in attempt("recipe=wsj0-2mix", f"data={mixtures}")


def test_reference_of_another_length(attempt, mixtures):
    path = row(mixtures / SPLIT / "s1", 1)
    soundfile.write(path, np.zeros(100), 8000)
    assert f"mixit: {path}: 100 samples" in attempt("recipe=wsj0-2mix", f"data={mixtures}")


def test_reference_that_is_cut_off(attempt, mixtures):
    path = row(mixtures / SPLIT / "s1", 1)
    cut_off(path)
    assert f"mixit: {path}: is cut off" in attempt("recipe=wsj0-2mix", f"data={mixtures}")


def test_mixture_at_another_rate(attempt, mixtures):
    path = row(mixtures / SPLIT / "mix", 2)
    samples, _ = soundfile.read(path)
    soundfile.write(path, samples, 16000)
    assert f"mixit: {path}: 16000 Hz where sample_rate=8000" in attempt("recipe=wsj0-2mix", f"data={mixtures}")


def test_speech_below_the_wanted_rate(attempt, speakers):
    path = speakers / "valid" / "valid-0" / "10.flac"
    samples, _ = soundfile.read(path)
    soundfile.write(path, samples, 11025)
    message = attempt("recipe=speech-folder", f"data={speakers}", "sample_rate=16000", *COUNTS)
    assert f"mixit: {path}: 11025 Hz, below sample_rate=16000" in message


def test_one_speaker_only(attempt, speakers):
    for number in (1, 2):
        shutil.rmtree(speakers / "test" / f"test-{number}")
    message = attempt("recipe=speech-folder", f"data={speakers}", *COUNTS)
    assert f"{speakers / 'test'}: only one speaker (test-0)" in message


def test_more_speakers_in_a_mixture_than_there_are(attempt, speakers):
    message = attempt("recipe=speech-folder", f"data={speakers}", "datamodule.source_shares=[0,0,0,1]", *COUNTS)
    assert "source_shares asks for 4 sources, but there are 3" in message


def test_share_that_leaves_nothing_labelled(attempt, mixtures):
    message = attempt("recipe=wsj0-2mix", f"data={mixtures}", "objective=semi-supervised")
    assert "objective.labelled_share=0.1 leaves no labelled mixture of 4" in message


def test_size_that_is_not_positive(attempt):
    assert "datamodule.batch_size" in attempt("recipe=synthetic", "datamodule.batch_size=0")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_flac_that_is_cut_off(attempt, speakers, num_workers):
    """The header is whole, so that it shows only when the file is read, in the training or in a loading process."""
    paths = list((speakers / "train").rglob("*.flac"))
    for path in paths:
        cut_off(path)
    message = attempt(
        "recipe=speech-folder",
        f"data={speakers}",
        f"datamodule.num_workers={num_workers}",
        *COUNTS,
        before_training=False,
    )
    assert any(message.startswith(f"mixit: {path}: ") for path in paths)


@pytest.mark.parametrize("split", ["tr", "cv", "tt"])
def test_samples_that_are_no_numbers(attempt, mixtures, split):
    path = row(mixtures / "2speakers/wav8k/min" / split / "mix", 0)
    spoil(path)
    message = attempt("recipe=wsj0-2mix", f"data={mixtures}", before_training=False)
    assert message.startswith(f"mixit: {path}: holds samples that are not finite")


def test_silent_recording(attempt, speakers):
    for path in (speakers / "train").rglob("*.*"):
        soundfile.write(path, np.zeros(8000), 16000)
    message = attempt("recipe=speech-folder", f"data={speakers}", *COUNTS, before_training=False)
    assert str(speakers / "train") in message and "is silent" in message
