import io

import pytest
from PIL import Image

from ccnet_train.compared_run import read_runs
from ccnet_train.comparison import rows
from ccnet_train.comparison_picture import comparison_figure, comparison_png


def test_each_run_is_a_dot_with_its_interval_and_a_curve_of_the_same_colour(compared_run):
    found = rows(read_runs([compared_run("a", seed=1), compared_run("b", seed=2)]))
    dots, loss, miou = comparison_figure(found).axes
    whisker, dot = dots.lines[2:]
    interval = found[1].intervals.miou
    assert whisker.get_xydata().tolist() == [[100 * interval.low, 1], [100 * interval.high, 1]]
    assert dot.get_xydata().tolist() == [[100 * found[1].miou, 1]]
    assert dot.get_color() == loss.lines[1].get_color() == miou.lines[1].get_color() != dots.lines[1].get_color()
    assert miou.lines[1].get_xydata().tolist() == [[2, pytest.approx(100 * found[1].miou)]]
    assert [label.get_text()[-2:] for label in dots.get_yticklabels()] == ["/a", "/b"]


def test_evaluations_without_a_run_have_no_curves(compared_run):
    found = rows(read_runs([compared_run(name, run=False, weights="org/name") for name in "ab"]))
    assert len(comparison_figure(found).axes) == 1
    with Image.open(io.BytesIO(comparison_png(found))) as picture:
        assert picture.format == "PNG"
