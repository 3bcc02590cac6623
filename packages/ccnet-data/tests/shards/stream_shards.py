"""One of several readers of shards, which prints the positions and ids of its samples; see test_remote.py."""

import json
import sys
from itertools import islice

import ccnet_data
from ccnet_data.shards.stream import ShardStream

root, cache, *numbers = sys.argv[1:]
size, processes, workers, start, count, process, worker = map(int, numbers)
dataset = ccnet_data.load(
    "shards", split="train", root=root, cache=cache, cache_size=size, lanes=2, block=6, attempts=20, timeout=5
)
stream = ShardStream(dataset, seed=5, start=start, process=process, processes=processes, worker=worker, workers=workers)
for position, sample in islice(stream, count):
    print(json.dumps([position, sample["id"]]))
