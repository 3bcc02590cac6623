from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.registry import load
from ccnet_data.testing import check_dataset, check_sample


@pytest.fixture
def beacon():
    return load("beacon", split="train", length=3)


def unchanged(sample):
    return sample


class Changed:
    """A conforming dataset but for `changes`: attributes, or a function from sample to sample as `sample`."""

    def __init__(self, dataset, **changes):
        self._dataset, self._sample = dataset, changes.pop("sample", unchanged)
        for name in ("api_version", "task", "classes", "palette", "ignore_index", "flip_pairs"):
            setattr(self, name, changes.get(name, getattr(dataset, name)))

    def __len__(self):
        return len(self._dataset)

    def __getitem__(self, index):
        return self._sample(self._dataset[index])


def test_a_conforming_dataset_passes(beacon):
    check_dataset(Changed(beacon))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"api_version": 2}, "api_version is 2, not 1"),
        ({"task": "edges"}, "task is 'edges', none of segmentation, video, instances"),
        ({"ignore_index": 0}, "ignore_index is 0"),
        ({"task": []}, r"task is \[\], none of"),
        ({"classes": ("a", "a", "b", "c")}, "classes must be different names"),
        ({"classes": ()}, "classes must hold 1 to 255"),
        ({"classes": "abcd"}, "classes must be a list"),
        ({"classes": ("a", "b", "c", 3)}, "classes must be a text"),
        ({"palette": ((0, 0, 0),)}, "palette has 1 colours for 4 classes"),
        ({"palette": ((0, 0, 256),) * 4}, "palette must be a whole number from 0 to 255, got 256"),
        ({"palette": ((0, 0),) * 4}, "palette must be a list of 3 values"),
        ({"palette": None}, "palette must be a list"),
        ({"flip_pairs": ((1, 4),)}, "flip_pairs must name classes 0 to 3"),
        ({"flip_pairs": ((-1, 1),)}, "flip_pairs must be a whole number from 0"),
        ({"flip_pairs": ((1,),)}, "flip_pairs must be a list of 2 values"),
        ({"flip_pairs": (1, 2)}, "flip_pairs must be a list of 2 values"),
    ],
)
def test_wrong_attributes_are_named(beacon, changes, message):
    with pytest.raises(DataError, match=message):
        check_dataset(Changed(beacon, **changes))


class Ordered(Changed):
    """A conforming dataset that offers the order `indices`, of which a pickled copy gives what `copied` makes."""

    def __init__(self, dataset, indices, copied=unchanged):
        super().__init__(dataset)
        self._indices, self._copied = indices, copied

    def order(self, seed):
        return SimpleNamespace(index_at=self._indices.__getitem__)

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._indices = self._copied(self._indices)


def test_an_order_that_holds_every_sample_once_an_epoch_passes(beacon):
    check_dataset(Ordered(beacon, [2, 0, 1, 1, 0, 2]))


@pytest.mark.parametrize("indices", [[0, 0, 1, 0, 1, 2], [0, 1, 3, 0, 1, 2], [0, 1, -1, 0, 1, 2]])
def test_an_order_that_is_no_permutation_is_found(beacon, indices):
    with pytest.raises(DataError, match=r"^The order of epoch 0 holds an index twice, or one that is no sample\.$"):
        check_dataset(Ordered(beacon, indices))


def test_an_order_that_is_no_permutation_in_a_later_epoch_is_found(beacon):
    with pytest.raises(DataError, match="order of epoch 1"):
        check_dataset(Ordered(beacon, [0, 1, 2, 0, 1, 1]))


def reversed_copy(indices):
    return indices[::-1]


def test_an_order_that_is_another_one_in_a_pickled_copy_is_found(beacon):
    with pytest.raises(DataError, match="order of a pickled copy is another one"):
        check_dataset(Ordered(beacon, [0, 1, 2, 0, 1, 2], reversed_copy))


def test_missing_attributes_are_named(beacon):
    dataset = Changed(beacon)
    del dataset.palette
    with pytest.raises(DataError, match="attributes are missing: palette"):
        check_dataset(dataset)


def test_a_dataset_without_samples_is_refused(beacon):
    with pytest.raises(DataError, match="it holds no samples"):
        check_dataset(replace(beacon, length=0))


def test_an_endless_dataset_is_refused(beacon):
    class Endless(Changed):
        def __getitem__(self, index):
            return super().__getitem__(index % 3)

    with pytest.raises(DataError, match="past the end must raise IndexError"):
        check_dataset(Endless(beacon))


def test_random_samples_are_refused(beacon):
    rng = np.random.default_rng(0)

    def distorted(sample):
        return {**sample, "image": rng.integers(0, 256, sample["image"].shape, np.uint8)}

    with pytest.raises(DataError, match="Position 0 gave two different samples"):
        check_dataset(Changed(beacon, sample=distorted))


def test_samples_whose_keys_change_are_refused(beacon):
    keys = iter("abcdef")
    with pytest.raises(DataError, match="Position 0 gave two different samples"):
        check_dataset(Changed(beacon, sample=lambda sample: {**sample, next(keys): 1}))


def test_a_dataset_that_no_process_can_receive_is_refused(beacon):
    with pytest.raises(DataError, match=r"Changed cannot be pickled \(Can't pickle .*lambda"):
        check_dataset(Changed(beacon, sample=lambda sample: sample))


