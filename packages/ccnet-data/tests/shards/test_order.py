import pickle
from collections import Counter
from math import gcd

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccnet_data import DataError
from ccnet_data.shards.order import Order

ROWS = st.lists(st.integers(1, 9), min_size=1, max_size=8)
LANES, BLOCKS, SEEDS = st.integers(1, 12), st.integers(1, 7), st.integers(0, 2**40)


def drawn(*key, length):
    """Return 0 to length - 1 sorted by the raw numbers of the stream `key`."""
    numbers = [int(number) for number in np.random.PCG64(np.random.SeedSequence([len(key), *key])).random_raw(length)]
    return sorted(range(length), key=numbers.__getitem__)


def whole_epoch(rows, seed, epoch, lanes, block):
    """Return the indices of an epoch, built as a list, slowly."""
    numbers = iter(range(sum(rows)))
    shards = [[next(numbers) for _ in range(count)] for count in rows]
    line = [index for shard in drawn(seed, epoch, length=len(rows)) for index in shards[shard]]
    lists = []
    for lane in range(lanes):
        size = len(range(lane, sum(rows), lanes))
        mine, line = line[:size], line[size:]
        lists.append([])
        for number, first in enumerate(range(0, size, block)):
            mates = mine[first : first + block]
            lists[lane] += [mates[turn] for turn in drawn(seed, epoch, lane, number, length=len(mates))]
    return [lists[place % lanes][place // lanes] for place in range(sum(rows))]


def readers(order, *, start, stop, batch, processes):
    """Return the positions of each process: its share of every batch from `start` on."""
    share = batch // processes
    taken = [[] for _ in range(processes)]
    for first in range(start, stop, batch):
        for process in range(processes):
            taken[process] += range(first + process * share, first + (process + 1) * share)
    return taken


@given(ROWS, SEEDS, LANES, BLOCKS)
def test_an_order_is_that_of_the_list_built_whole(rows, seed, lanes, block):
    order, samples = Order(rows, seed=seed, lanes=lanes, block=block), sum(rows)
    for epoch in (0, 1, 5):
        found = [order.index_at(epoch * samples + place) for place in range(samples)]
        assert found == whole_epoch(rows, seed, epoch, lanes, block)
        assert sorted(found) == list(range(samples))


@given(ROWS, SEEDS, LANES, BLOCKS, st.lists(st.integers(0, 10**12), max_size=20))
def test_a_position_has_one_sample_whatever_was_asked_before(rows, seed, lanes, block, positions):
    used = Order(rows, seed=seed, lanes=lanes, block=block)
    for position in positions:
        fresh = Order(rows, seed=seed, lanes=lanes, block=block)
        assert (
            used.index_at(position) == fresh.index_at(position) == pickle.loads(pickle.dumps(used)).index_at(position)
        )


@given(ROWS, SEEDS, LANES, BLOCKS, st.integers(0, 10**6))
def test_the_shards_of_a_block_are_those_its_samples_lie_in(rows, seed, lanes, block, position):
    order = Order(rows, seed=seed, lanes=lanes, block=block)
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


@given(ROWS, SEEDS, LANES, BLOCKS, st.data())
def test_any_readers_and_any_resume_point_see_each_position_once(rows, seed, lanes, block, data):
    batch = data.draw(st.integers(1, 12))
    divisors = [number for number in range(1, batch + 1) if batch % number == 0]
    steps = data.draw(st.integers(1, 8))
    resumed = data.draw(st.integers(0, steps))
    seen = []
    for first, last in ((0, resumed), (resumed, steps)):
        order = Order(rows, seed=seed, lanes=lanes, block=block)
        processes = data.draw(st.sampled_from(divisors))
        shares = readers(order, start=first * batch, stop=last * batch, batch=batch, processes=processes)
        seen += [(position, order.index_at(position)) for share in shares for position in share]
    alone = Order(rows, seed=seed, lanes=lanes, block=block)
    assert sorted(seen) == [(position, alone.index_at(position)) for position in range(steps * batch)]
    times = Counter(index for position, index in seen if position < alone.samples)
    assert set(times.values()) == {1}


@given(st.integers(1, 24), st.integers(1, 24), st.data())
def test_a_process_reads_the_share_of_the_lanes_that_is_promised(lanes, batch, data):
    processes = data.draw(st.sampled_from([number for number in range(1, batch + 1) if batch % number == 0]))
    order = Order([lanes * batch] * lanes, seed=0, lanes=lanes)  # every batch and every lane is whole
    shares = readers(order, start=0, stop=order.samples, batch=batch, processes=processes)
    expected = min(1, batch / processes / gcd(batch, lanes)) * lanes
    assert [len({order.place(position).lane for position in share}) for share in shares] == [expected] * processes


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
