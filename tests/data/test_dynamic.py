import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from mixit_lightning.data.dynamic import REFERENCE_RMS, DynamicMixtures, FixedMixtures
from mixit_lightning.data.mixture import NO_MARGIN
from mixit_lightning.errors import UserError

LENGTH = 800


class Sines:
    """Group number k is a sine of k + 1 periods at RMS 1, so that a reference tells which group it is from."""

    groups: tuple[str, ...] = ("a", "b", "c", "d", "e")

    def draw(self, group, rng, length, margin=NO_MARGIN):
        length = int(rng.integers(LENGTH, 2 * LENGTH)) if length is None else length
        turns = (self.groups.index(group) + 1) * np.arange(length) / LENGTH
        return group, np.sqrt(2) * np.sin(2 * np.pi * (turns + rng.random()))


class Others(Sines):
    """Sounds of another pool: periods that `Sines` does not have."""

    groups = ("f", "g", "h", "i", "j")

    def draw(self, group, rng, length, margin=NO_MARGIN):
        name, sound = super().draw(group, rng, length, margin)
        turns = (self.groups.index(group) + 6) * np.arange(len(sound)) / LENGTH
        return name, np.sqrt(2) * np.sin(2 * np.pi * turns)


def make(labelled=None, unlabelled=None, source_shares=(0.5, 0.5), length=LENGTH, max_level=5.0, seed=0):
    labelled = labelled or Sines()
    return DynamicMixtures(labelled, unlabelled or labelled, source_shares, length, max_level, seed)


def periods(signal):
    """The strongest frequency, in periods of LENGTH samples."""
    return int(torch.fft.rfft(signal[:LENGTH]).abs().argmax())


def equal(one, other):
    return one.name == other.name and all(torch.equal(a, b) for a, b in zip(one[1:], other[1:], strict=True))


@pytest.mark.parametrize("labelled", [True, False])
def test_a_number_is_a_mixture_whatever_was_drawn_before(labelled):
    forwards = [make().draw(number, labelled=labelled) for number in range(20)]
    mixtures = make()
    backwards = [mixtures.draw(number, labelled=labelled) for number in reversed(range(20))][::-1]
    assert all(equal(one, other) for one, other in zip(forwards, backwards, strict=True))
    assert len({item.name for item in forwards}) == 20


def test_another_seed_or_kind_is_another_mixture():
    for number in range(10):
        labelled = make().draw(number, labelled=True)
        assert labelled.name != make().draw(number, labelled=False).name
        assert labelled.name != make(seed=1).draw(number, labelled=True).name


def test_labelled_and_unlabelled_mixtures_come_from_their_own_pools():
    mixtures = make(Sines(), Others(), source_shares=(1,))
    for number in range(30):
        assert periods(mixtures.draw(number, labelled=True).mixture) <= 5
        assert periods(mixtures.draw(number, labelled=False).mixture) >= 6


def test_unlabelled_mixtures_have_no_references():
    for number in range(10):
        item = make().draw(number, labelled=False)
        assert item.references.shape == (0, LENGTH) and item.mixture.shape == (LENGTH,)
        assert item.mixture.abs().max() > 0


@pytest.mark.parametrize("length", [LENGTH, None])
def test_a_mixture_is_the_sum_of_its_references(length):
    for number in range(20):
        item = make(length=length, source_shares=(1, 1, 1)).draw(number, labelled=True)
        assert item.references.dtype == item.mixture.dtype == torch.float32
        assert item.references.shape[1:] == item.mixture.shape
        expected = sum(row.double().numpy() for row in item.references)
        np.testing.assert_allclose(item.mixture.numpy(), expected, rtol=0, atol=1e-6)


def test_whole_sounds_are_cut_to_the_shortest():
    rng = np.random.default_rng(0)

    class Steps:
        groups = ("a", "b")

        def draw(self, group, rng, length, margin=NO_MARGIN):
            assert length is None
            return group, np.ones({"a": 30, "b": 20}[group])

    item = make(Steps(), length=None, source_shares=(0, 1)).choose(rng, Steps(), 2, NO_MARGIN)
    assert item.signals.shape == (2, 20)


