import numpy as np
import pytest
import torch

from mixit_lightning.data.batches import Drawing, EvaluationDataset, TrainingDataset, TrainingSampler
from mixit_lightning.data.mixture import Mixture
from mixit_lightning.errors import UserError


def sampler(steps_taken=0, share=0.25, batch_size=8, steps=5, seed=0, **processes):
    return TrainingSampler(batch_size, share, steps, seed, lambda: steps_taken, **processes)


@pytest.mark.parametrize("num_mixtures", [2, 3])
@pytest.mark.parametrize("share", [0, 0.25, 0.5, 1])
def test_whole_shares_are_exact_in_every_batch(share, num_mixtures):
    batches = list(sampler(share=share, steps=30))
    assert len(batches) == len(sampler(steps=30)) == 30
    for batch in batches:
        assert len(batch.labelled) == 8 * share
        assert len(batch.members(num_mixtures)) == (8 - 8 * share) * num_mixtures


@pytest.mark.parametrize(("share", "batch_size", "low"), [(0.1, 8, 0), (0.3, 8, 2), (0.5, 3, 1)])
def test_other_shares_are_right_in_expectation(share, batch_size, low):
    counts = [len(batch.labelled) for batch in sampler(share=share, batch_size=batch_size, steps=4000)]
    assert set(counts) == {low, low + 1}
    # Four standard errors of the mean, of a deviation of at most 1/2.
    assert abs(np.mean(counts) - share * batch_size) < 4 * 0.5 / np.sqrt(4000)


def test_a_share_that_binary_numbers_cannot_hold_is_whole_all_the_same():
    # 10 * 0.3 is a little more than 3, 100 * 0.29 a little less than 29.
    assert {len(batch.labelled) for batch in sampler(share=0.1 * 3, batch_size=10, steps=500)} == {3}
    assert {len(batch.labelled) for batch in sampler(share=0.29, batch_size=100, steps=500)} == {29}


@pytest.mark.parametrize("num_mixtures", [2, 3])
@pytest.mark.parametrize("share", [0, 0.1, 0.25, 0.37, 1])
def test_numbers_neither_repeat_nor_leave_gaps_over_epochs(share, num_mixtures):
    labelled, unlabelled = [], []
    for epoch in range(6):
        for batch in sampler(5 * epoch, share):
            labelled += batch.labelled
            unlabelled += batch.members(num_mixtures)
    assert labelled == list(range(len(labelled)))
    assert unlabelled == list(range(len(unlabelled)))
    assert len(labelled) + len(unlabelled) / num_mixtures == 6 * 5 * 8


