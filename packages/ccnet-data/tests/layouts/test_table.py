import datasets
import numpy as np
import pytest
from pyarrow import parquet

from ccnet_data.errors import DataError
from ccnet_data.layouts.table import Repository, picture_bytes, picture_column, read_files, undecoded

pytestmark = pytest.mark.usefixtures("arrow_cache")


@pytest.fixture
def rows(png):
    content = png(np.zeros((2, 2, 3), np.uint8))
    return datasets.Dataset.from_dict(
        {
            "label": [1],
            "picture": [{"bytes": content, "path": None}],
            "plain": [content],
            "pair": [{"bytes": content, "path": "a.png"}],
        },
        features=datasets.Features(
            label=datasets.Value("int64"),
            picture=datasets.Image(),
            plain=datasets.Value("binary"),
            pair={"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
        ),
    )


@pytest.mark.parametrize("name", ["picture", "plain", "pair"])
def test_pictures_may_be_stored_in_three_ways(rows, name):
    assert picture_column(rows, "image_column", name, (), "a.parquet") == name


def test_the_first_usual_column_that_holds_pictures_is_found(rows):
    assert picture_column(rows, "label_column", None, ("label", "plain", "pair"), "a.parquet") == "plain"


def test_undecoded_rows_give_bytes(rows):
    assert undecoded(rows)[0]["picture"]["bytes"].startswith(b"\x89PNG")


def test_reading_draws_no_progress_bar_and_leaves_the_settings(rows, tmp_path, capfd):
    rows.to_parquet(tmp_path / "a.parquet")
    capfd.readouterr()
    before = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    assert len(read_files([tmp_path / "a.parquet"], "a.parquet", streaming=False)) == 1
    assert capfd.readouterr() == ("", "")
    assert (datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()) == before


def test_a_file_without_rows_is_an_error(rows, tmp_path):
    rows.to_parquet(tmp_path / "a.parquet")
    parquet.write_table(parquet.read_table(tmp_path / "a.parquet").slice(0, 0), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"^here: no rows could be read \(.*\); write the file again"):
        read_files([tmp_path / "a.parquet"], "here", streaming=False)


def test_a_damaged_file_is_one_quiet_error(tmp_path, capfd):
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(40) + b"PAR1")
    with pytest.raises(DataError, match=r"^here: no rows could be read"):
        read_files([tmp_path / "a.parquet"], "here", streaming=False)
    assert capfd.readouterr() == ("", "")


def test_rows_are_the_same_when_they_are_streamed(rows, tmp_path, capfd):
    rows.to_parquet(tmp_path / "a.parquet")
    capfd.readouterr()
    table, stream = (undecoded(read_files([tmp_path / "a.parquet"], "here", streaming)) for streaming in (False, True))
    assert isinstance(stream, datasets.IterableDataset)
    assert list(table) == list(stream)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def repository(rows, tmp_path):
    """A folder that looks like a dataset of the Hub."""
    (tmp_path / "repo" / "data").mkdir(parents=True)
    for split in ("train", "validation"):
        rows.to_parquet(tmp_path / "repo" / "data" / f"{split}-00000-of-00001.parquet")
    (tmp_path / "repo" / "id2label.json").write_text('{"0": "straße"}', encoding="utf-8")
    return Repository(name=str(tmp_path / "repo"))


def test_a_repository_has_splits_rows_and_texts(repository, capfd):
    capfd.readouterr()
    assert repository.splits() == ["train", "validation"]
    for streaming in (False, True):
        (row,) = undecoded(repository.read("train", streaming))
        assert row["picture"]["bytes"].startswith(b"\x89PNG")
    assert repository.text("id2label.json") == '{"0": "straße"}'
    assert capfd.readouterr() == ("", "")


def test_what_a_repository_lacks_is_an_error(repository, tmp_path):
    with pytest.raises(DataError, match=r"repo: names\.json: cannot be read \(.*No such file.*\); check the name"):
        repository.text("names.json")
    with pytest.raises(DataError, match=r"repo: cannot be read \(Unknown split \"test\"\. Should be one of"):
        repository.read("test", streaming=False)
    with pytest.raises(DataError, match=r"none/here: cannot be read \(Couldn't find any data file at"):
        Repository(name=str(tmp_path / "none" / "here")).splits()


def test_a_picture_in_a_file_of_its_own_is_read(tmp_path):
    (tmp_path / "a.png").write_bytes(b"content")
    assert picture_bytes({"bytes": None, "path": str(tmp_path / "a.png")}, "here") == b"content"
    assert picture_bytes({"bytes": b"inside", "path": str(tmp_path / "a.png")}, "here") == b"inside"
    assert picture_bytes(b"plain", "here") == b"plain"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (None, "holds no bytes of a picture; write the file with the pictures embedded"),
        ({"bytes": None, "path": None}, "holds no bytes of a picture"),
        ({"bytes": None, "path": "no/where.png"}, r"names the picture no/where\.png, which cannot be read \(.*No such"),
    ],
)
def test_a_cell_without_a_picture_is_an_error(cell, message):
    with pytest.raises(DataError, match=f"^here: {message}"):
        picture_bytes(cell, "here")


def test_a_stream_of_unknown_columns_is_an_error():
    stream = datasets.IterableDataset.from_generator(lambda: iter([{"image": 1}]))
    assert stream.features is None
    with pytest.raises(DataError, match=r"^here: .* Columns with pictures: none\."):
        picture_column(stream, "image_column", None, ("image",), "here")
    with pytest.raises(DataError, match=r"^here: image_column='image' is no column"):
        picture_column(stream, "image_column", "image", (), "here")
