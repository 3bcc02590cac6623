import pytest

from ccnet_data.errors import DataError
from ccnet_data.layouts.parquet_files import files_by_split, require_parquet, split_files

WHOLE = b"PAR1" + bytes(20) + (20).to_bytes(4, "little") + b"PAR1"


@pytest.fixture
def root(tmp_path):
    for name in ("val", "train"):
        (tmp_path / f"{name}.parquet").write_bytes(WHOLE)
    return tmp_path


def test_the_files_of_a_folder_are_its_splits(root):
    assert split_files(root, "train") == [root / "train.parquet"]
    assert files_by_split(root) == {"train": [root / "train.parquet"], "val": [root / "val.parquet"]}


def numbered(split, numbers, count):
    return [f"{split}-{number:05d}-of-{count:05d}.parquet" for number in numbers]


def test_numbered_files_are_a_split_in_their_order(root):
    names = numbered("test-a", range(12), 12)
    for name in reversed(names):
        (root / name).write_bytes(WHOLE)
    assert split_files(root, "test-a") == [root / name for name in names]
    assert list(files_by_split(root)) == ["test-a", "train", "val"]


def test_numbered_files_that_are_missing_are_named(root):
    for name in numbered("test", (0, 2, 3), 5):
        (root / name).write_bytes(WHOLE)
    missing = "test-00001-of-00005.parquet, test-00004-of-00005.parquet is missing; fetch the split 'test' whole"
    for split in ("test", "train"):
        with pytest.raises(DataError, match=missing):
            split_files(root, split)


@pytest.mark.parametrize("other", [*numbered("train", [0], 1), "train-00000-of-00002.parquet"])
def test_two_sets_of_files_for_one_split_are_refused(root, other):
    (root / other).write_bytes(WHOLE)
    with pytest.raises(DataError, match=rf"the split 'train' is there several times \({other}, train\.parquet\)"):
        split_files(root, "train")


def test_a_split_without_a_file_gets_the_nearest(root):
    with pytest.raises(DataError, match=r"there is no vall\.parquet for the split 'vall'\. Did you mean 'val'\?"):
        split_files(root, "vall")


def test_a_root_without_parquet_files_says_what_was_found(tmp_path):
    (tmp_path / "train.csv").write_text("", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"root must hold train\.parquet and val\.parquet, .* \(.*repo=DIR\); found train\.csv\.$"
    ):
        files_by_split(tmp_path)
    with pytest.raises(DataError, match="none: there is no such folder"):
        files_by_split(tmp_path / "none")


def test_a_whole_file_is_one_by_its_ends(root):
    require_parquet(root / "train.parquet")


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1" + bytes(50), b"text\n" * 20, WHOLE[:-1], WHOLE[1:], WHOLE[8:]]
)
def test_a_file_that_is_not_whole_is_refused(root, content):
    (root / "train.parquet").write_bytes(content)
    with pytest.raises(DataError, match=rf"train\.parquet: not a whole parquet file \({len(content)} bytes\)"):
        require_parquet(root / "train.parquet")


def test_a_footer_longer_than_the_file_is_refused(root):
    (root / "train.parquet").write_bytes(b"PAR1" + b"\xff" * 8 + b"PAR1")
    with pytest.raises(DataError, match="not a whole parquet file"):
        require_parquet(root / "train.parquet")


def test_a_file_that_is_not_there_is_named(root):
    with pytest.raises(DataError, match=r"none\.parquet: cannot be read \(No such file"):
        require_parquet(root / "none.parquet")
