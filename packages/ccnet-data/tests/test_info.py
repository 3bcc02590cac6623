import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.info import info_lines
from ccnet_data.registry import SOURCES
from ccnet_data.synthetic import Beacon

PUBLISHED = sorted(name for name, source in SOURCES.items() if source.description is not None)


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def cityscapes(save, tmp_path):
    """A root with two training pictures, one of them without a label, and an unlabelled test picture."""
    for split, name in (("train", "ulm_000001"), ("train", "ulm_000000"), ("test", "bonn_000000")):
        city = name.partition("_")[0]
        save(f"leftImg8bit/{split}/{city}/{name}_000019_leftImg8bit.png", np.zeros((2, 3, 3), np.uint8))
    save("gtFine/train/ulm/ulm_000000_000019_gtFine_labelIds.png", np.zeros((2, 3), np.uint8))
    return tmp_path


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_facts_of_a_published_dataset_are_there_before_its_files(name):
    known = SOURCES[name].description
    lines = info_lines(name, "train", {})
    assert lines[0] == f"{name}: {known.title}"
    assert f"page: {known.page}" in lines
    assert f"terms: {known.terms}" in lines
    assert all(f"    {line}" in lines for line in known.tree.splitlines())
    assert all(f"{split} {size}" in lines[3] for split, size in known.sizes.items())
    text = "\n".join(lines)
    assert all(
        f"#{bytes(colour).hex()}  {name}" in text for name, colour in zip(known.classes, known.palette, strict=True)
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_description_is_whole(name):
    known = SOURCES[name].description
    assert len(known.palette) == len(known.classes) == len(set(known.classes))
    assert all(0 <= channel <= 255 for colour in known.palette for channel in colour)
    assert known.page.startswith("http")
    assert next(iter(known.sizes)) == "train"


def test_nineteen_classes_fit_on_a_screen_in_columns_read_downwards():
    lines = info_lines("cityscapes", "train", {})
    assert len(lines) <= 24
    first = next(line for line in lines if "road" in line)
    assert first.split() == ["0", "#804080", "road", "10", "#4682b4", "sky"]
    assert lines[-1].split() == ["9", "#98fb98", "terrain"]


def test_in_a_narrow_terminal_each_class_has_a_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = info_lines("cityscapes", "train", {})
    assert [line.split()[0] for line in lines[-19:]] == [str(number) for number in range(19)]


def test_with_a_root_the_lines_say_what_is_there(cityscapes):
    lines = info_lines("cityscapes", "train", {"root": cityscapes})
    assert "train: 1 samples of 2975 published, faults: 1 (`ccnet-data verify` lists them)" in lines
    assert "first sample: ulm_000000_000019, 3x2 (width x height)" in lines
    assert "val: not there" in lines
    assert "test: 1 samples of 1525 published" in lines


def test_a_split_that_is_not_there_has_no_first_sample(cityscapes):
    assert not any("first sample" in line for line in info_lines("cityscapes", "val", {"root": cityscapes}))


def test_an_unknown_split_names_the_nearest(cityscapes):
    for options in ({"root": cityscapes}, {}):
        with pytest.raises(DataError, match=r"no split 'trian'\. Did you mean 'train'"):
            info_lines("cityscapes", "trian", options)


def test_a_root_without_any_split_says_what_was_expected(tmp_path):
    with pytest.raises(DataError, match=r"root must hold leftImg8bit/.*found nothing"):
        info_lines("cityscapes", "train", {"root": tmp_path})


def test_a_wrong_option_names_the_nearest():
    with pytest.raises(DataError, match="Did you mean 'root'"):
        info_lines("cityscapes", "train", {"rot": "data"})


def test_files_of_ones_own_are_described_as_they_are(make_folder):
    lines = info_lines("folder", "train", {"root": make_folder(["a", "b"]), "classes": ["one", "two"]})
    assert lines[:3] == [
        "folder, split train: 2 samples, task segmentation",
        "first sample: a, 6x4 (width x height)",
        "classes: 2, ignored pixels have label 255",
    ]


class OneClip:
    """A dataset of one clip of five frames."""

    task, classes, palette, flip_pairs = "video", ("left", "right"), ((1, 2, 3), (4, 5, 6)), ((0, 1),)

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return {"image": np.zeros((5, 3, 4, 6), np.uint8), "label": np.zeros((4, 6), np.uint8), "id": "run-4"}


def test_a_clip_tells_its_frames_and_the_dataset_what_a_mirror_image_swaps(monkeypatch):
    monkeypatch.setitem(SOURCES, "clips", type("Clips", (Beacon,), {"open": lambda self, split: OneClip()}))
    lines = info_lines("clips", "train", {})
    assert lines[0] == "clips, split train: 1 samples, task video"
    assert lines[1] == "first sample: run-4, 5 frames of 6x4 (width x height)"
    assert lines[-1] == "swapped in a mirror image: left, right"
