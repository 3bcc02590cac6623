import io
import math

import numpy as np
import pytest
from PIL import Image

from ccnet_core import render
from ccnet_train.datasets import load_split
from ccnet_train.metrics import ConfusionMatrix
from ccnet_train.report_pictures import NARROWEST, WIDEST, best_and_worst, draw, picture_mious


def confusion(truth, prediction):
    matrix = ConfusionMatrix(3)
    matrix.add(truth, prediction)
    return matrix


@pytest.fixture
def compared(evaluation_of):
    """Make an evaluation from pairs of truth and prediction."""

    def make(*pairs):
        return evaluation_of(("ground", "red", "green"), [confusion(*pair).counts for pair in pairs])

    return make


class Pictures:
    """A dataset of one picture."""

    palette = ((10, 10, 10), (250, 0, 0), (0, 250, 0))
    ignore_index = 255
    task = "segmentation"

    def __init__(self, image, label):
        self.sample = {"image": image, "label": label, "id": "0.png"}

    def __getitem__(self, index):
        return self.sample


def decoded(content):
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_each_picture_has_the_mean_iou_of_its_own_classes(compared):
    rng = np.random.default_rng(0)
    truths = rng.choice([0, 1, 2, 255], (5, 4, 6))
    truths[3] = 255
    predictions = rng.integers(0, 3, truths.shape)
    pairs = list(zip(truths, predictions, strict=True))
    expected = [confusion(*pair).scores().miou for pair in pairs]
    assert math.isnan(expected[3])
    assert picture_mious(compared(*pairs)) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("mious", "best", "worst"),
    [
        ([0.5, 0.1, np.nan, 0.9, 0.7, 0.3], [3, 4], [1, 5]),
        ([0.5, 0.1, 0.3], [0, 2], [1]),
        ([0.5], [0], []),
        ([np.nan], [], []),
        ([0.5] * 5, [4, 3], [0, 1]),
    ],
)
def test_the_best_come_first_and_no_picture_is_on_both_sides(mious, best, worst):
    assert best_and_worst(np.array(mious), each=2) == (best, worst)


def test_a_picture_is_shown_with_prediction_truth_and_errors(compared):
    image = np.full((3, 8, NARROWEST), 200, np.uint8)
    truth = np.zeros((8, NARROWEST), np.uint8)
    truth[:, 80:] = 1
    prediction = truth.copy()
    prediction[:, 160:] = 2
    dataset = Pictures(image, truth)
    shown = draw(compared((truth, prediction)), 0, dataset, lambda picture: prediction)
    picture = image.transpose(1, 2, 0)
    for content, expected in (
        (shown.picture, picture),
        (shown.prediction, render.overlay(picture, prediction, dataset.palette, 0.6)),
        (shown.truth, render.overlay(picture, truth, dataset.palette, 0.6)),
        (shown.errors, render.error_map(picture, truth, prediction)),
    ):
        assert np.abs(decoded(content) - expected).mean() < 3  # what JPEG loses
    assert shown.name == "0.png"
    assert (shown.miou, shown.wrong) == pytest.approx((0.5, 1 / 3))
    assert [(one.label, one.iou) for one in shown.classes] == [(1, 0.5), (0, 1.0), (2, 0.0)]
    assert [one.share for one in shown.classes] == pytest.approx([2 / 3, 1 / 3, 0])


@pytest.mark.parametrize(
    ("size", "shown"), [((20, 40), (120, 240)), ((1024, 2048), (320, 640)), ((50, 300), (50, 300))]
)
def test_a_picture_is_neither_tiny_nor_huge(compared, size, shown):
    image, label = np.zeros((3, *size), np.uint8), np.zeros(size, np.uint8)
    found = draw(compared((label, label)), 0, Pictures(image, label), lambda picture: label)
    assert decoded(found.errors).shape[:2] == shown
    assert shown[1] <= WIDEST


def test_the_split_is_asked_for_the_picture_and_its_image_is_what_is_predicted(squares, compared):
    dataset = load_split(squares().data, "val")
    truths = [dataset[index]["label"] for index in range(len(dataset))]
    asked = []

    def predict(sample):
        asked.append(sample["image"])
        return truths[1]

    shown = draw(compared(*zip(truths, truths, strict=True)), 1, dataset, predict)
    assert np.array_equal(asked[0], dataset[1]["image"])
    assert shown.wrong == 0
