import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from ccnet_data.shards.dataset import ShardDataset
from ccnet_data.shards.folder import OPEN_FILES, ShardFolder, open_shard
from ccnet_data.shards.order import Order
from ccnet_data.testing import check_dataset


@pytest.fixture
def make(tmp_path, noise, shards):
    def make_dataset(encoding="raw", frames=0, bounds=(0, 4, 10), length=10):
        manifest = shards(tmp_path, noise(length=length, frames=frames), encoding, bounds=bounds)
        folder = ShardFolder(folder=tmp_path)
        return ShardDataset(manifest=manifest, shards=manifest.splits["train"], files=folder)

    return make_dataset


@pytest.mark.parametrize("encoding", ["raw", "png"])
@pytest.mark.parametrize("frames", [0, 2])
def test_it_conforms_and_gives_all_samples_in_their_order(make, noise, same, encoding, frames):
    dataset, source = make(encoding, frames), noise(frames=frames)
    check_dataset(dataset)
    assert len(dataset) == 10
    for one, other in zip(dataset, source, strict=True):
        same(one, other)
    same(dataset[-1], source[9])
    assert (dataset.task, dataset.classes, dataset.palette) == (source.task, source.classes, source.palette)
    assert (dataset.flip_pairs, dataset.ignore_index) == (source.flip_pairs, 255)


def test_no_shard_is_opened_before_it_is_needed(make, tmp_path, same, noise):
    dataset = make()
    (tmp_path / dataset.shards[1].file).unlink()
    same(dataset[3], noise()[3])
    with pytest.raises(ValueError, match="train-00001-of-00002"):
        dataset[4]


def test_a_shard_is_opened_for_each_sample_and_stays_while_it_is_read(make, noise, same):
    made, notes = make(), []

    @contextmanager
    def opened(shard, columns):
        notes.append(("open", shard.file))
        with made.files.opened(shard, columns) as file:
            yield file
        notes.append(("close", shard.file))

    dataset = ShardDataset(manifest=made.manifest, shards=made.shards, files=SimpleNamespace(opened=opened))
    for index in (0, 9, 1):
        same(dataset[index], noise()[index])
    first, second = (shard.file for shard in made.shards)
    assert notes == [(what, file) for file in (first, second, first) for what in ("open", "close")]


def test_the_order_is_that_of_its_lanes_span_and_block(make):
    made = make()
    kind = {"lanes": 3, "span": 2, "block": 2}
    dataset = ShardDataset(manifest=made.manifest, shards=made.shards, files=made.files, **kind)
    order = Order([4, 6], seed=7, **kind)
    assert [dataset.order(7).index_at(place) for place in range(30)] == [order.index_at(place) for place in range(30)]


def test_many_shards_keep_few_files_open(make, tmp_path, noise, same):
    count = OPEN_FILES + 20
    dataset = make("raw", bounds=tuple(range(count + 1)), length=count)
    open_shard.cache_clear()
    for _ in range(2):
        for index in range(count):
            same(dataset[index], noise(length=count)[index])
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    assert len({line.split()[-1] for line in maps.splitlines() if str(tmp_path) in line}) <= OPEN_FILES


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_other_processes_open_their_own_shards(make, same, start):
    dataset = make("png")
    expected = list(dataset)
    with ProcessPoolExecutor(2, multiprocessing.get_context(start)) as pool:
        for index, sample in enumerate(pool.map(dataset.__getitem__, [*range(10)] * 4)):
            same(sample, expected[index % 10])


def test_threads_share_the_shards(make, same):
    dataset = make("png")
    expected = list(dataset)
    with ThreadPoolExecutor(8) as pool:
        for index, sample in enumerate(pool.map(dataset.__getitem__, [*range(10)] * 20)):
            same(sample, expected[index % 10])


def test_a_pickled_one_is_small(make):
    dataset = make()
    dataset[0]
    assert len(pickle.dumps(dataset)) < 3000
