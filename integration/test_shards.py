"""Shards in the processes of torch's data loader, beside the dataset that they were made of."""

import multiprocessing

import numpy as np
import pytest
from torch.utils.data import DataLoader

import ccnet_data
from ccnet_data.shards.convert import convert
from ccnet_data.shards.plan import Format


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("encoding", ["raw", "png"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_data_loader_reads_them_in_its_processes(tmp_path, start, encoding):
    convert("beacon", {"length": 60}, tmp_path, form=Format(encoding=encoding, shard_size=200_000), workers=0)
    shards, source = ccnet_data.load("shards", "train", root=tmp_path), ccnet_data.load("beacon", "train", length=60)
    # One is open here before the processes begin.
    assert shards[0]["id"] == source[0]["id"]
    loader = DataLoader(
        shards, batch_size=None, num_workers=2, multiprocessing_context=multiprocessing.get_context(start)
    )
    for _ in range(2):
        read = list(loader)
        assert [sample["id"] for sample in read] == [sample["id"] for sample in source]
        for sample, other in zip(read, source, strict=True):
            np.testing.assert_array_equal(sample["image"], other["image"])
            np.testing.assert_array_equal(sample["label"], other["label"])
