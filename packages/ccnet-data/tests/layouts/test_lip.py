import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.registry import check, load, source_named
from ccnet_data.testing import check_dataset
from ccnet_data.warp import WarpAugment, warp_back

FORMS = {
    # Where lists, pictures and labels lie: put together, unpacked, and unpacked into folders of the archives' names
    "flat": ("", "", ""),
    "archives": ("TrainVal_images/", "TrainVal_images/", "TrainVal_parsing_annotations/"),
    "nested": (
        "TrainVal_images/",
        "TrainVal_images/TrainVal_images/",
        "TrainVal_parsing_annotations/TrainVal_parsing_annotations/",
    ),
}


@pytest.fixture
def make_lip(tmp_path, save):
    """Writes people of 5x4 pixels whose labels hold their number, and the list of the split; returns the root."""

    def make(names, split="train", form="flat"):
        lists, pictures, labels = FORMS[form]
        for number, name in enumerate(names):
            save(f"{pictures}{split}_images/{name}.jpg", np.full((5, 4, 3), 40 * number, np.uint8))
            save(f"{labels}{split}_segmentations/{name}.png", np.full((5, 4), number, np.uint8))
        file = tmp_path / lists / f"{split}_id.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        return tmp_path

    return make


@pytest.mark.parametrize("form", FORMS)
def test_it_conforms_in_each_form_that_its_archives_leave(make_lip, form):
    root = make_lip(["100034_483681", "1000_1234574"], form=form)
    assert check("lip", {"root": root}) == []
    dataset = load("lip", split="train", root=root)
    check_dataset(dataset)
    assert [(sample["id"], sample["label"].max()) for sample in dataset] == [("100034_483681", 0), ("1000_1234574", 1)]


def test_left_and_right_parts_change_places_in_a_mirror_image(make_lip):
    dataset = load("lip", split="val", root=make_lip(["a"], split="val"))
    assert len(dataset.classes) == 20
    for left, right in dataset.flip_pairs:
        assert dataset.classes[left].startswith("Left-")
        assert dataset.classes[right] == dataset.classes[left].replace("Left", "Right")
    assert sum(name.startswith(("Left-", "Right-")) for name in dataset.classes) == 2 * len(dataset.flip_pairs)


def test_all_20_parts_and_ignored_pixels_are_read_as_they_are(make_lip, save):
    root = make_lip(["a"])
    save("train_segmentations/a.png", np.array([[*range(19), 255], [*range(20)]], np.uint8))
    save("train_images/a.jpg", np.zeros((2, 20, 3), np.uint8))
    assert load("lip", split="train", root=root)[0]["label"].tolist() == [[*range(19), 255], [*range(20)]]


def test_a_value_above_19_is_refused(make_lip, save):
    root = make_lip(["a"])
    save("train_segmentations/a.png", np.full((5, 4), 20, np.uint8))
    with pytest.raises(DataError, match=r"a\.png: label values 20 are outside the 20 classes"):
        load("lip", split="train", root=root)[0]


def test_a_picture_and_its_parts_of_different_size_are_named(make_lip, save):
    root = make_lip(["a"])
    save("train_segmentations/a.png", np.zeros((4, 5), np.uint8))
    with pytest.raises(DataError, match=r"train_images/a\.jpg and .*train_segmentations/a\.png: .*4.*5"):
        load("lip", split="train", root=root)[0]


def test_grey_pictures_become_rgb(make_lip, save):
    root = make_lip(["a"])
    save("train_images/a.jpg", np.full((5, 4), 80, np.uint8))
    np.testing.assert_array_equal(load("lip", split="train", root=root)[0]["image"], np.full((3, 5, 4), 80))


def test_files_that_the_list_does_not_name_are_passed_over(make_lip):
    make_lip(["a", "b", "c"])
    root = make_lip(["b"])
    assert [sample["id"] for sample in load("lip", split="train", root=root)] == ["b"]


def test_every_listed_file_that_is_not_there_is_named(make_lip):
    root = make_lip(["a", "b", "c"])
    (root / "train_images" / "a.jpg").unlink()
    for name in "ab":
        (root / "train_segmentations" / f"{name}.png").unlink()
    (fault,) = check("lip", {"root": root})
    for file in ("a.jpg", "a.png", "b.png"):
        assert f"{file}: is not there, but train_id.txt lists it" in fault
    with pytest.raises(DataError, match=r"a\.jpg: is not there"):
        load("lip", split="train", root=root)
    readable, faults = source_named("lip")(root=root).partial("train")
    assert ([sample["id"] for sample in readable], len(faults)) == (["c"], 3)


def test_a_missing_list_is_told_with_what_was_found(make_lip):
    root = make_lip(["a"])
    (root / "train_id.txt").unlink()
    with pytest.raises(DataError, match=r"train_id\.txt: there is no such list; .*\. In .*, found train_images/"):
        load("lip", split="train", root=root)


def test_missing_labels_are_told_with_the_archive_that_has_them(make_lip):
    root = make_lip(["a"])
    (root / "train_segmentations" / "a.png").unlink()
    (root / "train_segmentations").rmdir()
    with pytest.raises(DataError, match=r"train_segmentations: there is no such folder; root must hold .*_id\.txt"):
        load("lip", split="train", root=root)


def test_a_list_without_names_is_refused(make_lip):
    make_lip(["a"])
    with pytest.raises(DataError, match="the split 'train' is empty"):
        load("lip", split="train", root=make_lip([]))


def test_a_wrong_root_is_told_with_what_was_found(tmp_path):
    (tmp_path / "Testing_images").mkdir()
    (fault,) = check("lip", {"root": tmp_path})
    assert "{train,val}_id.txt, {train,val}_images/*.jpg, {train,val}_segmentations/*.png" in fault
    assert "found Testing_images/" in fault


def test_an_unknown_split_gets_the_known_ones(make_lip):
    with pytest.raises(DataError, match=r"has no split 'test'\. Known: train, val\."):
        load("lip", split="test", root=make_lip(["a"]))


def test_a_person_is_warped_for_training_and_back_for_the_score(make_lip, save):
    root = make_lip(["a"])
    parts = np.zeros((60, 40), np.uint8)
    parts[20:40, 5:15], parts[20:40, 25:35] = 15, 14
    save("train_images/a.jpg", np.zeros((60, 40, 3), np.uint8))
    save("train_segmentations/a.png", parts)
    dataset = load("lip", split="train", root=root)
    mirrored = WarpAugment(flip=1, rotate_probability=0, scale=0, flip_pairs=dataset.flip_pairs)
    result = mirrored(dataset[0], np.random.default_rng(0))
    assert result["label"].shape == (473, 473)
    # In the picture the right arm is at the left; in the mirror image its place is at the right, as a left arm.
    assert np.nonzero(result["label"] == 14)[1].mean() > 473 / 2
    back = warp_back(result["label"], result["warp"], result["original_size"])
    swapped = np.where(parts == 14, 15, np.where(parts == 15, 14, parts))
    assert np.mean(back == swapped) > 0.97
