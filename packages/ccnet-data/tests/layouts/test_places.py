import pytest

from ccnet_data.errors import DataError
from ccnet_data.layouts.places import Places


@pytest.fixture
def make(tmp_path):
    def make_files(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("{}", encoding="utf-8")
        return tmp_path

    return make_files


def places(root, annotations, pictures=None):
    return Places(root=root, annotations=annotations, pictures=pictures, expected="root must be right")


@pytest.mark.parametrize(
    ("annotations", "names"),
    [
        ("{split}/_annotations.coco.json", ["valid/_annotations.coco.json", "train/_annotations.coco.json"]),
        ("annotations/{split}.json", ["annotations/train.json", "annotations/valid.json", "annotations/a.txt"]),
        ("{split}/{split}.json", ["train/train.json", "valid/valid.json", "a/b.json"]),
        ("a[1]*/{split}.json", ["a[1]*/train.json", "a[1]*/valid.json", "a1/c.json"]),
    ],
)
def test_splits_are_found_by_their_files(make, annotations, names):
    root = make(*names)
    for each in (places(root, annotations), places(root / "other", str(root / annotations))):
        assert each.by_split
        assert each.splits() == ("train", "valid")
        assert each.file("valid").is_file()


def test_splits_are_found_from_the_working_folder(make, monkeypatch):
    monkeypatch.chdir(make("train.json"))
    assert places(type(make("x"))(), "{split}.json").splits() == ("train",)


def test_one_file_is_that_of_any_split(make):
    one = places(make("a.json"), "a.json")
    assert not one.by_split
    assert one.file("train") == one.file("val")


def test_pictures_lie_beside_the_file_unless_a_folder_is_named(make):
    root = make("train/a.json", "images/train/b.jpg")
    assert places(root, "{split}/a.json").folder("train") == root / "train"
    assert places(root, "{split}/a.json", "images/{split}").folder("train") == root / "images" / "train"
    with pytest.raises(DataError, match="there is no such folder; root must be right"):
        places(root, "{split}/a.json", "pictures").folder("train")


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ("{split}.json", r"val\.json: there is no such file, so no split 'val'\. Did you mean 'vall'"),
        ("b.json", r"b\.json: there is no such file; root must be right\. In .*, found vall\.json"),
        ("none/{split}.json", "none: there is no such folder; root must be right"),
    ],
)
def test_a_missing_file_says_what_is_there(make, annotations, message):
    with pytest.raises(DataError, match=message):
        places(make("vall.json"), annotations).file("val")