def test_a_mixture_takes_no_two_sounds_from_one_group():
    seen = Counter()
    for number in range(200):
        item = make(source_shares=(0, 0, 1)).draw(number, labelled=True)
        groups = [periods(reference) for reference in item.references]
        assert len(set(groups)) == 3
        seen.update(groups)
    # Every group takes part: 600 draws of 5 groups.
    assert sorted(seen) == [1, 2, 3, 4, 5] and min(seen.values()) > 80


@pytest.mark.parametrize("max_level", [0.0, 2.5, 5.0])
def test_levels_are_uniform_within_the_maximum(max_level):
    levels = []
    for number in range(300):
        item = make(source_shares=(0, 1), max_level=max_level).draw(number, labelled=True)
        measured = 20 * np.log10(item.references.double().square().mean(-1).sqrt().numpy() / REFERENCE_RMS)
        named = [float(level) for level in re.findall(r"[+-]\d+\.\d\d", item.name)]
        np.testing.assert_allclose(measured, named, atol=0.006)
        levels += list(measured)
    assert np.abs(levels).max() <= max_level + 1e-3
    # Standard deviation of a uniform distribution is its width / sqrt(12).
    assert abs(np.mean(levels)) <= 0.2 * max_level + 1e-3
    assert abs(np.std(levels) - 2 * max_level / np.sqrt(12)) <= 0.05 * max_level + 1e-3


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0, 1), (1,), (1, 2, 1)])
@pytest.mark.parametrize("labelled", [True, False])
def test_numbers_of_sources_have_the_given_shares(shares, labelled, monkeypatch):
    drawn = []
    mixtures = make(source_shares=shares, length=8)
    choose = mixtures.choose
    monkeypatch.setattr(mixtures, "choose", lambda *given: (drawn.append(given[2]), choose(*given))[1])
    for number in range(1000):
        item = mixtures.draw(number, labelled=labelled)
        assert not labelled or len(item.references) == drawn[-1]
    counted = [drawn.count(number) / 1000 for number in range(1, len(shares) + 1)]
    np.testing.assert_allclose(counted, np.array(shares) / sum(shares), atol=0.05)
    assert all(count == 0 for count, share in zip(counted, shares, strict=True) if share == 0)


@pytest.mark.parametrize("counts", [[0, 5], [3, 4], [2, 0, 3], [4]])
def test_fixed_lists_hold_as_many_mixtures_of_each_number_of_sources_as_asked_for(counts):
    mixtures = FixedMixtures(make(source_shares=(1, 1, 1)), counts)
    items = [mixtures[number] for number in range(len(mixtures))]
    assert len(mixtures) == sum(counts)
    found = Counter(len(item.references) for item in items)
    assert [found[number] for number in range(1, len(counts) + 1)] == counts
    assert len({item.name for item in items}) == len(items)
    again = FixedMixtures(make(source_shares=(1, 1, 1)), counts)
    assert all(equal(again[number], items[number]) for number in reversed(range(len(items))))


def test_neighbours_in_a_fixed_list_are_alike_so_that_mixtures_of_mixtures_are():
    mixtures = FixedMixtures(make(), [3, 4])
    numbers = [len(mixtures[number].references) for number in range(7)]
    assert sum(one != other for one, other in pairwise(numbers)) == 1


def test_more_sources_than_groups_are_refused_at_once():
    with pytest.raises(UserError, match=r"source_shares.* 6 .* 5"):
        make(source_shares=(1, 0, 0, 0, 0, 1))
    make(source_shares=(1, 0, 0, 0, 1, 0))
    with pytest.raises(UserError, match=r"test_counts.* 6 .* 5"):
        FixedMixtures(make(), [0, 0, 0, 0, 0, 1])


@pytest.mark.parametrize("shares", [(), (0, 0), (1, -1)])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(UserError, match="source_shares"):
        make(source_shares=shares)


def test_an_empty_list_is_refused():
    with pytest.raises(UserError, match="counts"):
        FixedMixtures(make(), [0, 0])
