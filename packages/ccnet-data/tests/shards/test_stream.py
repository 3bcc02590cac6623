import gc
import os
import pickle
import threading
import time
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccnet_data import DataError
from ccnet_data.shards.order import Order, Place
from ccnet_data.shards.stream import ReadAhead, ShardStream


class Numbers:
    """A dataset in shards of `rows` samples, each its own index."""

    def __init__(self, rows, **kind):
        self.rows, self.kind = rows, kind

    def __getitem__(self, index):
        return index

    def order(self, seed):
        return Order(self.rows, seed=seed, **self.kind)


class Noting:
    """Notes the shards that it is asked to bring; the first `failures` are not to be had."""

    def __init__(self, failures=0):
        self.brought, self.failures = [], failures

    def __call__(self, shard):
        self.brought.append(shard)
        if len(self.brought) <= self.failures:
            raise DataError("not here")

    def wait_for(self, count):
        deadline = time.monotonic() + 20
        while len(self.brought) < count:
            assert time.monotonic() < deadline, self.brought
            time.sleep(0.001)
        return self.brought


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(1, 5),
    st.data(),
)
def test_any_processes_workers_and_resume_points_give_each_position_once_and_the_same(rows, lanes, span, block, data):
    dataset, seen, start = Numbers(rows, lanes=lanes, span=span, block=block), [], 0
    stops = data.draw(st.lists(st.integers(0, 60), min_size=1, max_size=4).map(sorted))
    for stop in stops:  # a run of other processes and workers each, which ends at `stop`
        processes, workers = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
        for reader in range(processes * workers):
            stream = ShardStream(
                dataset,
                seed=3,
                start=start,
                process=reader % processes,
                processes=processes,
                worker=reader // processes,
                workers=workers,
            )
            mine = range(stream.position, stop, processes * workers)
            seen += islice(stream, len(mine))
        start = stop
    order = dataset.order(3)
    assert sorted(seen) == [(position, order.index_at(position)) for position in range(stops[-1])]


def test_a_stream_continues_from_its_position_with_nothing_lost_or_doubled():
    dataset = Numbers([3, 4, 5], lanes=2, block=3)
    whole = list(islice(ShardStream(dataset, seed=0, process=1, processes=3), 20))
    position, found = 0, []
    while len(found) < 20:
        stream = ShardStream(dataset, seed=0, process=1, processes=3, start=position)
        found += islice(stream, 3)
        position = stream.position
    assert found[:20] == whole


def test_every_epoch_holds_each_sample_once():
    samples = [sample for _, sample in islice(ShardStream(Numbers([3, 4, 5]), seed=0), 36)]
    assert all(Counter(samples[first : first + 12]).keys() == set(range(12)) for first in (0, 12, 24))
    assert samples[:12] != samples[12:24]


def test_workers_of_a_process_in_turn_give_what_it_would_give_alone():
    alone = ShardStream(Numbers([9] * 9), seed=0, process=1, processes=2)
    workers = [
        iter(ShardStream(Numbers([9] * 9), seed=0, process=1, processes=2, worker=worker, workers=3))
        for worker in range(3)
    ]
    assert [next(workers[turn % 3]) for turn in range(30)] == list(islice(alone, 30))


def test_the_shards_of_this_block_and_the_next_one_are_brought_once():
    order = Order([4] * 12, seed=0, lanes=2, block=4)
    bring = Noting()
    ahead = ReadAhead(order, bring, 100)
    assert [ahead.index_at(position) for position in range(8)] == [order.index_at(position) for position in range(8)]
    blocks = [(1, 0), (1, 1), (0, 0), (0, 1)]
    expected = [shard for lane, block in blocks for shard in order.shards_at(Place(0, lane, block, 0))]
    assert bring.wait_for(len(expected)) == expected


def test_at_the_end_of_an_epoch_the_next_one_begins():
    order = Order([4] * 4, seed=0, lanes=1, block=4)
    bring = Noting()
    ahead = ReadAhead(order, bring, 100)
    for position in (12, 13):
        ahead.index_at(position)
    assert bring.wait_for(2) == [*order.shards_at(Place(0, 0, 3, 0)), *order.shards_at(Place(1, 0, 0, 0))]


def test_a_shard_that_cannot_be_brought_ahead_does_not_stop_the_others():
    bring = Noting(failures=1)
    ahead = ReadAhead(Order([4] * 4, seed=0, lanes=1, block=4), bring, 100)
    for position in range(2):
        ahead.index_at(position)
    assert len(bring.wait_for(2)) == 2


def test_nothing_is_fetched_ahead_that_would_drive_out_what_is_read():
    order = Order([4] * 32, seed=0, lanes=4, block=4)  # a lane's two blocks are two shards
    for room, expected in ((8, 8), (7, 6), (1, 0)):
        bring = Noting()
        ahead = ReadAhead(order, bring, room)
        for position in range(9):
            ahead.index_at(position)
        bring.wait_for(expected)
        time.sleep(0.05)
        assert len(bring.brought) == expected


def test_one_look_begins_no_thread_and_a_copy_or_an_order_no_longer_used_leaves_none():
    def threads():
        return [thread for thread in threading.enumerate() if thread.name == "shards ahead"]

    gc.collect()
    before = len(threads())
    ahead = ReadAhead(Order([4] * 4, seed=0), Noting(), 100)
    ahead.index_at(0)
    assert len(threads()) == before
    ahead.index_at(1)
    assert len(threads()) == before + 1
    assert pickle.loads(pickle.dumps(ahead)).index_at(5) == ahead.index_at(5)
    assert len(threads()) == before + 1
    ended = threads()[-1]
    del ahead
    ended.join(20)
    assert not ended.is_alive()


def test_an_order_no_longer_used_fetches_nothing_more():
    reached, go_on, brought = threading.Event(), threading.Event(), []

    def bring(shard):
        brought.append(shard)
        reached.set()
        go_on.wait(20)

    ahead = ReadAhead(Order([4] * 8, seed=0, lanes=1, block=16), bring, 100)
    for position in range(2):
        ahead.index_at(position)
    assert reached.wait(20)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "shards ahead" and thread.is_alive()][-1:]
    del ahead
    go_on.set()
    thread.join(20)
    assert not thread.is_alive()
    assert len(brought) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_reads_ahead_by_itself():
    ahead = ReadAhead(Order([4] * 4, seed=0), Noting(), 100)
    for position in range(3):
        ahead.index_at(position)
    child = os.fork()
    if child == 0:
        for position in range(3):
            ahead.index_at(position)
        os._exit([thread.name for thread in threading.enumerate()].count("shards ahead"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
