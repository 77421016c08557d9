from itertools import pairwise

import pytest
import torch

from mixit_lightning.data import DynamicMixtures, MixtureDataModule
from mixit_lightning.data.dynamic import FixedMixtures
from mixit_lightning.errors import UserError


class Noises:
    groups = ("a", "b", "c")

    def draw(self, group, rng, length):
        return group, rng.standard_normal(length)


class Noise(MixtureDataModule):
    def mixtures(self, seed):
        return DynamicMixtures(Noises(), Noises(), (0.5, 0.5), self.length, 2.5, seed)

    def training_mixtures(self):
        return self.mixtures(self.seed)

    def evaluation_mixtures(self, split):
        return FixedMixtures(self.mixtures(100 if split == "valid" else 101), [2, 5])


SETTINGS = {
    "sample_rate": 8000,
    "duration": 0.01,
    "batch_size": 4,
    "labelled_share": 0.3,
    "num_mixtures": 2,
    "steps_per_epoch": 6,
    "evaluation_batch_size": 3,
    "num_workers": 0,
}


def make(**settings):
    module = Noise(**(SETTINGS | settings))
    module.setup()
    return module


def loaders(module):
    return [module.train_dataloader(), module.val_dataloader(), module.test_dataloader()]


def test_number_of_loading_processes_changes_nothing():
    for alone, shared in zip(loaders(make()), loaders(make(num_workers=2)), strict=True):
        for epoch in range(2):
            for loader in (alone, shared):
                if hasattr(loader.sampler, "set_epoch"):
                    loader.sampler.set_epoch(epoch)
            batches = list(zip(alone, shared, strict=True))
            assert len(batches) in (3, 6, 7)
            for one, other in batches:
                assert one.names == other.names
                for a, b in zip(one[:-1], other[:-1], strict=True):
                    assert torch.equal(a, b)


def test_epochs_are_of_new_mixtures_and_a_seed_is_a_run():
    def names(seed, epochs=2):
        loader = make(seed=seed).train_dataloader()
        seen = []
        for epoch in range(epochs):
            loader.sampler.set_epoch(epoch)
            seen.append([name for batch in loader for name in batch.names])
        return seen

    first, second = names(0)
    assert not set(first) & set(second)
    assert names(0) == [first, second]
    assert not set(names(1)[0]) & set(first)


def test_the_number_of_steps_between_validations_does_not_change_what_is_drawn():
    def names(steps, epochs):
        loader = make(steps_per_epoch=steps, labelled_share=0.25).train_dataloader()
        seen = []
        for epoch in range(epochs):
            loader.sampler.set_epoch(epoch)
            seen += [batch.names for batch in loader]
        return seen

    assert names(6, 2) == names(12, 1) == names(4, 3)


def test_every_evaluation_goes_through_the_whole_list_in_order():
    module = make()
    for split, loader in zip(("valid", "test"), loaders(module)[1:], strict=True):
        expected = [module.evaluation[split][number].name for number in range(7)]
        for _ in range(2):
            assert [name for batch in loader for name in batch.names] == expected
    assert [len(batch.names) for batch in module.test_dataloader()] == [1] * 7
    assert all(one.names != other.names for one, other in pairwise(module.val_dataloader()))


@pytest.mark.parametrize("key", ["batch_size", "steps_per_epoch", "evaluation_batch_size", "duration"])
def test_sizes_that_are_not_positive_are_refused_by_name(key):
    with pytest.raises(UserError, match=f"datamodule.{key} must be positive"):
        make(**{key: 0})


def test_setting_up_twice_finds_the_recordings_once():
    module = make()
    training = module.training
    module.setup("fit")
    assert module.training is training
