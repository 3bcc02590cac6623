import json

import pytest

from ccnet_data.cli import main
from ccnet_data.errors import DataError
from ccnet_data.layouts.coco import Coco
from ccnet_data.registry import check, load
from ccnet_data.testing import check_dataset

OWN = [{"id": 0, "name": "animals"}, {"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
ROBOFLOW = "{split}/_annotations.coco.json"


@pytest.fixture
def root(make_coco, coco):
    return make_coco(
        coco.annotation(11, 9, 1),
        coco.annotation(12, 25, 90),
        coco.annotation(13, 9, 13),
        coco.annotation(14, 9, 1, segmentation=coco.crowd, iscrowd=1),
    )


@pytest.fixture
def own(make_coco, coco):
    """Two splits as roboflow exports them, each with a cat and a dog."""
    for split in ("train", "valid"):
        entries = coco.annotation(11, 9, 3), coco.annotation(12, 25, 7)
        root = make_coco(*entries, split=split, categories=OWN, annotations=ROBOFLOW, pictures="{split}")
    return root


def rewrite(file, **changes):
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, **changes}), encoding="utf-8")


def test_pictures_without_an_object_can_be_dropped(make_coco, coco):
    root = make_coco(coco.annotation(11, 9, 1), coco.annotation(14, 25, 1, segmentation=coco.crowd, iscrowd=1))
    assert len(load("coco", split="train", root=root)) == 3
    dropped = load("coco", split="train", root=root, empty="drop")
    assert [sample["id"] for sample in dropped] == ["000000000009"]


def test_only_the_splits_that_are_there_are_checked(make_coco, coco):
    root = make_coco(coco.annotation(11, 9, 1), split="val")
    assert check("coco", {"root": root}) == []
    assert len(load("coco", split="val", root=root)) == 3
    with pytest.raises(DataError, match=r"train2017\.json: there is no such file, so no split 'train'\. Known: val"):
        load("coco", split="train", root=root)


def test_an_unknown_split_names_the_nearest(root):
    with pytest.raises(DataError, match=r"COCO 2017 instances has no split 'vall'\. Did you mean 'val'"):
        load("coco", split="vall", root=root)


