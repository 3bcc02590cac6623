import io
from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image

import ccnet_core as ccnet
from ccnet_core.card_picture import card_picture
from ccnet_train import TrainError, fit, load_recipe
from ccnet_train.datasets import load_split
from ccnet_train.dry_run import describe
from ccnet_train.model_card import card_values, described

RECORD = {"step": 4, "miou": 0.5, "macc": 0.6, "aacc": 0.7}


@pytest.mark.parametrize(
    ("recipe", "overrides", "expected"),
    [
        ("camvid", [], ("camvid",)),
        ("ccnet_r50-d8_4xb2-40k_cityscapes-512x1024", [], ("cityscapes",)),
        ("camvid-mini", [], ("camvid",)),
        ("beacon", ["data.name=folder", "name=mine"], ("mine",)),
        ("beacon", ["card.datasets=[mine, cityscapes]"], ("mine", "cityscapes")),
    ],
)
def test_a_card_names_published_data_by_its_own_name(recipe, overrides, expected):
    assert described(load_recipe(recipe, overrides))["datasets"] == expected


def test_the_card_and_the_picture_are_those_of_the_evaluation(squares, tmp_path):
    result = fit(squares("train.iterations=4", "evaluate.every=2", "card.license=cc-by-nc-4.0"), quiet=True)
    for name, record in (("best", result.best), ("last", result.history[-1])):
        folder = tmp_path / "run" / name
        text = (folder / "README.md").read_text()
        fields = yaml.safe_load(text.split("---\n")[1])
        metrics = [metric["value"] for metric in fields["model-index"][0]["results"][0]["metrics"]]
        assert metrics == [round(record[key], 6) for key in ("miou", "macc", "aacc")]
        assert (fields["license"], fields["datasets"]) == ("cc-by-nc-4.0", ["squares"])
        assert "![A picture, the prediction laid over it, and its classes](picture.png)" in text
        middle = load_split(squares().data, "val")[2]["image"].transpose(1, 2, 0)
        assert (folder / "picture.png").read_bytes() == card_picture(ccnet.CCNet.from_pretrained(folder), middle)


def test_the_card_names_the_terms_of_published_data(squares, tmp_path):
    fit(squares("train.iterations=1", "card.datasets=[camvid]"), quiet=True)
    assert "CC BY-NC 4.0" in (tmp_path / "run" / "best" / "README.md").read_text()


def test_the_picture_can_be_left_out(squares, tmp_path):
    fit(squares("train.iterations=1", "card.picture=false"), quiet=True)
    folder = tmp_path / "run" / "best"
    assert "![The colours of the classes](picture.png)" in (folder / "README.md").read_text()
    legend = np.asarray(Image.open(folder / "picture.png"))
    network = ccnet.CCNet.from_pretrained(folder)
    np.testing.assert_array_equal(legend, np.asarray(Image.open(io.BytesIO(card_picture(network, None)))))


def test_no_picture_of_the_data_is_read_where_none_is_shown(squares):
    recipe = squares("card.picture=false")
    assert card_values(recipe, RECORD, None) == {
        "metrics": {"miou": 0.5, "macc": 0.6, "aacc": 0.7},
        "picture": None,
        "datasets": ("squares",),
        "license": None,
    }


def test_what_cannot_stand_on_a_card_is_found_before_the_training(squares, tmp_path):
    recipe = squares("card.license=Not a licence")
    for start in (lambda: fit(recipe, quiet=True), lambda: describe(recipe)):
        with pytest.raises(TrainError, match=r"^card: license must be an identifier of the Hub"):
            start()
    assert not (tmp_path / "run").exists()


def test_what_the_card_says_may_change_where_a_run_goes_on(squares):
    recipe = squares("train.iterations=1")
    fit(recipe, quiet=True)
    fit(replace(recipe, card=replace(recipe.card, license="mit", picture=False)), quiet=True)
