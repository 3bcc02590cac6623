import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ccnet_core import render
from ccnet_core.outputs import ENDINGS, Outputs, areas
from ccnet_core.picture_files import Named


@pytest.fixture
def labels(picture):
    return np.random.default_rng(1).integers(0, 3, picture.shape[:2], dtype=np.uint8)


@pytest.fixture
def outputs(tiny, tmp_path):
    def make(*kinds, **options):
        return Outputs(folder=tmp_path, kinds=kinds, config=tiny.config, **options)

    return make


def test_areas_count_every_class(labels):
    found = areas(labels, ("a", "b", "c", "d"))
    assert (found["height"], found["width"]) == (37, 51)
    for index, entry in enumerate(found["classes"]):
        pixels = sum(1 for label in labels.reshape(-1) if label == index)
        assert entry == {"index": index, "name": "abcd"[index], "pixels": pixels, "share": pixels / (37 * 51)}
    assert sum(entry["share"] for entry in found["classes"]) == pytest.approx(1)


def test_each_kind_is_a_file(outputs, picture, labels, pixels, tiny, tmp_path):
    outputs(*ENDINGS).write(Named("a.jpg", "sub/a"), picture, labels)
    assert {path.name for path in (tmp_path / "sub").iterdir()} == {f"a{ending}" for ending in ENDINGS.values()}
    palette = tiny.config.palette
    np.testing.assert_array_equal(pixels(tmp_path / "sub/a_labels.png"), labels)
    np.testing.assert_array_equal(pixels(tmp_path / "sub/a_overlay.png"), render.overlay(picture, labels, palette))
    assert json.loads((tmp_path / "sub/a_areas.json").read_text()) == areas(labels, tiny.config.classes)
    side = pixels(tmp_path / "sub/a_side.png")
    np.testing.assert_array_equal(side[:37, :51], picture)
    np.testing.assert_array_equal(side[:37, 51 + render.GAP : 102 + render.GAP], render.colour_labels(labels, palette))
    assert len(side) > 37  # the legend


def test_labels_carry_their_palette(outputs, picture, labels, tiny, tmp_path):
    outputs("labels").write(Named("a.jpg", "a"), picture, labels)
    with Image.open(tmp_path / "a_labels.png") as image:
        assert image.mode == "P"
        assert tuple(image.getpalette()[:12]) == tuple(value for colour in tiny.config.palette for value in colour)


@pytest.mark.parametrize("opacity", [0, 1])
def test_opacity_is_that_of_the_colours(outputs, picture, labels, pixels, tiny, tmp_path, opacity):
    outputs("overlay", opacity=opacity).write(Named("a.jpg", "a"), picture, labels)
    expected = render.colour_labels(labels, tiny.config.palette) if opacity else picture
    np.testing.assert_array_equal(pixels(tmp_path / "a_overlay.png"), expected)


def test_a_picture_is_done_when_all_its_files_are_there(outputs, picture, labels, tmp_path):
    both, named = outputs("overlay", "json"), Named("a.jpg", "a")
    assert not both.are_there(named)
    both.write(named, picture, labels)
    assert both.are_there(named)
    (tmp_path / "a_areas.json").unlink()
    assert not both.are_there(named)
    assert outputs("overlay").are_there(named)


def test_a_video_has_the_kinds_that_are_pictures_in_colour(outputs, tmp_path):
    paths = outputs(*ENDINGS).paths(Named(Path("clip.mp4"), "clip"))
    assert paths == {"overlay": tmp_path / "clip_overlay.mp4", "side": tmp_path / "clip_side.mp4"}
