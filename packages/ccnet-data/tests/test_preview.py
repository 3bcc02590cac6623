from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ccnet_data.classes import default_palette
from ccnet_data.errors import DataError
from ccnet_data.preview import GAP, LINE, MANY_CLASSES, MARGIN, SIDE, WIDTH, contact_sheet, save_preview
from ccnet_data.registry import load


class Made(list):
    """A dataset of the samples in the list, with as many classes as are asked for."""

    def __init__(self, samples, count=3, task="segmentation"):
        super().__init__(samples)
        self.task, self.classes, self.palette = task, tuple(f"c{n}" for n in range(count)), default_palette(count)


def sample(labels=(0,), height=40, width=80, name="a"):
    label = np.resize(np.array(labels, np.uint8), (height, width))
    return {"image": np.zeros((3, height, width), np.uint8), "label": label, "id": name}


def shows(sheet, colour):
    return (np.asarray(sheet) == colour).all(axis=2).any()


@pytest.fixture
def beacon():
    return load("beacon", split="train", length=9)


def enlarged(beacon_sample):
    picture = Image.fromarray(beacon_sample["image"].transpose(1, 2, 0))
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.NEAREST))


def test_the_sheet_shows_the_first_and_the_last_picture(beacon):
    sheet = np.asarray(contact_sheet(beacon, 2))
    top = MARGIN + LINE
    for index, left in ((0, MARGIN), (8, 2 * MARGIN + 2 * SIDE + GAP)):
        np.testing.assert_array_equal(sheet[top : top + SIDE, left : left + SIDE], enlarged(beacon[index]))


def asked(count, seed, length=30):
    """Return the positions of the samples that a sheet of `count` shows, in their order on it."""
    dataset = Made([sample(height=1, width=1)] * length)
    positions = []
    dataset.__class__ = type("Asked", (Made,), {"__getitem__": lambda self, index: positions.append(index) or sample()})
    contact_sheet(dataset, count, seed)
    return positions


def test_samples_are_evenly_spread_without_a_seed():
    assert asked(4, None, length=10) == [0, 3, 6, 9]
    assert asked(1, None) == [0]


def test_a_seed_chooses_by_chance_in_order_and_always_the_same():
    assert asked(5, 1) == asked(5, 1) == sorted(asked(5, 1))
    assert asked(5, 1) != asked(5, 2)
    assert {position for seed in range(40) for position in asked(5, seed)} == set(range(30))


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_every_sample_comes_once_at_most(seed):
    assert asked(100, seed, length=9) == list(range(9))


def test_a_row_holds_as_many_samples_as_there_is_room_for():
    upright = [sample(height=80, width=20, name=str(number)) for number in range(9)]
    across = [sample(height=20, width=80, name=str(number)) for number in range(9)]
    assert contact_sheet(Made(upright), 9).width <= WIDTH + 2 * MARGIN
    of_upright = {count: contact_sheet(Made(upright), count).height for count in (6, 7, 8)}
    assert of_upright[6] == of_upright[7] < of_upright[8]
    of_across = {count: contact_sheet(Made(across), count).height for count in (1, 2, 3)}
    assert of_across[1] == of_across[2] < of_across[3]


def test_a_row_is_as_high_as_its_highest_sample():
    high, low = sample(height=80, width=20), sample(height=20, width=80)
    assert contact_sheet(Made([high, low]), 2).height == contact_sheet(Made([low, high]), 2).height
    assert contact_sheet(Made([high, low, low]), 3).height == contact_sheet(Made([low, high, low]), 3).height


def test_a_legend_of_few_classes_shows_them_all(beacon):
    legend = contact_sheet(beacon, 1).crop((0, 2 * MARGIN + LINE + SIDE, 2000, 2000))
    for colour in beacon.palette:
        assert shows(legend, colour)


def test_a_legend_of_many_classes_shows_those_that_occur():
    palette = default_palette(150)
    sheet = contact_sheet(Made([sample((7, 140)), sample((9,))], count=150), 2)
    assert all(shows(sheet, palette[number]) for number in (7, 9, 140))
    assert not any(shows(sheet, palette[number]) for number in (0, 8, 149))
    assert shows(contact_sheet(Made([sample()], count=MANY_CLASSES), 1), palette[MANY_CLASSES - 1])
    assert not shows(contact_sheet(Made([sample()], count=MANY_CLASSES + 1), 1), palette[MANY_CLASSES])
    all_of_them = contact_sheet(Made([sample(range(150))], count=150), 1)
    assert all(shows(all_of_them, colour) for colour in palette)
    assert all_of_them.height > sheet.height


def test_what_is_ignored_is_in_the_legend_where_it_occurs():
    without, ignored = (contact_sheet(Made([sample(labels)]), 1) for labels in ((0,), (0, 255)))
    assert np.asarray(ignored)[-60:].mean() < np.asarray(without)[-60:].mean()


def test_titles_stay_above_their_picture():
    names = ["x" * 500, "short"]
    sheet = np.asarray(contact_sheet(Made([sample(name=name) for name in names]), 2))
    between = sheet[MARGIN : MARGIN + LINE, MARGIN + 2 * SIDE + GAP : 2 * MARGIN + 2 * SIDE + GAP]
    assert (between == 255).all()
    title = sheet[MARGIN : MARGIN + LINE, MARGIN : MARGIN + 2 * SIDE]
    assert (title < 128).any(axis=(0, 2)).nonzero()[0].max() > 2 * SIDE - 30


def test_long_titles_keep_both_ends():
    def title(name):
        return np.asarray(contact_sheet(Made([sample(name=name)]), 1))[MARGIN : MARGIN + LINE]

    middle, ends = "m" * 200, "e" * 200
    assert (title(f"a{middle}1") != title(f"b{middle}1")).any()
    assert (title(f"a{middle}1") != title(f"a{middle}2")).any()
    np.testing.assert_array_equal(title(f"{ends}x{ends}"), title(f"{ends}y{ends}"))


def test_long_class_names_do_not_overlap():
    dataset = Made([sample()], count=2)
    dataset.classes = ("w" * 400, "second")
    sheet = contact_sheet(dataset, 1)
    assert all(shows(sheet, colour) for colour in dataset.palette)


def test_a_clip_says_that_its_last_frame_is_shown():
    clip = sample()
    clip["image"] = np.stack([clip["image"]] * 5)
    still, moving = (
        contact_sheet(Made([one], task=task), 1) for one, task in ((sample(), "segmentation"), (clip, "video"))
    )
    assert (np.asarray(still)[MARGIN + LINE :] == np.asarray(moving)[MARGIN + LINE :]).all()
    assert np.asarray(moving)[: MARGIN + LINE].sum() < np.asarray(still)[: MARGIN + LINE].sum()


def test_an_empty_dataset_is_refused():
    with pytest.raises(DataError, match="holds no samples"):
        contact_sheet(Made([]), 3)


def test_saving_leaves_the_png_and_nothing_else(beacon, tmp_path):
    file = tmp_path / "new" / "sheet.png"
    save_preview(beacon, file, count=2)
    with Image.open(file) as sheet:
        assert sheet.format == "PNG"
    assert list(file.parent.iterdir()) == [file]


def test_another_suffix_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(DataError, match=r"ends in \.png"):
        save_preview(SimpleNamespace(), tmp_path / "sheet.jpg", count=1)
