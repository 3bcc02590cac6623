import base64
import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

import ccnet_core as ccnet
from ccnet_core import render
from ccnet_core.attention_map import as_seen
from ccnet_core.config import TTA_SCALES
from ccnet_core.demo import answers as room
from ccnet_core.demo.answers import Answers


@pytest.fixture
def answers(varied):
    return Answers(model=varied, segmenter=varied, largest=10_000)


@pytest.fixture
def weights(varied, tmp_path):
    varied.save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


def content(url):
    """Return the kind and the content of a data URL."""
    head, _, encoded = url.partition(",")
    return head, base64.b64decode(encoded)


def pixels(url):
    return np.asarray(Image.open(io.BytesIO(content(url)[1])))


def test_the_label_file_is_that_of_predict(answers, run, weights, photo, tmp_path):
    shown = answers.segment(str(photo), "whole picture")
    assert run("predict", photo, "--model", weights, "--out", tmp_path).returncode == 0
    assert content(shown["labels"]) == ("data:image/png;base64", (tmp_path / "photo_labels.png").read_bytes())
    assert shown["name"] == "photo"


def test_the_browser_can_read_picture_and_classes(answers, tiny, photo, picture):
    shown = answers.segment(str(photo), "whole picture")
    np.testing.assert_array_equal(pixels(shown["picture"]), picture)
    labels = ccnet.predict(tiny, picture).labels
    np.testing.assert_array_equal(pixels(shown["indices"])[..., 0], labels)
    for index, shown_class in enumerate(shown["classes"]):
        assert shown_class["name"] == tiny.config.classes[index]
        assert shown_class["colour"] == list(tiny.config.palette[index])
        assert shown_class["share"] == (labels == index).mean()


def test_more_than_256_classes_have_two_bytes():
    coded = room._indices(np.array([[0, 255, 256, 1000]], np.int32)).astype(int)
    assert (coded[..., 0] + 256 * coded[..., 1]).tolist() == [[0, 255, 256, 1000]]


def test_a_large_picture_is_shown_as_jpeg_of_its_size(answers, photo, picture, monkeypatch):
    monkeypatch.setattr(room, "LOSSLESS", 51 * 37 - 1)
    shown = answers.segment(str(photo), "whole picture")
    assert content(shown["picture"])[0] == "data:image/jpeg;base64"
    assert pixels(shown["picture"]).shape == picture.shape


def test_ways_are_those_of_predict(answers, tiny, photo, picture, monkeypatch):
    plan = dataclasses.replace(tiny.config.inference, crop=(16, 24), stride=(11, 16))
    monkeypatch.setattr(tiny, "config", dataclasses.replace(tiny.config, inference=plan))
    expected = {
        "whole picture": {},
        "windows of 24x16": {"mode": "slide", "crop": (16, 24), "stride": (11, 16)},
        "six scales + mirror images": {"scales": TTA_SCALES, "flip": True},
    }
    assert list(answers.ways()) == list(expected)
    found = [pixels(answers.segment(str(photo), way)["indices"])[..., 0] for way in expected]
    for labels, options in zip(found, expected.values(), strict=True):
        np.testing.assert_array_equal(labels, ccnet.predict(tiny, picture, **options).labels)
    assert (found[0] != found[1]).any()
    assert (found[0] != found[2]).any()


def test_the_way_of_the_models_plan_comes_first(answers, tiny, monkeypatch):
    plan = dataclasses.replace(tiny.config.inference, mode="slide", crop=(16, 24), stride=(11, 16))
    monkeypatch.setattr(tiny, "config", dataclasses.replace(tiny.config, inference=plan))
    assert next(iter(answers.ways())) == "windows of 24x16"


def test_a_model_that_fits_pictures_does_so_first(answers, tiny, photo, picture, monkeypatch):
    plan = dataclasses.replace(tiny.config.inference, mode="fit", crop=(24, 31))
    monkeypatch.setattr(tiny, "config", dataclasses.replace(tiny.config, inference=plan))
    way, *others = answers.ways()
    assert way == "fitted into 31x24"
    assert others == ["whole picture", "windows of 512x512", "six scales + mirror images"]
    for way, mode in (("fitted into 31x24", "fit"), ("whole picture", "whole")):
        expected = ccnet.predict(tiny, picture, mode=mode).labels
        np.testing.assert_array_equal(pixels(answers.segment(str(photo), way)["indices"])[..., 0], expected)
    shown, [place] = as_seen(tiny, picture, [(9, 30)])
    maps = [ccnet.attention_map(tiny, picture, point=(9, 30), recurrence=step) for step in (1, 2)]
    expected = render.attention_panels(shown.permute(1, 2, 0).numpy(), place, maps)[1:]
    for found, panel in zip(answers.attend(str(photo), (9, 30)), expected, strict=True):
        np.testing.assert_array_equal(found, panel)


def test_a_plan_without_windows_has_windows_all_the_same(answers):
    assert answers.ways()["windows of 512x512"] == {"mode": "slide", "crop": (512, 512), "stride": (341, 341)}


def test_a_pixel_is_answered_with_a_drawing_for_each_step(answers, tiny, photo, picture):
    maps = [ccnet.attention_map(tiny, picture, point=(9, 30), recurrence=step) for step in (1, 2)]
    drawn = answers.attend(str(photo), (9, 30))
    assert answers.attention() == len(drawn) == 2
    for found, expected in zip(drawn, render.attention_panels(picture, (9, 30), maps)[1:], strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("recurrence", "steps"), [(0, 0), (1, 1), (3, 2)])
def test_steps_that_can_be_followed(recurrence, steps):
    model = ccnet.CCNet.from_config("ccnet_tiny", recurrence=recurrence)
    assert Answers(model=model, segmenter=model, largest=1).attention() == steps


def test_a_non_local_block_has_no_steps():
    config = ccnet.CCNet.from_config("ccnet_tiny").config
    model = ccnet.CCNet(dataclasses.replace(config, head=dataclasses.replace(config.head, attention="non_local")))
    assert Answers(model=model, segmenter=model, largest=1).attention() == 0


def test_limits_hold_for_both_questions(tiny, photo):
    answers = Answers(model=tiny, segmenter=tiny, largest=100)
    for ask in (lambda: answers.segment(str(photo), "whole picture"), lambda: answers.attend(str(photo), (0, 0))):
        with pytest.raises(ccnet.PictureError, match="51x37 is more than 100 pixels"):
            ask()
