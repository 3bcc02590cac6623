import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccnet_data import DataError
from ccnet_data.shards.order import Order

ROWS = st.lists(st.integers(1, 9), min_size=1, max_size=8)
KINDS = st.fixed_dictionaries(
    {"seed": st.integers(0, 2**40), "lanes": st.integers(1, 12), "span": st.integers(1, 4), "block": st.integers(1, 7)}
)


def drawn(*key, length):
    """Return 0 to length - 1 sorted by the raw numbers of the stream `key`."""
    numbers = [int(number) for number in np.random.PCG64(np.random.SeedSequence([len(key), *key])).random_raw(length)]
    return sorted(range(length), key=numbers.__getitem__)


def whole_epoch(rows, epoch, *, seed, lanes, span, block):
    """Return the indices of an epoch, built as a list, slowly."""
    numbers = iter(range(sum(rows)))
    shards = [[next(numbers) for _ in range(count)] for count in rows]
    line = [index for shard in drawn(seed, epoch, length=len(rows)) for index in shards[shard]]
    lists = []
    for lane in range(lanes):
        size = len([place for place in range(sum(rows)) if place // span % lanes == lane])
        mine, line = line[:size], line[size:]
        lists.append([])
        for number, first in enumerate(range(0, size, block)):
            mates = mine[first : first + block]
            lists[lane] += [mates[turn] for turn in drawn(seed, epoch, lane, number, length=len(mates))]
    return [lists[place // span % lanes].pop(0) for place in range(sum(rows))]


def readers(order, *, start, stop, batch, processes):
    """Return the positions of each process: its share of every batch from `start` on."""
    share = batch // processes
    taken = [[] for _ in range(processes)]
    for first in range(start, stop, batch):
        for process in range(processes):
            taken[process] += range(first + process * share, first + (process + 1) * share)
    return taken


@given(ROWS, KINDS)
def test_an_order_is_that_of_the_list_built_whole(rows, kind):
    order, samples = Order(rows, **kind), sum(rows)
    for epoch in (0, 1, 5):
        found = [order.index_at(epoch * samples + place) for place in range(samples)]
        assert found == whole_epoch(rows, epoch, **kind)
        assert sorted(found) == list(range(samples))


@given(ROWS, KINDS, st.lists(st.integers(0, 10**12), max_size=20))
def test_a_position_has_one_sample_whatever_was_asked_before(rows, kind, positions):
    used = Order(rows, **kind)
    for position in positions:
        fresh = Order(rows, **kind)
        assert (
            used.index_at(position) == fresh.index_at(position) == pickle.loads(pickle.dumps(used)).index_at(position)
        )


@given(ROWS, KINDS, st.integers(0, 10**6))
def test_the_shards_of_a_block_are_those_its_samples_lie_in(rows, kind, position):
    order = Order(rows, **kind)
    place = order.place(position)
    epoch = range(place.epoch * order.samples, (place.epoch + 1) * order.samples)
    mates = [other for other in epoch if order.place(other)[:3] == place[:3]]
    shards = {order.shard_of(order.index_at(other))[0] for other in mates}
    assert set(order.shards_at(place)) == shards
    assert len(order.shards_at(place)) == len(shards)
    assert order.shards_at(place._replace(block=place.block + order.samples)) == []


@given(ROWS)
def test_an_index_is_a_row_of_a_shard(rows):
    order = Order(rows, seed=0)
    assert [order.shard_of(index) for index in range(sum(rows))] == [
        (shard, row) for shard, count in enumerate(rows) for row in range(count)
    ]


@given(ROWS, KINDS, st.data())
def test_any_readers_and_any_resume_point_see_each_position_once(rows, kind, data):
    batch = data.draw(st.integers(1, 12))
    divisors = [number for number in range(1, batch + 1) if batch % number == 0]
    steps = data.draw(st.integers(1, 8))
    resumed = data.draw(st.integers(0, steps))
    seen = []
    for first, last in ((0, resumed), (resumed, steps)):
        order = Order(rows, **kind)
        processes = data.draw(st.sampled_from(divisors))
        shares = readers(order, start=first * batch, stop=last * batch, batch=batch, processes=processes)
        seen += [(position, order.index_at(position)) for share in shares for position in share]
    alone = Order(rows, **kind)
    assert sorted(seen) == [(position, alone.index_at(position)) for position in range(steps * batch)]
    times = Counter(index for position, index in seen if position < alone.samples)
    assert set(times.values()) == {1}


@given(st.integers(1, 12), st.integers(1, 6), st.data())
def test_lanes_that_fill_a_batch_are_shared_out(lanes, span, data):
    batch = lanes * span
    fair = [number for number in range(1, batch + 1) if batch % number == 0]
    fair = [number for number in fair if lanes % number == 0 or number % lanes == 0]
    processes = data.draw(st.sampled_from(fair))
    order = Order([batch * 3] * lanes, seed=0, lanes=lanes, span=span)
    shares = readers(order, start=0, stop=order.samples, batch=batch, processes=processes)
    read = [{order.place(position).lane for position in share} for share in shares]
    assert {len(mine) for mine in read} == {max(1, lanes // processes)}
    assert set(Counter(lane for mine in read for lane in mine).values()) == {max(1, processes // lanes)}


def test_seeds_and_epochs_give_orders_of_their_own():
    orders = {
        tuple(Order([4] * 5, seed=seed).index_at(epoch * 20 + place) for place in range(20))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_the_order_of_a_seed_never_changes():
    order = Order([3, 1, 5, 2], seed=1, lanes=3, block=2)
    assert [order.index_at(position) for position in range(22)] == [
        *(5, 3, 2, 4, 8, 9, 7, 1, 10, 6, 0),
        *(0, 9, 7, 1, 10, 6, 3, 4, 8, 2, 5),
    ]
    large = Order([2500] * 400_000, seed=7, lanes=1024, block=4096)
    assert [large.index_at(position) for position in (0, 1, 10**8, 10**9, 10**12)] == [
        *(47153993, 59012074, 471876838, 847192821, 465728468)
    ]


def test_shards_without_samples_have_no_order():
    with pytest.raises(DataError, match="hold no samples"):
        Order([], seed=0)


def test_there_is_nothing_before_the_first_position():
    with pytest.raises(IndexError, match="position -1"):
        Order([3], seed=0).index_at(-1)
