from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ccnet_train import TrainError
from ccnet_train.positions import (
    PositionBatches,
    PositionDataset,
    collate,
    images_per_process,
    index_at,
    loader,
)

SEED = 5


class Numbers:
    """A dataset whose picture holds its index."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        image = np.full((3, 2, 2), index, np.uint8)
        image.setflags(write=False)
        return {"image": image, "label": image[0], "id": str(index)}


def add_noise(sample, generator):
    return {**sample, "label": generator.integers(0, 255, sample["label"].shape, np.uint8)}


def batches_of(start, stop, *, rank=0, processes=1, accumulation=1, workers=0, length=10, images=4):
    positions = PositionBatches(
        start=start,
        stop=stop,
        images_per_step=images,
        rank=rank,
        processes=processes,
        accumulation=accumulation,
    )
    dataset = PositionDataset(Numbers(length), add_noise, SEED)
    return list(loader(dataset, positions, workers=workers, pin=False))


class Backwards(Numbers):
    """A dataset with an order of its own: from the last sample to the first, shifted by the seed."""

    def order(self, seed):
        return SimpleNamespace(index_at=lambda position: (seed - position) % self.length)


def test_the_order_a_dataset_offers_is_taken():
    samples = PositionDataset(Backwards(10), add_noise, SEED)
    assert [samples[position]["id"] for position in range(12)] == list("543210987654")


def test_every_epoch_is_another_permutation():
    epochs = [[index_at(epoch * 10 + i, seed=SEED, samples=10) for i in range(10)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_another_seed_gives_another_order():
    orders = {tuple(index_at(i, seed=seed, samples=10) for i in range(10)) for seed in range(3)}
    assert len(orders) == 3


def test_iteration_t_takes_positions_from_t_times_the_step_size():
    batch = batches_of(3, 4)[0]
    assert batch.ids == tuple(str(index_at(position, seed=SEED, samples=10)) for position in range(12, 16))


def test_a_later_start_continues_with_equal_batches():
    whole, rest = batches_of(0, 6), batches_of(4, 6)
    for expected, found in zip(whole[4:], rest, strict=True):
        assert found.ids == expected.ids
        assert torch.equal(found.labels, expected.labels)


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_together_see_the_batches_of_one(processes):
    alone = batches_of(0, 5)
    ranks = [batches_of(0, 5, rank=rank, processes=processes) for rank in range(processes)]
    for iteration, expected in enumerate(alone):
        shares = [batches[iteration] for batches in ranks]
        assert sum((share.ids for share in shares), ()) == expected.ids
        assert torch.equal(torch.cat([share.labels for share in shares]), expected.labels)


@pytest.mark.parametrize(("processes", "accumulation"), [(1, 3), (2, 3), (3, 2), (3, 1)])
def test_micro_batches_of_all_processes_together_are_the_step(processes, accumulation):
    alone = batches_of(2, 5, images=12)
    ranks = [
        batches_of(2, 5, rank=rank, processes=processes, accumulation=accumulation, images=12)
        for rank in range(processes)
    ]
    for iteration, expected in enumerate(alone):
        parts = slice(iteration * accumulation, (iteration + 1) * accumulation)
        found = [batch for batches in ranks for batch in batches[parts]]
        assert sum((batch.ids for batch in found), ()) == expected.ids
        assert torch.equal(torch.cat([batch.labels for batch in found]), expected.labels)
        assert {len(batch.ids) for batch in found} == {12 // processes // accumulation}


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on fewer than 4 cores
@pytest.mark.parametrize(("accumulation", "resumed", "workers"), [(1, 4, 0), (2, 4, 3), (2, 0, 4), (1, 5, 4)])
def test_workers_and_resuming_change_no_sample(accumulation, resumed, workers):
    whole = batches_of(0, 7, accumulation=accumulation)
    found = batches_of(0, resumed, accumulation=accumulation)
    found += batches_of(resumed, 7, accumulation=accumulation, workers=workers)
    assert [batch.ids for batch in found] == [batch.ids for batch in whole]
    assert all(torch.equal(batch.labels, other.labels) for batch, other in zip(found, whole, strict=True))


def test_workers_do_not_change_the_samples():
    for expected, found in zip(batches_of(0, 4), batches_of(0, 4, workers=2), strict=True):
        assert found.ids == expected.ids
        assert torch.equal(found.labels, expected.labels)


def test_augmentation_differs_between_epochs_of_the_same_picture():
    batches = batches_of(0, 3, length=4)
    labels = {(name, batch.labels[i].numpy().tobytes()) for batch in batches for i, name in enumerate(batch.ids)}
    assert len(labels) == 12


def test_a_batch_travels_as_bytes():
    batch = batches_of(0, 1)[0]
    assert (batch.images.dtype, tuple(batch.images.shape)) == (torch.uint8, (4, 3, 2, 2))
    assert (batch.labels.dtype, tuple(batch.labels.shape)) == (torch.uint8, (4, 2, 2))


def test_a_step_that_cannot_be_shared_names_the_numbers_that_work():
    with pytest.raises(TrainError, match=r"train.images_per_step=8 .* 3 processes\..*work: 1, 2, 4, 8"):
        images_per_process(8, 3)
    with pytest.raises(TrainError, match=r"by 3 processes, each in 2 parts.*work: 1, 2, 4;"):
        images_per_process(8, 3, 2)
    with pytest.raises(TrainError, match=r"images_per_step=8 cannot be divided into train.accumulation=3 equal parts"):
        images_per_process(8, 1, 3)


def test_pictures_of_different_sizes_ask_for_a_crop():
    samples = [
        {"image": np.zeros((3, size, 4), np.uint8), "label": np.zeros((size, 4), np.uint8), "id": f"picture {size}"}
        for size in (4, 6)
    ]
    with pytest.raises(TrainError, match=r"\(4, 4\), \(6, 4\) \(among them 'picture 4'\).*augment.crop"):
        collate(samples)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_while_loading_is_one_plain_line(workers):
    def refuse(sample, generator):
        raise TrainError("3.png: damaged")

    positions = PositionBatches(start=0, stop=1, images_per_step=2)
    with pytest.raises(TrainError) as raised:
        next(loader(PositionDataset(Numbers(4), refuse, SEED), positions, workers=workers, pin=False))
    assert str(raised.value) == "3.png: damaged"
