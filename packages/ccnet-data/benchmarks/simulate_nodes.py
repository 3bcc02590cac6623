"""What many nodes fetch in an epoch of streamed shards: a simulation on paper numbers, with the order that is used.

`python packages/ccnet-data/benchmarks/simulate_nodes.py` prints two tables. Nothing is fetched: `Order` says which
shards a node's lanes need, block after block, and each node has a cache that drops the least recently used shard.
"""

import argparse
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ccnet_data.shards.order import Order, Place

GB, TB = 10**9, 10**12


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Nodes that share out batches of `batch` samples; each has a cache of `cache` bytes and takes `rate` samples/s."""

    nodes: int
    batch: int
    cache: int
    rate: float


@dataclass(frozen=True, kw_only=True)
class Data:
    """`samples` in shards of `rows` samples and `shard` bytes."""

    samples: int
    rows: int
    shard: int

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-self.samples // self.rows)

    def order(self, **kind: int) -> Order:
        """Return the order of the samples; the last shard is as large as the others."""
        return Order([self.rows] * self.shards, seed=0, **kind)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Shards that a node fetched and found in its cache, and the most that it needed at a time, in one epoch."""

    fetched: int
    found: int
    at_once: int


def lanes_of(node: int, order: Order, cluster: Cluster) -> list[int]:
    """Return the lanes of a node, which takes the same share of every batch; a batch is whole turns of the lanes."""
    share = cluster.batch // cluster.nodes
    positions = range(node * share, (node + 1) * share)
    return sorted({order.place(position).lane for position in positions})


