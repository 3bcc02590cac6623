import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ccnet_data.errors import DataError
from ccnet_data.layouts.voc import CLASSES
from ccnet_data.prepare import prepare_voc12aug, read_segmentation
from ccnet_data.registry import check, load

io = pytest.importorskip("scipy.io", reason="scipy reads the .mat files of SBD")
sparse = pytest.importorskip("scipy.sparse")

SBD = "benchmark_RELEASE/dataset"


def mat(segmentation):
    """Encode a label as SBD does: the struct GTcls with boundaries, label and the classes that are present."""
    boundaries = np.empty((20, 1), object)
    for number in range(20):
        boundaries[number, 0] = sparse.csc_matrix(segmentation == number + 1)
    present = np.unique(segmentation[segmentation > 0])[:, None]
    stream = BytesIO()
    struct = {"Boundaries": boundaries, "Segmentation": segmentation, "CategoriesPresent": present}
    io.savemat(stream, {"GTcls": struct}, do_compression=True)
    return stream.getvalue()


@pytest.fixture
def voc(save, tmp_path):
    """VOC 2012 with 2007_000001 for training and 2007_000002 for validation, and a picture without a label."""
    home = tmp_path / "VOC2012"
    for number, part in enumerate(["train", "val"], 1):
        save(f"VOC2012/JPEGImages/2007_{number:06d}.jpg", np.zeros((2, 3, 3), np.uint8))
        save(f"VOC2012/SegmentationClass/2007_{number:06d}.png", np.full((2, 3), number, np.uint8))
        file = home / f"ImageSets/Segmentation/{part}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"2007_{number:06d}\n", encoding="utf-8")
    save("VOC2012/JPEGImages/2008_000001.jpg", np.zeros((2, 3, 3), np.uint8))
    return home


@pytest.fixture
def sbd(save, tmp_path):
    """SBD with labels for both pictures of VOC's lists, for 2008_000001 and for 2008_000002, which VOC lacks."""
    home = tmp_path / SBD
    (home / "cls").mkdir(parents=True)
    for number, name in enumerate(["2007_000001", "2007_000002", "2008_000001", "2008_000002"]):
        save(f"{SBD}/img/{name}.jpg", np.full((2, 3, 3), 80, np.uint8))
        (home / f"cls/{name}.mat").write_bytes(mat(np.array([[0, 1, 20], [0, 0, number]], np.uint8)))
    (home / "train.txt").write_text("2007_000002\n2008_000001\n", encoding="utf-8")
    (home / "val.txt").write_text("2007_000001\n2008_000002\n", encoding="utf-8")
    return home


def test_what_neither_list_of_voc_has_is_added_for_training(voc, sbd):
    assert prepare_voc12aug(voc, sbd) == voc / "ImageSets/Segmentation/aug.txt"
    assert check("voc12aug", {"root": voc}) == []
    train = load("voc12aug", split="train", root=voc)
    assert [sample["id"] for sample in train] == ["2007_000001", "2008_000001", "2008_000002"]
    assert [sample["label"].tolist() for sample in train] == [
        [[1, 1, 1], [1, 1, 1]],
        [[0, 1, 20], [0, 0, 2]],
        [[0, 1, 20], [0, 0, 3]],
    ]
    assert sorted(file.name for file in (voc / "SegmentationClassAug").iterdir()) == [
        "2008_000001.png",
        "2008_000002.png",
    ]


def test_the_labels_have_the_colours_of_voc(voc, sbd):
    prepare_voc12aug(voc, sbd)
    with Image.open(voc / "SegmentationClassAug/2008_000001.png") as label:
        assert label.mode == "P"
        assert label.convert("RGB").getpixel((2, 0)) == CLASSES[20][1]


