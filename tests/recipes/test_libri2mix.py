import pytest

from mixit_lightning.cli import main

from ..helpers.corpora import make_libri2mix


@pytest.mark.parametrize(("there", "asked"), [("train-360", "train-100"), ("train-100", "train-360")])
@pytest.mark.parametrize("command", ["train", "doctor"])
def test_where_only_the_other_training_split_is_there_it_is_named(tmp_path, capsys, command, there, asked):
    make_libri2mix(tmp_path, train=there)
    words = ["recipe=libri2mix", f"data={tmp_path}", f"runs={tmp_path / 'runs'}"]
    assert main([command, *words, f"datamodule.train_split={asked}"]) == 1
    error = capsys.readouterr().err
    assert asked in error and f"datamodule.train_split={there}" in error
