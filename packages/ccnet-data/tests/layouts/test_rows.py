import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.labels import ClassLabels
from ccnet_data.layouts.rows import RowReader, StreamDataset, TableDataset
from ccnet_data.testing import check_dataset


@pytest.fixture
def rows(png):
    return [
        {
            "image": {"bytes": png(np.full((4, 6, 3), number, np.uint8)), "path": None},
            "label": png(np.full((4, 6), number, np.uint8)),
            "name": name,
        }
        for number, name in enumerate(["x", 7, None])
    ]


def dataset(kind, rows, id_column="name", count=3):
    reader = RowReader(
        where="a.parquet",
        image_column="image",
        label_column="label",
        id_column=id_column,
        read_label=ClassLabels(count=count),
    )
    return kind(rows=rows, reader=reader, classes=("a", "b", "c"), palette=((0, 0, 0),) * 3)


def test_a_table_conforms(rows):
    check_dataset(dataset(TableDataset, rows))


@pytest.mark.parametrize("kind", [TableDataset, StreamDataset])
def test_ids_come_from_a_column_or_the_row_number(rows, kind):
    assert [sample["id"] for sample in dataset(kind, rows)] == ["x", "7", "000002"]
    assert [sample["id"] for sample in dataset(kind, rows, None)] == ["000000", "000001", "000002"]


@pytest.mark.parametrize("kind", [TableDataset, StreamDataset])
def test_a_fault_names_table_row_and_column(rows, kind, png):
    rows[1]["label"] = png(np.full((4, 6), 3, np.uint8))
    samples = iter(dataset(kind, rows))
    next(samples)
    with pytest.raises(DataError, match=r"^a\.parquet, row 1, column 'label': label values 3 are outside"):
        next(samples)
    rows[1]["label"] = png(np.zeros((6, 4), np.uint8))
    with pytest.raises(DataError, match=r"^a\.parquet, row 1: the picture is 6x4"):
        list(dataset(kind, rows))


def test_a_stream_can_be_read_again_and_listed(rows):
    stream = dataset(StreamDataset, rows)
    assert (
        [sample["image"].max() for sample in list(stream)] == [sample["image"].max() for sample in stream] == [0, 1, 2]
    )


def test_a_stream_has_neither_length_nor_positions(rows):
    stream = dataset(StreamDataset, rows)
    with pytest.raises(DataError, match=r"^a\.parquet: a stream has no length; leave streaming=true out"):
        len(stream)
    with pytest.raises(DataError, match=r"^a\.parquet: a stream is read from its beginning .* not at 0; leave"):
        stream[0]


def test_a_stream_that_breaks_off_names_the_row(rows):
    class Broken:
        def __iter__(self):
            yield rows[0]
            raise ConnectionError("reset by peer")

    samples = iter(dataset(StreamDataset, Broken()))
    next(samples)
    with pytest.raises(DataError, match=r"^a\.parquet, row 1: cannot be received \(reset by peer\); check file and"):
        next(samples)