def blocks_of(lanes: list[int], order: Order, epoch: int) -> Iterator[set[int]]:
    """Yield the shards that a node needs at a time: those of one block of each of its lanes."""
    for block in range(-(-order.samples // order.lanes // order.block) + 1):
        needed = {shard for lane in lanes for shard in order.shards_at(Place(epoch, lane, block, 0))}
        if needed:
            yield needed


def simulate(node: int, order: Order, cluster: Cluster, data: Data) -> Fetched:
    """Return what `node` fetches in its second epoch, with what the first one left in its cache."""
    lanes, kept = lanes_of(node, order, cluster), OrderedDict[int, None]()
    for epoch in range(2):
        fetched = found = at_once = 0
        for needed in blocks_of(lanes, order, epoch):
            at_once = max(at_once, len(needed))
            for shard in needed:
                found += shard in kept
                fetched += shard not in kept
                kept[shard] = None
                kept.move_to_end(shard)
                if len(kept) > cluster.cache // data.shard:
                    kept.popitem(last=False)
    return Fetched(fetched=fetched, found=found, at_once=at_once)


def row(name: str, per_node: float, at_once: float, cluster: Cluster, data: Data) -> str:
    """Return a line of the first table: `per_node` and `at_once` in bytes."""
    epoch = data.samples / cluster.nodes / cluster.rate
    copies = per_node * cluster.nodes / data.shards / data.shard
    return (
        f"| {name} | {cluster.nodes} | {per_node / GB:,.1f} GB | {copies:,.2f} | {at_once / GB:,.1f} GB | "
        f"{8 * per_node / epoch / 1e6:,.0f} Mbit/s | {8 * per_node * cluster.nodes / epoch / 1e9:,.1f} Gbit/s |"
    )


def nodes_table(data: Data, cluster: Cluster, looked_at: int) -> Iterator[str]:
    """Yield what nodes fetch, for several orders and numbers of nodes; `looked_at` nodes of each are simulated."""
    yield "| order | nodes | a node fetches | copies of the data | at once in its cache | per node | all nodes |"
    yield "|---|---|---|---|---|---|---|"
    share = cluster.batch // cluster.nodes
    kinds = [(cluster.nodes, share), (cluster.batch, 1), (16, 1)]
    cases = [(lanes, span, cluster.nodes) for lanes, span in kinds]
    cases += [(*kinds[0], cluster.nodes // 4), (*kinds[0], cluster.nodes * 4)]
    for lanes, span, nodes in cases:
        some = Cluster(nodes=nodes, batch=cluster.batch, cache=cluster.cache, rate=cluster.rate)
        order = data.order(lanes=lanes, span=span)
        chosen = random.Random(0).sample(range(nodes), looked_at if lanes > 16 else 1)
        found = [simulate(node, order, some, data) for node in chosen]
        fetched = float(np.mean([each.fetched for each in found])) * data.shard
        at_once = max(each.at_once for each in found) * data.shard
        yield row(f"lanes={lanes} span={span}", fetched, at_once, some, data)
    for name, bytes_fetched in shuffled(data, cluster):
        yield row(name, bytes_fetched, min(cluster.cache, data.shards * data.shard), cluster, data)


def shuffled(data: Data, cluster: Cluster) -> Iterator[tuple[str, float]]:
    """Yield what a node fetches if all samples are shuffled: with a cache for all of them, and with its own."""
    seen = 1 - (1 - 1 / cluster.nodes) ** data.rows
    yield "shuffled, whole data in the cache", seen * data.shards * data.shard
    missed = 1 - min(1, cluster.cache / (data.shards * data.shard))
    yield "shuffled, this cache", missed * data.samples / cluster.nodes * data.shard


def mixing_table(data: Data, batch: int) -> Iterator[str]:
    """Yield how many different shards the samples of a batch come from, and how many those of 100 batches do."""
    yield f"| order | shards in a batch of {batch} | shards in 100 batches | of |"
    yield "|---|---|---|---|"
    batches = range(0, data.samples - 100 * batch, max(batch, data.samples // 200))
    for name, index_at in orders(data):
        shards = [[index_at(first + place) // data.rows for place in range(100 * batch)] for first in batches]
        one = np.mean([len(set(some[:batch])) for some in shards])
        many = np.mean([len(set(some)) for some in shards])
        yield f"| {name} | {one:.1f} | {many:.0f} | {data.shards} |"


def orders(data: Data) -> Iterator[tuple[str, Callable[[int], int]]]:
    """Yield ours with several numbers of lanes, a buffer of 1000 samples as `datasets` has it, and a whole shuffle."""
    for lanes in (1, 4, 16, 64):
        yield f"lanes={lanes} block=2048", data.order(lanes=lanes).index_at
    yield "shards in random order, buffer of 1000", buffered(data, 1000).__getitem__
    yield "all samples shuffled", np.random.default_rng(0).permutation(data.samples).__getitem__


def buffered(data: Data, size: int) -> list[int]:
    """Return the indices in the order of a shuffle buffer over shards in random order."""
    rng = np.random.default_rng(0)
    line = (shard * data.rows + place for shard in rng.permutation(data.shards) for place in range(data.rows))
    buffer, found = [next(line) for _ in range(size)], []
    for index, place in zip(line, rng.integers(size, size=data.samples), strict=False):
        found.append(buffer[place])
        buffer[place] = index
    return found + buffer


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=16_000, help="samples per step, over all nodes")
    parser.add_argument("--bytes", type=float, default=10 * TB, help="of all shards")
    parser.add_argument("--shard", type=int, default=256_000_000, help="bytes of a shard")
    parser.add_argument("--sample", type=int, default=100_000, help="bytes of a sample")
    parser.add_argument("--cache", type=float, default=32 * GB, help="bytes of a node's cache")
    parser.add_argument("--rate", type=float, default=100, help="samples per second of a node")
    parser.add_argument("--look-at", type=int, default=20, help="nodes that are simulated")
    given = parser.parse_args()
    data = Data(samples=int(given.bytes) // given.sample, rows=given.shard // given.sample, shard=given.shard)
    cluster = Cluster(nodes=given.nodes, batch=given.batch, cache=int(given.cache), rate=given.rate)
    hours = data.samples / cluster.nodes / cluster.rate / 3600
    print(f"{data.shards:,} shards, {data.samples:,} samples; an epoch of {cluster.nodes} nodes takes {hours:.2f} h")
    print(*nodes_table(data, cluster, given.look_at), "", sep="\n")
    small = Data(samples=200 * data.rows, rows=data.rows, shard=data.shard)
    print(*mixing_table(small, 16), sep="\n")


if __name__ == "__main__":
    main()