def test_rounding_depends_on_the_seed_and_is_new_in_every_epoch():
    def counts(epoch, seed):
        batches = sampler(60 * epoch, share=0.5, batch_size=1, steps=60, seed=seed)
        return tuple(len(batch.labelled) for batch in batches)

    assert counts(0, 0) == counts(0, 0)
    assert len({counts(epoch, seed) for epoch in range(3) for seed in range(3)}) == 9


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 1])
@pytest.mark.parametrize("count", [2, 3, 6])
def test_processes_share_the_batches_of_one_evenly(share, count):
    for epoch in range(3):
        place = {"steps_taken": 12 * epoch, "share": share, "steps": 12, "batch_size": 6}
        parts = [sampler(**place, rank=rank, world_size=count) for rank in range(count)]
        for alone, *batches in zip(sampler(**place), *parts, strict=True):
            assert {len(batch.labelled) + len(batch.unlabelled) for batch in batches} == {6 // count}
            for kind in ("labelled", "unlabelled"):
                drawn = [getattr(batch, kind) for batch in batches]
                assert sorted(number for part in drawn for number in part) == list(getattr(alone, kind))
                # Neither is one process left with all that have references.
                assert max(map(len, drawn)) - min(map(len, drawn)) <= 1


def test_processes_that_cannot_share_a_batch_are_refused():
    with pytest.raises(UserError, match=r"datamodule\.batch_size=8"):
        sampler(world_size=3)


@pytest.mark.parametrize("steps_taken", [1, 7, 29])
def test_going_on_in_the_middle_of_an_epoch_draws_its_rest(steps_taken):
    through = (
        list(sampler(share=0.37, steps=10)) + list(sampler(10, 0.37, steps=10)) + list(sampler(20, 0.37, steps=10))
    )
    end = (steps_taken // 10 + 1) * 10
    assert list(sampler(steps_taken, 0.37, steps=10)) == through[steps_taken:end]


@pytest.mark.parametrize("share", [0, 0.37, 1])
def test_going_on_after_any_step_and_epochs_of_any_length_draw_the_same(share):
    through = list(sampler(share=share, steps=30))
    for steps in (1, 6, 7, 15):
        for steps_taken in range(0, 30 - steps, steps):
            assert list(sampler(steps_taken, share, steps=steps)) == through[steps_taken : steps_taken + steps]


def test_the_number_of_steps_taken_is_asked_before_every_epoch():
    taken = iter([0, 5, 10])
    batches = TrainingSampler(8, 0.37, 5, 0, lambda: next(taken))
    assert [*batches, *batches, *batches] == list(sampler(share=0.37, steps=15))


class Numbered:
    """Labelled mixture n is n, unlabelled n is -n; labelled ones have one or two references."""

    def draw(self, number, *, labelled):
        value = float(number if labelled else -number)
        count = 1 + number % 2 if labelled else 0
        return Mixture(f"{labelled}{number}", torch.full((6,), value), torch.full((count, 6), value / max(1, count)))


def test_labelled_items_come_first_with_their_references():
    batch = TrainingDataset(Numbered())[Drawing(range(4, 7), range(5, 7))]
    assert batch.mixtures[:, 0].tolist() == [4, 5, 6, -10, -11, -12, -13]
    assert batch.names == ["True4", "True5", "True6", "False10", "False11", "False12", "False13"]
    assert batch.references.shape == (3, 2, 6)
    assert batch.references[:, :, 0].tolist() == [[4, 0], [2.5, 2.5], [6, 0]]


@pytest.mark.parametrize(
    ("drawing", "mixtures", "references"),
    [
        (Drawing(range(0), range(2)), (4, 6), (0, 0, 6)),
        (Drawing(range(3), range(0)), (3, 6), (3, 2, 6)),
        (Drawing(range(0, 1), range(1)), (3, 6), (1, 1, 6)),
    ],
)
def test_shapes_of_batches(drawing, mixtures, references):
    batch = TrainingDataset(Numbered())[drawing]
    assert batch.mixtures.shape == mixtures and batch.references.shape == references


class Listed:
    """Mixture n holds n + 1 at every sample, of `lengths[n]` samples."""

    def __init__(self, lengths):
        self.lengths = lengths

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, number):
        mixture = torch.full((self.lengths[number],), number + 1.0)
        count = 1 + number % 2
        return Mixture(f"{number}", mixture, (mixture / count).expand(count, -1))


def all_of(lengths, batch_size, num_mixtures):
    dataset = EvaluationDataset(Listed(lengths), batch_size, num_mixtures)
    return [dataset[number] for number in range(len(dataset))]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 10])
@pytest.mark.parametrize("num_mixtures", [2, 3])
def test_evaluation_drops_nothing_and_partners_do_not_depend_on_the_batch_size(batch_size, num_mixtures):
    batches = all_of([5] * 7, batch_size, num_mixtures)
    assert [len(batch.mixtures) for batch in batches] == [min(batch_size, 7 - n) for n in range(0, 7, batch_size)]
    assert [name for batch in batches for name in batch.names] == [str(number) for number in range(7)]
    mixtures = torch.cat([batch.mixtures for batch in batches])
    partners = torch.cat([batch.partners for batch in batches])
    assert mixtures[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert partners.shape == (7, num_mixtures - 1, 5)
    for number in range(7):
        assert partners[number, :, 0].tolist() == [(number + step) % 7 + 1 for step in range(1, num_mixtures)]
    for batch in batches:
        assert torch.equal(batch.references.sum(1), batch.mixtures)


def test_partners_are_cut_or_padded_to_the_mixture():
    batches = all_of([4, 6, 2], 1, 3)
    assert batches[0].partners[0].tolist() == [[2, 2, 2, 2], [3, 3, 0, 0]]
    assert batches[1].partners[0].tolist() == [[3, 3, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]]
    assert batches[2].partners[0].tolist() == [[1, 1], [2, 2]]


def test_mixtures_of_different_lengths_in_one_batch_are_refused():
    with pytest.raises(UserError, match=r"^2: .*datamodule\.evaluation_batch_size=1"):
        all_of([4, 4, 2], 3, 2)


def test_a_mixture_is_not_its_own_partner():
    assert [batch.partners.shape[1] for batch in all_of([9], 1, 2)] == [0]
    assert [batch.partners.shape[1] for batch in all_of([9, 9], 1, 3)] == [0, 0]
    assert [batch.partners.shape[1] for batch in all_of([9, 9], 1, 2)] == [1, 1]


def test_the_same_batches_can_be_drawn_again_and_again():
    plain = list(sampler())
    again = TrainingSampler(batch_size=8, labelled_share=0.25, steps=5, seed=0, repeated=2)
    assert list(again) == [plain[0], plain[1], plain[0], plain[1], plain[0]]
