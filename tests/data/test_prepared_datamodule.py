"""The 2-source and the 1-or-2-source task over prepared sets, on a module that knows two folders."""

from collections import Counter

import numpy as np
import pytest
import soundfile
import torch

from mixit_lightning.data import PreparedDataModule, find_rows
from mixit_lightning.errors import UserError

ROWS = 12


class TwoFolders(PreparedDataModule):
    def __init__(self, folder, **settings):
        defaults = {
            "train_share": 1.0,
            "one_source_share": 0.0,
            "evaluate_one_source": False,
            "dynamic": False,
            "max_level": 2.5,
            "speeds": [1.0],
            "sample_rate": 8000,
            "duration": 0.01,
            "batch_size": 2,
            "labelled_share": 0.0,
            "num_mixtures": 2,
            "steps_per_epoch": 2,
        }
        super().__init__(**defaults | settings)
        self.folder = folder
        self.setup()

    def rows(self, split):
        return find_rows(self.folder, "mix", ("s1", "s2"), self.sample_rate)

    def speakers(self, row):
        return [part[0] for part in row.name.split("_")]


@pytest.fixture
def folder(tmp_path):
    """Speaker n sounds at n + 1 twentieths of the Nyquist frequency."""
    time = np.arange(200)
    for row in range(ROWS):
        first, second = (0.3 * np.sin(np.pi * (n + 1) / 20 * time) for n in (row % 4, 4 + row % 5))
        for part, samples in {"s1": first, "s2": second, "mix": first + second}.items():
            (tmp_path / part).mkdir(exist_ok=True)
            name = f"{'abcd'[row % 4]}{row:02}_{'efghi'[row % 5]}{row:02}.wav"
            soundfile.write(str(tmp_path / part / name), samples, 8000, subtype="FLOAT")
    return tmp_path


def items(module, count=200, labelled=True):
    return [module.training.draw(number, labelled=labelled) for number in range(count)]


def speaker_of(samples):
    """Number of the speaker who sounds in 200 samples."""
    return round(np.abs(np.fft.rfft(samples.numpy())).argmax() / 5) - 1


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_one_speaker_items_is_the_one_asked_for(folder, dynamic, share):
    module = TwoFolders(folder, labelled_share=1.0, dynamic=dynamic, one_source_share=share)
    ones = sum(len(item.references) == 1 for item in items(module))
    assert abs(ones - 200 * share) <= 4 * np.sqrt(200 * share * (1 - share))
    for item in items(module, 20):
        torch.testing.assert_close(item.references.sum(0), item.mixture, atol=1e-6, rtol=0)


def test_one_speaker_items_are_evaluated_apart_where_asked_for(folder):
    plain = TwoFolders(folder, one_source_share=0.5)
    both = TwoFolders(folder, evaluate_one_source=True)
    for split in ("valid", "test"):
        assert [len(plain.evaluation[split][n].references) for n in range(ROWS)] == [2] * ROWS
        assert len(plain.evaluation[split]) == ROWS and len(both.evaluation[split]) == 2 * ROWS
        alone = [both.evaluation[split][n] for n in range(ROWS, 2 * ROWS)]
        for number, item in enumerate(alone):
            pair = both.evaluation[split][number]
            assert torch.equal(item.mixture, pair.references[number % 2])
            assert torch.equal(item.references, item.mixture[None])


def test_mixing_anew_makes_pairs_and_levels_that_are_not_on_disk(folder):
    module = TwoFolders(folder, labelled_share=1.0, dynamic=True, duration=0.025)
    drawn = items(module)
    pairs = Counter(tuple(sorted(speaker_of(reference) for reference in item.references)) for item in drawn)
    assert all(one != other for one, other in pairs)
    assert len(pairs) == 9 * 8 / 2
    levels = torch.stack([20 * item.references.square().mean(-1).sqrt().log10() for item in drawn])
    differences = levels[:, 0] - levels[:, 1]
    assert differences.abs().max() <= 5.01 and differences.abs().max() > 3 and len(set(differences.tolist())) == 200
    assert not torch.equal(drawn[0].mixture, items(TwoFolders(folder, dynamic=True, seed=1))[0].mixture)
    again = items(TwoFolders(folder, labelled_share=1.0, dynamic=True, duration=0.025))
    assert all(torch.equal(one.mixture, other.mixture) for one, other in zip(drawn, again, strict=True))


@pytest.mark.parametrize("dynamic", [False, True])
def test_what_is_drawn_does_not_depend_on_the_number_of_workers(folder, dynamic):
    def batches(workers):
        module = TwoFolders(folder, dynamic=dynamic, one_source_share=0.5, num_workers=workers, steps_per_epoch=5)
        return [batch.mixtures for batch in module.train_dataloader()]

    for one, other in zip(batches(0), batches(3), strict=True):
        assert torch.equal(one, other)


def test_labelled_and_unlabelled_mixtures_are_made_of_different_rows(folder):
    module = TwoFolders(folder, labelled_share=0.5, dynamic=True)

    def rows(labelled):
        return {path.stem for paths in module.training.pools[labelled].recordings.values() for path in paths}

    assert len(rows(True)) == len(rows(False)) == ROWS / 2 and not rows(True) & rows(False)


def test_names_that_do_not_tell_the_speakers_are_refused_for_mixing_anew(folder):
    for part in ("mix", "s1", "s2"):
        path = next(iter(sorted((folder / part).iterdir())))
        path.rename(path.with_name("anyone.wav"))
    TwoFolders(folder)
    with pytest.raises(UserError, match=r"anyone\.wav: "):
        TwoFolders(folder, dynamic=True)


def test_a_share_of_the_training_mixtures_is_the_same_for_every_seed_and_nothing_else_is_read(folder):
    def names_drawn(**settings):
        module = TwoFolders(folder, train_share=0.25, **settings)
        return {module.training.draw(number, labelled=False).name for number in range(60)}

    few = names_drawn(seed=0)
    assert len(few) == ROWS // 4 and few == names_drawn(seed=1)
    assert len(TwoFolders(folder, train_share=0.25).evaluation["test"]) == ROWS
    dynamic = TwoFolders(folder, train_share=0.25, dynamic=True)
    assert {row.name for row in dynamic.training_rows()} == few
    paths = {recording.path for recording in dynamic.recordings(dynamic.training_rows())}
    pool = dynamic.training.pools[False]
    assert set().union(*pool.recordings.values()) == paths
    for share in (0.0, 0.01, 1.5):
        with pytest.raises(UserError, match="train_share"):
            TwoFolders(folder, train_share=share)
