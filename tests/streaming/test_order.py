"""Every segment once an epoch, few shards at a time, partners from different recordings: of seed and number alone."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixit_lightning.errors import UserError
from mixit_lightning.streaming.order import Order, alike, apart


def make(rows, kinds, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(kinds, size=count).tolist() for count in rows]


def recordings(order, numbers):
    return [int(order.recordings[order.starts[shard] + row]) for shard, row in map(order.segment, numbers)]


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    rows=st.lists(st.integers(1, 30), min_size=3, max_size=12),
    window=st.integers(1, 5),
    num_mixtures=st.integers(1, 3),
    seed=st.integers(0, 3),
)
def test_every_segment_at_most_once_in_every_epoch_and_few_left_over(rows, window, num_mixtures, seed):
    order = Order(make(rows, 5), window, num_mixtures, seed)
    assert 0 <= sum(rows) - len(order) < num_mixtures and len(order) % num_mixtures == 0
    for epoch in range(3):
        drawn = {order.segment(number) for number in range(epoch * len(order), (epoch + 1) * len(order))}
        assert len(drawn) == len(order) and all(row < rows[shard] for shard, row in drawn)


def test_too_few_segments_for_one_example():
    with pytest.raises(UserError):
        Order([[1], [2]], 1, 3, 0)


@pytest.mark.parametrize("num_mixtures", [2, 3])
@pytest.mark.parametrize("rows", [[7, 9, 8, 11, 8, 13, 7], [30] * 9])
def test_examples_are_of_different_recordings_across_windows_and_epochs(rows, num_mixtures):
    for seed in range(20):
        kinds = [((np.arange(count) + shard) % 6).tolist() for shard, count in enumerate(rows)]
        order = Order(kinds, 3, num_mixtures, seed)
        numbers = range(4 * len(order) // num_mixtures * num_mixtures)
        groups = np.array(recordings(order, numbers)).reshape(-1, num_mixtures)
        assert not alike(groups).any()


def test_only_a_window_and_the_next_are_needed():
    order = Order(make([10] * 20, 50), 4, 2, 0)
    for first in range(0, 600, 40):
        epoch, window = order.window(first)
        assert (epoch, window) == (first // 200, first % 200 // 40)
        needed = [order.segment(number)[0] for number in range(first, first + 80)]
        ahead = order.ahead(epoch, window).tolist()
        assert set(needed[:40]) == set(ahead[:4]) and set(needed[40:]) == set(ahead[4:])
    assert len({frozenset(order.shards(epoch)[:4].tolist()) for epoch in range(3)}) == 3


def test_a_number_gives_one_segment_whoever_asks_and_when():
    rows = make([10, 12, 9, 14, 11], 7)
    in_order = Order(rows, 2, 2, 3)
    numbers = list(range(150))
    expected = [in_order.segment(number) for number in numbers]
    shuffled = np.random.default_rng(0).permutation(150)
    one = Order(rows, 2, 2, 3)
    assert {number: one.segment(number) for number in shuffled} == dict(enumerate(expected))
    assert [Order(rows, 2, 2, 3).segment(number) for number in numbers[:10]] == expected[:10]
    assert [Order(rows, 2, 2, 4).segment(number) for number in numbers] != expected
    assert expected[:56] != expected[56:112]  # another order in the next epoch


def test_segments_of_a_window_are_mixed_well():
    order = Order(make([50] * 8, 100), 4, 2, 0)
    shards = [order.segment(number)[0] for number in range(200)]
    assert max(Counter(shards[:40]).values()) < 20 and len(set(shards[:40])) == 4


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_partners_are_dealt_out_anew_where_one_recording_is_frequent(share):
    kinds = np.random.default_rng(0).permutation([0] * round(200 * share) + list(range(1, 201 - round(200 * share))))
    found = apart(np.arange(200).reshape(-1, 2), kinds, np.random.default_rng(1))
    assert sorted(found.ravel()) == list(range(200))
    assert not alike(kinds[found]).any()


def test_a_recording_with_most_of_the_time_is_mixed_with_itself():
    kinds = np.array([0] * 90 + list(range(1, 11)))
    found = apart(np.arange(100).reshape(-1, 2), kinds, np.random.default_rng(0))
    assert sorted(found.ravel()) == list(range(100))
    assert alike(kinds[found]).sum() == 40
