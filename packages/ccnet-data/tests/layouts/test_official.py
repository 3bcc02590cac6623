from dataclasses import dataclass

import numpy as np
import pytest

from ccnet_data.description import Description
from ccnet_data.errors import DataError
from ccnet_data.layouts.official import Official
from ccnet_data.layouts.pairs import Names, match, stem
from ccnet_data.layouts.tree import list_files
from ccnet_data.testing import check_dataset


@dataclass(frozen=True, kw_only=True)
class Toy(Official):
    """A published dataset whose splits are folders of pictures, with labels in the folder labels."""

    description = Description(
        title="Toy",
        page="",
        terms="",
        classes=("left", "right"),
        palette=((0, 0, 0), (255, 255, 255)),
        sizes={"train": 2, "val": 1},
        tree="{train,val}/*.png  toy.zip\nlabels/*.png",
        unpacked="toys/toy",
        flip_pairs=((0, 1),),
    )

    def present(self, root, split):
        return (root / split).is_dir()

    def list_split(self, root, split):
        pictures, labels = self.require(root / split), self.require(root / "labels")
        return match(*(Names(folder, list_files(folder, (".png",)), stem) for folder in (pictures, labels)))


@pytest.fixture
def root(tmp_path, save):
    save("toys/toy/train/a.png", np.zeros((4, 6, 3), np.uint8))
    save("toys/toy/labels/a.png", np.ones((4, 6), np.uint8))
    return tmp_path


@pytest.mark.parametrize("start", ["", "toys", "toys/toy"])
def test_a_split_opens_with_the_published_facts(root, start):
    source = Toy(root=root / start)
    dataset = source.open("train")
    check_dataset(dataset)
    assert source.splits() == ("train",)
    assert source.faults(None) == source.faults("train") == []
    assert (dataset.classes, dataset.palette) == (Toy.description.classes, Toy.description.palette)
    assert dataset.flip_pairs == ((0, 1),)


def test_a_root_that_is_not_given_is_asked_for():
    with pytest.raises(
        DataError, match=r"root is missing: give root=DIR, the folder that holds \{train,val\}/\*\.png, l"
    ):
        Toy().given_root()


def test_what_is_expected_is_said_without_its_remarks():
    assert Toy().expected() == "{train,val}/*.png, labels/*.png (there or in toys/toy/)"


def test_a_split_that_was_not_published_gets_the_nearest(root):
    with pytest.raises(DataError, match=r"^Toy has no split 'vall'\. Did you mean 'val'\?$"):
        Toy(root=root).open("vall")


def test_a_split_without_files_is_empty(root):
    for file in (root / "toys" / "toy").glob("*/a.png"):
        file.unlink()
    with pytest.raises(DataError, match=r"the split 'train' is empty; root must hold \{train,val\}"):
        Toy(root=root).open("train")


def test_where_no_split_is_there_the_first_one_is_missed(tmp_path):
    (fault,) = Toy(root=tmp_path).faults(None)
    assert fault.option == "root"
    assert fault.text.startswith(f"{tmp_path / 'train'}: there is no such folder; root must hold")


def test_files_without_a_partner_are_left_out_by_partial_and_refused_by_open(root, save):
    lonely = save("toys/toy/train/b.png", np.zeros((4, 6, 3), np.uint8))
    source = Toy(root=root)
    dataset, faults = source.partial("train")
    assert [sample["id"] for sample in dataset] == ["a"]
    (fault,) = faults
    assert fault.startswith(f"{lonely}: has no label of the same name")
    assert [each.text for each in source.faults("train")] == [fault]
    with pytest.raises(DataError, match=r"b\.png: has no label"):
        source.open("train")
