"""A process that reads shards through a cache: its options and the shards as JSON, the address, numbers of shards."""

import hashlib
import json
import sys
from pathlib import Path

from ccnet_data.shards.cache import Cache
from ccnet_data.shards.manifest import Shard
from ccnet_data.shards.retry import Retry

folder, size, retry, shards, address, *numbers = sys.argv[1:]
cache = Cache(folder=Path(folder), size=int(size), retry=Retry(**json.loads(retry)))
every = [Shard(**shard) for shard in json.loads(shards)]
for shard in (every[int(number)] for number in numbers):
    with cache.opened(f"{address}/{shard.file}", shard) as file:
        assert hashlib.sha256(file.read()).hexdigest() == shard.sha256