def test_a_wrong_root_says_what_was_expected_and_found(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(
        DataError, match=r"root must hold annotations/instances_\{train,val\}2017\.json, .* found pictures/"
    ):
        load("coco", split="train", root=tmp_path)
    with pytest.raises(DataError, match=r"root is missing: give root=DIR; root must hold annotations/"):
        load("coco", split="train")


def test_an_empty_split_is_refused(root):
    rewrite(root / "annotations" / "instances_train2017.json", images=[], annotations=[])
    with pytest.raises(DataError, match="the split 'train' is empty"):
        load("coco", split="train", root=root)


def test_a_picture_that_is_missing_is_named_and_the_others_stay(root):
    (root / "train2017" / "000000000025.jpg").unlink()
    with pytest.raises(DataError, match=r"000000000025\.jpg: there is no such picture, but .*train2017\.json lists it"):
        load("coco", split="train", root=root)
    dataset, faults = Coco(root=root).partial("train")
    assert [sample["id"] for sample in dataset] == ["000000000009", "000000000030"]
    assert len(faults) == 1


def test_a_damaged_annotation_stops_loading_with_its_id(make_coco, coco):
    root = make_coco(coco.annotation(11, 9, 1, bbox=None), coco.annotation(12, 9, 12))
    with pytest.raises(DataError, match=r"train2017\.json: annotations 11 has no bbox.* annotations 12 has a category"):
        load("coco", split="train", root=root)


def test_other_categories_are_refused_unless_they_are_named(make_coco, coco):
    root = make_coco(coco.annotation(11, 9, 91), categories=[{"id": 91, "name": "pallet"}])
    with pytest.raises(DataError, match=r"category 91, 'pallet', is none of the 80 of COCO; give classes=\[...\]"):
        load("coco", split="train", root=root)
    dataset = load("coco", split="train", root=root, classes=["pallet"])
    check_dataset(dataset)
    assert (dataset.classes, dataset[0]["classes"].tolist()) == (("pallet",), [0])


def test_a_file_beside_its_pictures_needs_nothing_but_its_name(own):
    assert check("coco", {"root": own, "annotations": ROBOFLOW}) == []
    assert Coco(root=own, annotations=ROBOFLOW).splits() == ("train", "valid")
    dataset = load("coco", split="valid", root=own, annotations=ROBOFLOW)
    check_dataset(dataset)
    assert dataset.classes == ("animals", "cat", "dog")
    assert [dataset.classes[number] for sample in dataset for number in sample["classes"]] == ["cat", "dog"]


def test_classes_leave_out_a_category_that_nothing_has(own):
    options = {"root": own, "annotations": ROBOFLOW, "palette": [[9, 9, 9], [0, 0, 8]]}
    dataset = load("coco", split="train", **options, classes=["dog", "cat"])
    assert (dataset.classes, dataset.palette) == (("dog", "cat"), ((9, 9, 9), (0, 0, 8)))
    assert [sample["classes"].tolist() for sample in dataset] == [[1], [0], []]
    with pytest.raises(DataError, match=r"coco\.json: annotation 12 is of category 7, 'dog', which is not in classes"):
        load("coco", split="train", root=own, annotations=ROBOFLOW, classes=["cat"])
    with pytest.raises(DataError, match="palette has 2 colours for 3 classes"):
        load("coco", split="train", **options)


def test_a_file_and_a_folder_of_ones_own_need_no_root(own, monkeypatch):
    file = own / "valid" / "_annotations.coco.json"
    (file.parent.parent / "mine.json").write_bytes(file.read_bytes())
    for options in (
        {"annotations": str(own / "mine.json"), "pictures": str(own / "valid")},
        {"annotations": "mine.json", "pictures": "valid"},
    ):
        monkeypatch.chdir(own)
        assert len(load("coco", split="val", **options)) == 3
    with pytest.raises(DataError, match=r"there is no such picture, but .* Give pictures=DIR if they lie elsewhere"):
        load("coco", split="val", root=own, annotations="mine.json")


def test_pictures_may_lie_in_folders_and_be_of_any_format(make_coco, coco):
    names = ("a/1.jpg", "b/1.jpg", "c.jpeg")
    root = make_coco(coco.annotation(11, 25, 3), categories=OWN, annotations="mine.json", pictures=".", names=names)
    dataset = load("coco", split="train", root=root, annotations="mine.json")
    assert [sample["id"] for sample in dataset] == ["a/1", "b/1", "c"]
    assert [len(sample["classes"]) for sample in dataset] == [0, 1, 0]


def test_two_pictures_that_would_have_one_id_are_refused(make_coco, coco):
    root = make_coco(categories=OWN, annotations="mine.json", pictures=".", names=("a.jpg", "a.jpeg", "b.jpg"))
    with pytest.raises(DataError, match=r"a\.jpg: another picture has the same name but for its ending; rename one"):
        load("coco", split="train", root=root, annotations="mine.json")


def test_one_file_is_divided_by_the_names_of_its_pictures(make_coco, coco):
    root = make_coco(coco.annotation(11, 9, 3), categories=OWN, annotations="mine.json", pictures=".")
    options = {"root": root, "annotations": "mine.json", "val_fraction": 0.4, "seed": 3}
    train, val = ({sample["id"] for sample in load("coco", split=split, **options)} for split in ("train", "val"))
    assert (len(train | val), train & val) == (3, set())
    assert Coco(**options).splits() == ("train", "val")
    assert Coco(root=root, annotations="mine.json").splits() == ("train",)
    with pytest.raises(DataError, match=r"mine\.json has no split 'test'"):
        load("coco", split="test", **options)
    for wrong in ({"annotations": ROBOFLOW}, {"annotations": None}):
        with pytest.raises(DataError, match="val_fraction divides the pictures of one file"):
            load("coco", split="train", **{**options, **wrong})


def test_verify_lists_all_that_is_wrong_at_once(make_coco, coco, capsys):
    without_region = coco.annotation(13, 9, 3)
    del without_region["segmentation"]
    root = make_coco(
        coco.annotation(11, 9, 3, bbox=None),
        coco.annotation(12, 9, 3, bbox=[1, 2, float("nan"), 3]),
        without_region,
        coco.annotation(14, 9, 3, segmentation={"counts": [coco.height * coco.width], "size": [3, 4]}),
        coco.annotation(15, 9, 8),
        coco.annotation(16, 9, 3),
        coco.annotation(16, 25, 3),
        coco.annotation(17, 25, 7),
        coco.annotation(18, 30, 3, segmentation={"counts": [7], "size": [coco.height, coco.width]}),
        coco.annotation(19, 30, 3, area="large"),
        categories=OWN,
        annotations="mine.json",
        pictures=".",
    )
    words = ["verify", "coco", "--root", str(root), "annotations=mine.json", 'classes=["cat"]', "--workers", "0"]
    assert main(words) == 1
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if str(root / "mine.json") not in line] == [
        "coco, train: 3 samples, 10 faults",
        printed.splitlines()[-1],
    ]
    for fault in (
        "annotations 11 has no bbox of four numbers",
        "annotations 12 has no bbox of four numbers",
        "annotations 13 has no segmentation",
        "annotations 14 has run lengths for another picture size, 3x4",
        "annotations 15 has a category that is not listed, category_id 8",
        "annotations 16 comes twice",
        "annotations 19 has an area that is no number",
        "annotation 17 is of category 7, 'dog', which is not in classes",
        "annotation 17 is of category 7, 'dog', none of the classes",
        "annotation 18 has a segmentation that cannot be drawn",
    ):
        assert f"{root / 'mine.json'}: {fault}" in printed


def test_verify_holds_files_of_ones_own_to_no_published_numbers(own, capsys):
    words = ["verify", "coco", "--root", str(own), f"annotations={ROBOFLOW}", "--split", "train", "--workers", "0"]
    assert main(words) == 0
    assert "coco, train: 3 samples, no faults" in capsys.readouterr().out


@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_a_file_that_was_cut_says_where(own, kept):
    file = own / "train" / "_annotations.coco.json"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(DataError, match=r"_annotations\.coco\.json: not a whole JSON object \(near byte \d+"):
        load("coco", split="train", root=own, annotations=ROBOFLOW)


def test_info_of_ones_own_tells_its_classes(own, capsys):
    assert main(["info", "coco", "--root", str(own), f"annotations={ROBOFLOW}"]) == 0
    printed = capsys.readouterr().out
    assert "coco, split train: 3 samples, task instances" in printed
    assert "classes: 3," in printed
    assert "COCO 2017" not in printed
