import datasets
import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.layouts.table import picture_column, read_rows, undecoded

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
    assert len(read_rows([tmp_path / "a.parquet"], "a.parquet")) == 1
    assert capfd.readouterr() == ("", "")
    assert (datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()) == before


def test_a_file_without_rows_is_an_error(rows, tmp_path):
    rows.select([]).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"^here: no rows could be read \(.*\); write the file again"):
        read_rows([tmp_path / "a.parquet"], "here")


def test_a_damaged_file_is_one_quiet_error(tmp_path, capfd):
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(40) + b"PAR1")
    with pytest.raises(DataError, match=r"^here: no rows could be read"):
        read_rows([tmp_path / "a.parquet"], "here")
    assert capfd.readouterr() == ("", "")
