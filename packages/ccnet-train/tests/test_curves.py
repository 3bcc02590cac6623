import io

import numpy as np
import pytest
from PIL import Image

from ccnet_train.curves import curve, curves_figure, curves_png, running_mean

RECORDS = [
    {"step": 2, "loss": 1.5, "lr": 0.1},
    {"step": 4, "lr": 0.2},  # a step that was left out has no loss
    {"step": 4, "miou": 0.25, "macc": 0.3, "aacc": 0.5},
    {"step": 6, "loss": 1.0, "lr": 0.1},
    {"step": 8, "miou": 0.125, "macc": 0.2, "aacc": 0.4},
]


def lines(axes):
    return [line.get_xydata().tolist() for line in axes.lines if line.get_xydata().size]


def test_a_curve_holds_the_steps_that_have_the_value():
    assert curve(RECORDS, "loss") == ([2, 6], [1.5, 1.0])
    assert curve(RECORDS, "replaced") == ([], [])


def test_each_panel_shows_its_values_and_miou_is_in_percent():
    loss, rate, miou = curves_figure({"run": RECORDS}).axes
    assert lines(loss) == [[[2, 1.5], [6, 1.0]]]
    assert lines(rate) == [[[2, 0.1], [4, 0.2], [6, 0.1]]]
    assert lines(miou) == [[[4, 25], [8, 12.5]]]
    assert [text.get_text() for text in miou.texts] == ["25.00"]


def test_several_runs_have_a_colour_each_and_a_legend():
    figure = curves_figure({"one": RECORDS, "two $x$": RECORDS[:3]}, ("miou",))
    assert len({line.get_color() for line in figure.axes[0].lines if line.get_xydata().size}) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two $x$"]
    assert not figure.axes[0].texts


def test_a_run_without_any_evaluation_leaves_its_panel_empty():
    axes = curves_figure({"run": RECORDS[:2]}, ("miou",)).axes[0]
    assert lines(axes) == []


def test_the_running_mean_follows_a_noisy_loss():
    values = np.random.default_rng(0).random(101)
    expected = [values[max(0, place - 2) : place + 3].mean() for place in range(101)]
    assert running_mean(values.tolist(), 5) == pytest.approx(expected)
    records = [{"step": step, "loss": value} for step, value in enumerate(values.tolist())]
    assert len(curves_figure({"run": records}, ("loss",)).axes[0].lines) == 2


def test_the_picture_is_a_png():
    with Image.open(io.BytesIO(curves_png({"run": RECORDS}, ("loss", "miou")))) as picture:
        assert picture.format == "PNG"
