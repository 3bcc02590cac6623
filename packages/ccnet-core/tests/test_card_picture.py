import io

import numpy as np
import pytest
import torch
from PIL import Image

import ccnet_core as ccnet
from ccnet_core import render
from ccnet_core.card_picture import card_picture


@pytest.fixture
def model(enliven):
    return enliven(ccnet.CCNet.from_config("ccnet_tiny", classes=["sky", "road", "tree"]))


def opened(content):
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        return np.array(image)


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_without_a_picture_it_is_the_legend_of_all_classes(model):
    expected = render.legend(model.config.classes, model.config.palette)
    np.testing.assert_array_equal(opened(card_picture(model, None)), expected)


def test_the_picture_stands_beside_its_prediction_above_the_classes_in_it(model):
    picture = noise(300, 310)
    labels = ccnet.predict(model, picture).labels
    drawn = opened(card_picture(model, picture))
    overlay = render.overlay(picture, labels, model.config.palette)
    np.testing.assert_array_equal(drawn[:300, :310], picture)
    np.testing.assert_array_equal(drawn[:300, 310 + render.GAP : 620 + render.GAP], overlay)
    legend = render.legend(
        model.config.classes, model.config.palette, shown=np.unique(labels).tolist(), width=drawn.shape[1]
    )
    np.testing.assert_array_equal(drawn[300 + render.GAP :], legend)


def test_classes_that_the_picture_does_not_hold_are_left_out(model):
    model.head.classify.conv.bias.data = torch.tensor([-1e4, 1e4, -1e4])
    drawn = opened(card_picture(model, noise(300, 300)))
    assert drawn.shape[0] == 300 + render.GAP + render.LINE
    assert drawn[-render.LINE // 2, render.LINE // 2].tolist() == list(model.config.palette[1])


@pytest.mark.parametrize(
    ("size", "shape"), [((64, 48), (256, 192)), ((310, 620), (299, 598)), ((1, 1000), (1, 598)), ((1, 1), (256, 256))]
)
def test_pictures_are_brought_to_a_size_that_fits_a_page(model, size, shape):
    drawn = opened(card_picture(model, noise(*size)))
    height, width = shape
    assert drawn.shape[1] == max(600, 2 * width + render.GAP) <= 1200
    assert (drawn[:height, :width] < 255).any(-1).mean() > 0.99
    assert (drawn[height : height + render.GAP] == 255).all()
    assert (drawn[height + render.GAP :] < 255).any()


def test_every_kind_of_picture_is_taken(model, tmp_path):
    array = noise(8, 9)
    Image.fromarray(array).save(tmp_path / "a.png")
    kinds = [array, Image.fromarray(array), torch.from_numpy(array.transpose(2, 0, 1).copy()), tmp_path / "a.png"]
    assert len({card_picture(model, kind) for kind in kinds}) == 1


def test_the_model_is_left_in_training(model):
    model.train()
    card_picture(model, noise(8, 8))
    assert model.training
    assert model.head.training


def test_folder_holds_picture_and_card_that_shows_it(model, tmp_path):
    model.save_pretrained(tmp_path / "without")
    model.save_pretrained(tmp_path / "with", picture=noise(8, 8), license="mit", datasets=["camvid"])
    legend, shown = ((tmp_path / name / "picture.png").read_bytes() for name in ("without", "with"))
    assert legend == card_picture(model, None)
    assert shown == card_picture(model, noise(8, 8))
    assert "![The colours of the classes](picture.png)" in (tmp_path / "without" / "README.md").read_text()
    text = (tmp_path / "with" / "README.md").read_text()
    assert "![A picture, the prediction laid over it, and its classes](picture.png)" in text
    assert "license: mit\n" in text


def test_picture_that_cannot_be_read_is_named_and_nothing_is_written(model, tmp_path):
    with pytest.raises(ccnet.PictureError, match=r"missing\.png: there is no such file"):
        model.save_pretrained(tmp_path / "folder", picture=tmp_path / "missing.png")
    assert list(tmp_path.iterdir()) == []
