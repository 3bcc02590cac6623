import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.frequency import class_frequency
from ccnet_data.info import info_lines
from ccnet_data.layouts.shards import Shards
from ccnet_data.preview import save_preview
from ccnet_data.registry import check, load
from ccnet_data.shards.convert import convert
from ccnet_data.shards.plan import Format
from ccnet_data.testing import check_dataset
from ccnet_data.verify import verify

FORMS = [
    Format(encoding="raw", shard_size=100_000),
    Format(shard_size=40_000),
    Format(encoding="jpeg", shard_size=10_000),
]


@pytest.fixture
def root(tmp_path):
    out = tmp_path / "out"
    convert("beacon", {"length": 20}, out, form=FORMS[1], workers=0)
    return out


def faults(root):
    return [fault.text for report in verify(Shards(root=root), workers=0) for fault in report.faults]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.encoding)
def test_shards_conform_and_have_no_faults(tmp_path, form):
    manifest = convert("beacon", {"length": 20}, tmp_path / "out", form=form, workers=0).manifest
    assert len(manifest.splits["train"]) > 1
    assert check("shards", {"root": tmp_path / "out"}) == []
    for split in ("train", "val"):
        dataset, source = load("shards", split, root=tmp_path / "out"), load("beacon", split, length=20)
        check_dataset(dataset)
        for one, other in zip(dataset, source, strict=True):
            assert one["id"] == other["id"]
            np.testing.assert_array_equal(one["label"], other["label"])
    assert faults(tmp_path / "out") == []


def test_all_commands_know_them(root, tmp_path):
    assert "shards, split val: 20 samples, task segmentation" in info_lines("shards", "val", {"root": root})
    dataset, source = load("shards", "train", root=root), load("beacon", "train", length=20)
    assert class_frequency(dataset, 0).pixels.tolist() == class_frequency(source, 0).pixels.tolist()
    for name, each in (("a.png", dataset), ("b.png", source)):
        save_preview(each, tmp_path / name, count=2)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_damaged_sample_can_be_replaced(root):
    damaged = next(root.glob("train-00000-*"))
    content = bytearray(damaged.read_bytes())
    content[content.index(b"IDAT") + 8] ^= 0xFF
    damaged.write_bytes(content)
    with pytest.raises(DataError, match=r"train-00000-of-0000\d\.parquet, row 0, column 'image': not a readable"):
        load("shards", "train", root=root)[0]
    assert "replaces" in load("shards", "train", root=root, on_error="replace")[0]


def test_a_place_without_shards_says_what_is_expected(tmp_path):
    assert check("shards") == [
        "root is missing: give root=DIR, the folder that holds manifest.json and the shards, or its URL."
    ]
    (fault,) = check("shards", {"root": tmp_path / "none"})
    assert "there is no such folder; root must hold manifest.json and the shards that `ccnet-data convert`" in fault
    (fault,) = check("shards", {"root": tmp_path})
    assert "manifest.json: cannot be read (No such file" in fault


def test_a_split_that_is_not_there_gets_the_nearest(root):
    with pytest.raises(DataError, match=r"there is no split 'vall'\. Did you mean 'val'\?"):
        load("shards", "vall", root=root)


def test_missing_and_shortened_shards_are_faults_before_any_is_opened(root, monkeypatch):
    monkeypatch.setattr("ccnet_data.shards.files.ShardFile.__init__", None)
    first, second, *_ = sorted(root.glob("train-*"))
    second.write_bytes(second.read_bytes()[:-1])
    (fault,) = check("shards", {"root": root})
    assert f"{second}: has " in fault
    first.unlink()
    (fault,) = check("shards", {"root": root})
    assert fault.startswith(f"{first}: there is no such file")


def test_verify_finds_every_fault_of_the_files(root):
    missing, short, changed, *_ = sorted(root.glob("train-*"))
    missing.unlink()
    short.write_bytes(short.read_bytes()[:-1])
    content = bytearray(changed.read_bytes())
    content[content.index(b"IDAT") + 8] ^= 0xFF
    changed.write_bytes(content)
    (root / "test-00000-of-00001.parquet").write_bytes(b"")
    found = faults(root)
    assert len(found) == 5
    for place, message in (
        (missing, "cannot be read"),
        (short, "has "),
        (changed, "its SHA-256 is"),
        (root, "the manifest does not name test-00000-of-00001.parquet"),
        (changed, "row 0, column 'image'"),
    ):
        assert any(fault.startswith(str(place)) and message in fault for fault in found)
