import logging
import re

import pytest

from ccnet_data.errors import DataError, FetchError
from ccnet_data.registry import check, load
from ccnet_data.replace import Replacing
from ccnet_data.testing import check_dataset

CLASSES = ["one", "two", "three", "four", "five"]


@pytest.fixture
def root(make_folder):
    root = make_folder(["a", "b", "c", "d", "e"])
    (root / "images" / "c.png").write_bytes(b"")
    return root


def open_with(on_error, root):
    return load("folder", split="train", root=root, classes=CLASSES, on_error=on_error)


def test_a_damaged_sample_is_replaced_by_the_same_one_every_time_and_says_so(root, caplog):
    with caplog.at_level(logging.WARNING):
        dataset = open_with("replace", root)
        assert [sample["id"] for sample in dataset] == [sample["id"] for sample in open_with("replace", root)]
        stand_in = dataset[2]
    assert stand_in["id"] in {"a", "b", "d", "e"}
    assert re.search(r"c\.png: the file is empty", stand_in["replaces"])
    assert dataset.replaced == 2
    assert re.search(r"sample 2 replaced by \d \(2 in this process\): .*c\.png: the file is empty", caplog.text)


class Streamed:
    """Two samples, of which the first cannot be fetched now and the second is damaged; offers an order."""

    api_version, task, classes, palette, ignore_index, flip_pairs = 1, "segmentation", (), (), 255, ()

    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise DataError("damaged") if index else FetchError("no network")

    def order(self, seed):
        return seed


def test_what_cannot_be_fetched_is_not_replaced():
    for index in (0, 1):  # the one that would stand in for the damaged one cannot be fetched
        with pytest.raises(FetchError, match="no network"):
            Replacing(Streamed())[index]


def test_an_order_is_passed_on(root):
    assert Replacing(Streamed()).order(5) == 5
    assert not hasattr(open_with("replace", root), "order")


def test_whole_samples_are_untouched(root):
    dataset = open_with("replace", root)
    check_dataset(dataset)
    assert [dataset[number]["id"] for number in (0, 1, -2, 4)] == ["a", "b", "d", "e"]
    assert dataset.replaced == 0
    assert dataset.classes == tuple(CLASSES)


def test_without_being_asked_a_damaged_sample_raises(root):
    with pytest.raises(DataError, match=r"c\.png: the file is empty"):
        open_with("raise", root)[2]


def test_where_nothing_can_be_read_the_first_error_is_raised(root):
    for file in (root / "images").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"b\.png: the file is empty"):
        open_with("replace", root)[1]


def test_another_answer_to_errors_is_refused(root):
    assert check("folder", {"root": root, "classes": CLASSES, "on_error": "skip"}) == [
        "on_error must be one of raise, replace, got 'skip'."
    ]