class Forgetful(Changed):
    """A dataset whose pickled copy has another seed."""

    def __reduce__(self):
        return Changed, (replace(self._dataset, seed=1),)


def test_a_pickled_copy_with_other_samples_is_refused(beacon):
    with pytest.raises(DataError, match=r"Position [02] of a pickled copy gave another sample"):
        check_dataset(Forgetful(beacon))


def test_samples_from_one_memory_are_refused(beacon):
    kept = beacon[0]
    with pytest.raises(DataError, match="the same memory twice"):
        check_dataset(Changed(beacon, sample=lambda _: kept))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": ""}, "id must be a text"),
        ({"id": 3}, "id must be a text"),
        ({"image": None}, "image must be a uint8 array with 3 axes, not NoneType"),
        ({"image": np.zeros((3, 64, 64), np.float32)}, "not float32 with 3"),
        ({"label": np.zeros((1, 64, 64), np.uint8)}, "label must be a uint8 array with 2 axes, not uint8 with 3"),
        ({"image": np.zeros((64, 64, 3), np.uint8)}, r"not \(3, H, W\) and \(H, W\)"),
        ({"label": np.zeros((64, 63), np.uint8)}, r"not \(3, H, W\) and \(H, W\)"),
        ({"image": np.zeros((3, 64, 64), np.uint8)[:, :, ::-1]}, "image must be C-contiguous and writable"),
        ({"label": np.full((64, 64), 4, np.uint8)}, "label values 4 are outside the 4 classes"),
    ],
)
def test_wrong_samples_are_named(beacon, changes, message):
    with pytest.raises(DataError, match=message):
        check_sample({**beacon[0], **changes}, beacon)


def test_read_only_arrays_are_refused(beacon):
    sample = beacon[0]
    sample["label"].flags.writeable = False
    with pytest.raises(DataError, match="label must be C-contiguous and writable"):
        check_sample(sample, beacon)


def test_something_else_than_a_dict_is_refused(beacon):
    with pytest.raises(DataError, match=r"Sample of type SimpleNamespace .* must be a dict"):
        check_sample(SimpleNamespace(), beacon)


def two_objects(_):
    return {
        "image": np.zeros((3, 4, 6), np.uint8),
        "boxes": np.array([[0, 0, 6, 4], [1, 1.5, 2, 3]], np.float32),
        "masks": np.zeros((2, 4, 6), bool),
        "classes": np.array([0, 3]),
        "crowd": np.array([False, True]),
        "id": "a",
    }


@pytest.fixture
def instances(beacon):
    """A conforming dataset of two objects in a 4x6 picture."""
    return Changed(beacon, task="instances", sample=two_objects)


def test_a_conforming_dataset_of_instances_passes(instances):
    check_dataset(instances)
    check_sample({**instances[0], "areas": np.array([3.5, 0])}, instances)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": np.zeros((2, 4))}, "boxes must be a float32 array with 2 axes, not float64 with 2"),
        ({"masks": np.zeros((2, 4, 6), np.uint8)}, "masks must be a bool array with 3 axes, not uint8 with 3"),
        ({"classes": None}, "classes must be a int64 array with 1 axes, not NoneType"),
        ({"crowd": np.zeros(2, bool)[::-1]}, "crowd must be C-contiguous and writable"),
        ({"image": np.zeros((4, 4, 6), np.uint8)}, r"image is \(4, 4, 6\), not \(3, H, W\)"),
        ({"crowd": np.zeros(1, bool)}, "one entry per object"),
        ({"masks": np.zeros((2, 6, 4), bool)}, r"masks are \(6, 4\), the image \(4, 6\)"),
        ({"boxes": np.zeros((2, 5), np.float32)}, "boxes must be left < right and top < bottom within the image"),
        ({"boxes": np.array([[0, 0, 6, 4], [2, 1, 2, 3]], np.float32)}, "left < right"),
        ({"boxes": np.array([[0, 0, 6, 4], [1, 3, 2, 3]], np.float32)}, "top < bottom"),
        ({"boxes": np.array([[0, 0, 4, 6], [1, 1, 2, 3]], np.float32)}, "within the image"),
        ({"boxes": np.array([[0, 0, 7, 4], [1, 1, 2, 3]], np.float32)}, "within the image"),
        ({"boxes": np.array([[-1, 0, 4, 4], [1, 1, 2, 3]], np.float32)}, "within the image"),
        ({"areas": np.zeros(3)}, r"areas must be float64 \(2,\), if there are any"),
        ({"areas": np.zeros(2, np.float32)}, "areas must be float64"),
        ({"classes": np.array([0, 4])}, "classes must be 0 to 3"),
        ({"classes": np.array([-1, 3])}, "classes must be 0 to 3"),
    ],
)
def test_wrong_instances_are_named(instances, changes, message):
    with pytest.raises(DataError, match=message):
        check_sample({**instances[0], **changes}, instances)


def test_instances_from_one_memory_are_refused(instances):
    masks = instances[0]["masks"]
    with pytest.raises(DataError, match="the same memory twice"):
        check_dataset(Changed(instances, sample=lambda sample: {**sample, "masks": masks}))
