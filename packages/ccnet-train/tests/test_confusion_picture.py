import io

import numpy as np
import pytest
from PIL import Image

from ccnet_train.confusion_picture import MOST_WITH_NUMBERS, confusion_figure, confusion_png


def cells(figure):
    return {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in figure.axes[0].texts}


def test_numbers_are_percent_of_the_row():
    figure = confusion_figure(np.array([[30, 10], [0, 5]]), ["road", "car"])
    assert cells(figure) == {(0, 0): "75", (0, 1): "25", (1, 1): "100"}
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["road", "car"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["road", "car"]


def test_a_share_that_rounds_to_0_has_a_shade_but_no_number():
    figure = confusion_figure(np.array([[9960, 40], [0, 1]]), ["road", "car"])
    assert cells(figure) == {(0, 0): "100", (1, 1): "100"}
    image = figure.axes[0].images[0]
    faint, none = image.to_rgba(image.get_array())[[0, 1], [1, 0]]
    assert (faint[:2] < none[:2] - 0.02).all()


def test_a_class_without_true_pixels_is_left_blank():
    figure = confusion_figure(np.array([[4, 0], [0, 0]]), ["road", "car"])
    assert cells(figure) == {(0, 0): "100"}
    assert np.ma.getmaskarray(figure.axes[0].images[0].get_array()).tolist() == [[False, False], [True, True]]


def test_many_classes_have_names_on_both_sides_instead_of_numbers():
    number = MOST_WITH_NUMBERS + 1
    axes = confusion_figure(np.eye(number, dtype=np.int64), [f"class {n}" for n in range(number)]).axes[0]
    assert not axes.texts
    assert axes.yaxis.get_tick_params()["labelright"]


@pytest.mark.parametrize(("classes", "least", "most"), [(2, 100, 600), (19, 1000, 1600), (60, 1200, 2000)])
def test_the_picture_grows_with_the_classes(classes, least, most):
    names = [f"class {n}" for n in range(classes)]
    with Image.open(io.BytesIO(confusion_png(np.eye(classes, dtype=np.int64), names))) as picture:
        assert least <= picture.width <= most
