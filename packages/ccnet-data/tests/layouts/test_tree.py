import pytest

from ccnet_data.errors import DataError
from ccnet_data.layouts.tree import descend, found_in, list_files, list_folders, listed_names, require_folder


@pytest.mark.parametrize("start", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_a_folder_on_the_way_leads_to_the_one_inside(tmp_path, start):
    home = tmp_path / "VOCdevkit" / "VOC2012"
    home.mkdir(parents=True)
    assert descend(tmp_path / start, "VOCdevkit/VOC2012") == home


def test_a_folder_that_is_not_on_the_way_stays(tmp_path):
    (tmp_path / "VOCdevkit").mkdir()
    assert descend(tmp_path, "VOCdevkit/VOC2012") == tmp_path
    assert descend(tmp_path, "") == tmp_path


def test_a_folder_that_is_missing_says_what_is_beside_it(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "classes.txt").touch()
    with pytest.raises(
        DataError, match=r"none/labels: there is no such folder; want it\. In .*, found classes\.txt, im"
    ):
        require_folder(tmp_path / "none" / "labels", "want it")


def test_an_archive_in_place_of_a_folder_is_to_be_unpacked(tmp_path):
    (tmp_path / "gtFine.zip").touch()
    with pytest.raises(
        DataError, match=r"gtFine\.zip: is a file, not a folder; want it\. An archive is to be unpacked"
    ):
        require_folder(tmp_path / "gtFine.zip", "want it")


def test_files_are_listed_by_their_endings_in_any_case_without_hidden_ones_and_folders(tmp_path):
    for name in ("a.png", "B.PNG", "c.jpg", "._a.png", "d.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert sorted(list_files(tmp_path, (".png", ".JPG"))) == ["B.PNG", "a.png", "c.jpg"]


def test_folders_are_listed_in_order_without_hidden_ones(tmp_path):
    for name in ("val", "train", ".cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert list_folders(tmp_path) == ["train", "val"]


def test_an_empty_folder_holds_nothing(tmp_path):
    assert found_in(tmp_path) == "found nothing"


def test_a_list_holds_names_on_lines_of_any_system(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"b\r\na\n\n")
    assert listed_names(tmp_path / "train.txt", "make it") == ["b", "a"]
    with pytest.raises(DataError, match=r"val\.txt: there is no such list; make it\. In .*, found train\.txt\.$"):
        listed_names(tmp_path / "val.txt", "make it")
