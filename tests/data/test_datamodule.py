from itertools import pairwise

import lightning
import pytest
import torch

from mixit_lightning.data import DynamicMixtures, MixtureDataModule
from mixit_lightning.data.dynamic import FixedMixtures
from mixit_lightning.data.mixture import NO_MARGIN
from mixit_lightning.errors import UserError


class Noises:
    groups = ("a", "b", "c")

    def draw(self, group, rng, length, margin=NO_MARGIN):
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


def go_to(loader, epoch):
    """What a Trainer's step count does."""
    loader.sampler.steps_taken = lambda: epoch * len(loader)


def test_number_of_loading_processes_changes_nothing():
    for alone, shared in zip(loaders(make()), loaders(make(num_workers=2)), strict=True):
        batches = list(zip(alone, shared, strict=True))
        assert len(batches) in (3, 6, 7)
        for one, other in batches:
            assert one.names == other.names
            for a, b in zip(one[:-1], other[:-1], strict=True):
                assert torch.equal(a, b)


class Listener(lightning.LightningModule):
    """Writes down what it is given to train on."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, number):
        self.seen.append(batch.names)
        return self.weight * batch.mixtures.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def train(tmp_path, max_steps, resume=False, accumulate=1, **settings):
    """Names of the batches of a training, which goes on from the last one in the same folder if asked to."""
    listener = Listener()
    trainer = lightning.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        max_steps=max_steps,
        max_epochs=-1,
        accumulate_grad_batches=accumulate,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
    )
    path = tmp_path / "last.ckpt"
    trainer.fit(listener, datamodule=Noise(**(SETTINGS | settings)), ckpt_path=path if resume else None)
    trainer.save_checkpoint(path)
    return listener.seen


def test_training_draws_new_mixtures_in_every_epoch_and_a_seed_is_a_run(tmp_path):
    seen = train(tmp_path, 18)
    names = [name for batch in seen for name in batch]
    assert len(seen) == 18 and len(set(names)) == len(names)
    assert train(tmp_path, 18) == seen
    assert not {name for batch in train(tmp_path, 18, seed=1) for name in batch} & set(names)


@pytest.mark.parametrize("steps", [4, 9, 18])
def test_the_number_of_steps_between_validations_does_not_change_what_is_drawn(tmp_path, steps):
    assert train(tmp_path, 18, steps_per_epoch=steps) == train(tmp_path, 18)


@pytest.mark.parametrize("stop", [6, 8, 12])
def test_training_that_is_resumed_draws_what_it_would_have_drawn(tmp_path, stop):
    assert train(tmp_path, stop) + train(tmp_path, 18, resume=True) == train(tmp_path, 18)


def test_steps_over_several_batches_repeat_none(tmp_path):
    assert train(tmp_path, 9, accumulate=2) == train(tmp_path, 18)


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
    with pytest.raises(UserError, match=f"datamodule.{key}"):
        make(**{key: 0})


def test_setting_up_twice_finds_the_recordings_once():
    module = make()
    training = module.training
    module.setup("fit")
    assert module.training is training


def test_the_sampler_has_the_settings():
    sampler = make(seed=3, num_mixtures=4).train_dataloader().sampler
    assert (sampler.batch_size, sampler.labelled_share) == (4, 0.3)
    assert (sampler.steps, sampler.seed, sampler.rank, sampler.world_size) == (6, 3, 0, 1)