def test_only_pictures_that_voc_lacks_are_copied(voc, sbd):
    prepare_voc12aug(voc, sbd)
    pictures = voc / "JPEGImages"
    assert (pictures / "2008_000002.jpg").read_bytes() == (sbd / "img/2008_000002.jpg").read_bytes()
    assert (pictures / "2008_000001.jpg").read_bytes() != (sbd / "img/2008_000001.jpg").read_bytes()


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_sbd_may_be_any_folder_on_the_way(voc, sbd, levels):
    assert prepare_voc12aug(voc, [sbd, *sbd.parents][levels]).read_text(encoding="utf-8").count("\n") == 2


def test_a_second_run_goes_on_where_the_first_was_stopped(voc, sbd):
    prepare_voc12aug(voc, sbd)
    first, second = (voc / f"SegmentationClassAug/2008_00000{number}.png" for number in (1, 2))
    (voc / "ImageSets/Segmentation/aug.txt").unlink()
    second.unlink()
    (sbd / "cls/2008_000001.mat").write_bytes(b"not read again")
    before = first.stat().st_mtime_ns
    prepare_voc12aug(voc, sbd)
    assert first.stat().st_mtime_ns == before
    assert len(load("voc12aug", split="train", root=voc)) == 3


def damaged():
    whole = mat(np.zeros((2, 3), np.uint8))
    changed = bytearray(whole)
    changed[-1] ^= 1
    other = BytesIO()
    io.savemat(other, {"other": 1})
    return {
        "empty": b"",
        "truncated": whole[:-40],
        "changed": bytes(changed),
        "text": b"<html>not found</html>" * 20,
        "another variable": other.getvalue(),
        "a class too many": mat(np.full((2, 3), 21, np.uint8)),
        "no whole numbers": mat(np.full((2, 3), 0.5)),
        "no picture": mat(np.zeros((0, 0), np.uint8)),
    }


@pytest.mark.parametrize("kind", damaged())
def test_a_damaged_file_is_named_and_the_list_is_not_written(voc, sbd, kind):
    (sbd / "cls/2008_000001.mat").write_bytes(damaged()[kind])
    with pytest.raises(DataError, match=r"^1 of 2 labels are missing\. .*2008_000001\.mat: .*; fetch it again\."):
        prepare_voc12aug(voc, sbd)
    assert [file.name for file in (voc / "SegmentationClassAug").iterdir()] == ["2008_000002.png"]
    assert not (voc / "ImageSets/Segmentation/aug.txt").exists()


def test_a_file_that_sbd_lists_but_lacks_is_named(voc, sbd):
    (sbd / "cls/2008_000001.mat").unlink()
    (sbd / "img/2008_000002.jpg").unlink()
    with pytest.raises(DataError, match=r"2 of 2 .*2008_000001\.mat: cannot be read.*img/2008_000002\.jpg: cannot"):
        prepare_voc12aug(voc, sbd)


def test_a_wrong_folder_for_sbd_says_what_was_expected(voc, tmp_path):
    with pytest.raises(DataError, match=r"train\.txt: there is no such list; sbd must hold cls/"):
        prepare_voc12aug(voc, voc)
    with pytest.raises(DataError, match=r"nowhere: there is no such folder; sbd must hold cls/"):
        prepare_voc12aug(voc, tmp_path / "nowhere")


def test_a_wrong_root_says_what_was_expected(sbd):
    with pytest.raises(DataError, match=r"root must hold JPEGImages/"):
        prepare_voc12aug(sbd, sbd)


def test_without_scipy_the_error_names_the_extra(voc, sbd, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(DataError, match=r'python -m pip install "ccnet-data\[voc\]"'):
        prepare_voc12aug(voc, sbd)


@pytest.mark.parametrize("kind", ["empty", "truncated", "changed"])
def test_scipy_which_may_crash_the_process_never_sees_such_a_file(kind, monkeypatch):
    monkeypatch.setattr(io, "loadmat", lambda *_, **__: pytest.fail("scipy has seen it"))
    with pytest.raises(DataError, match=r"^x\.mat: not a label file of SBD \(.+\); fetch it again\.$"):
        read_segmentation(damaged()[kind], "x.mat")
