import numpy as np
import pytest
from PIL import Image

from ccnet_core import render
from ccnet_core.config import default_palette

PALETTE = ((0, 0, 0), (200, 0, 0), (0, 100, 0))


def test_labels_are_painted_and_ignored_pixels_are_black():
    painted = render.colour_labels(np.array([[1, 2, 255]], np.uint8), PALETTE)
    assert painted.tolist() == [[[200, 0, 0], [0, 100, 0], [0, 0, 0]]]


@pytest.mark.parametrize(("opacity", "expected"), [(0.0, 100), (0.5, 150), (1.0, 200)])
def test_overlay_blends(opacity, expected):
    picture = np.full((1, 1, 3), 100, np.uint8)
    assert render.overlay(picture, np.array([[1]], np.uint8), PALETTE, opacity)[0, 0, 0] == expected


def test_label_png_holds_the_classes_and_the_palette(tmp_path):
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    render.write_png(tmp_path / "a.png", render.label_png(labels, PALETTE))
    with Image.open(tmp_path / "a.png") as stored:
        assert stored.mode == "P"
        np.testing.assert_array_equal(np.asarray(stored), labels)
        assert stored.getpalette()[:9] == [0, 0, 0, 200, 0, 0, 0, 100, 0]


def test_label_png_of_many_classes_keeps_their_numbers(tmp_path):
    render.write_png(tmp_path / "a.png", render.label_png(np.array([[299]], np.int32), PALETTE))
    with Image.open(tmp_path / "a.png") as stored:
        assert np.asarray(stored).tolist() == [[299]]


def test_rows_are_stacked_to_the_widest():
    rows = [np.zeros((2, 3, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)]
    assert render.stack(rows).shape == (2 + render.GAP + 4, 5, 3)


def test_truth_and_prediction_stand_beside_the_picture():
    picture, labels = np.zeros((4, 6, 3), np.uint8), np.ones((4, 6), np.uint8)
    row = render.side_by_side(picture, labels, labels, PALETTE)
    assert row.shape == (4, 3 * 6 + 2 * render.GAP, 3)
    assert row[0, -1].tolist() == [200, 0, 0]


def test_wrong_pixels_are_red_on_grey_and_ignored_ones_black():
    picture = np.zeros((1, 4, 3), np.uint8)
    picture[0, 3] = (255, 0, 0)  # red in the picture is no error
    truth, prediction = np.array([[0, 1, 255, 2]], np.uint8), np.array([[0, 2, 0, 2]], np.uint8)
    marked = render.error_map(picture, truth, prediction)
    assert marked.tolist() == [[[120] * 3, list(render.WRONG), [0] * 3, [162] * 3]]


def test_an_ignore_index_of_ones_own_is_no_error():
    truth, prediction = np.array([[0, 255]], np.uint8), np.array([[1, 1]], np.uint8)
    marked = render.error_map(np.zeros((1, 2, 3), np.uint8), truth, prediction, ignore_index=0)
    assert marked.tolist() == [[[0] * 3, list(render.WRONG)]]


def test_attention_is_hottest_where_the_weight_is():
    weights = np.zeros((4, 4), np.float32)
    weights[1, 2] = 1
    drawn = render.attention_picture(np.full((64, 64, 3), 90, np.uint8), (0, 63), [weights], smallest_width=64)
    assert drawn.shape == (render.LINE + 64, 128 + render.GAP, 3)
    heat = drawn[render.LINE :, 64 + render.GAP :].astype(int).sum(-1)
    hot = np.zeros((64, 64), bool)
    hot[16:32, 32:48] = True
    assert heat[hot].min() > heat[~hot][: 16 * 64].max()


def test_attention_has_a_title_above_each_part():
    maps = [np.ones((4, 4), np.float32)] * 2
    drawn = render.attention_picture(np.zeros((300, 300, 3), np.uint8), (150, 150), maps)
    titles = [drawn[: render.LINE, left : left + 300] for left in range(0, 912, 300 + render.GAP)]
    assert all((title == 255).any() and (title < 100).any() for title in titles)
    assert (titles[1] != titles[2]).any()


def test_the_mark_grows_with_the_picture():
    drawn = render.attention_panels(np.zeros((1024, 1024, 3), np.uint8), (500, 500), [])[0]
    assert (drawn[500, 500 - 27 : 500 + 28] == 255).all()
    assert not drawn[500, :460].any()


def test_small_pictures_are_enlarged_by_a_whole_factor():
    drawn = render.attention_picture(np.zeros((10, 100, 3), np.uint8), (0, 0), [np.ones((1, 1), np.float32)])
    assert drawn.shape == (render.LINE + 30, 600 + render.GAP, 3)


NAMES = ("sky", "road", "tree")


def test_legend_shows_every_class_in_its_colour_beside_its_name():
    drawn = render.legend(NAMES, PALETTE, width=120)
    assert drawn.shape == (3 * render.LINE, 120, 3)
    for label, colour in enumerate(PALETTE):
        line = drawn[label * render.LINE : (label + 1) * render.LINE]
        assert line[render.LINE // 2, render.LINE // 2].tolist() == list(colour)
        assert (line[:, 2 * render.LINE :] < 100).any()


def test_legend_shows_only_the_classes_asked_for():
    drawn = render.legend(NAMES, PALETTE, shown=[1])
    assert drawn.shape == (render.LINE, 600, 3)
    assert drawn[render.LINE // 2, render.LINE // 2].tolist() == [200, 0, 0]
    assert render.legend(NAMES, PALETTE, shown=[]).shape == (render.LINE, 600, 3)


def test_legend_of_many_classes_stands_in_columns_from_top_to_bottom():
    palette = default_palette(150)
    drawn = render.legend([f"class number {label}" for label in range(150)], palette, width=1200)
    assert drawn.shape[1] == 1200
    assert drawn.shape[0] <= 30 * render.LINE
    middles = [swatch(drawn, colour) for colour in palette]
    assert middles == sorted(middles)
    assert len({x for x, _ in middles}) >= 5


def swatch(drawn, colour):
    """Return (x, line) of the middle of the run of a colour on the middle row of a line: letters have no such run."""
    middle_rows = (drawn[render.LINE // 2 :: render.LINE] == colour).all(-1)
    lines, columns = np.nonzero(np.lib.stride_tricks.sliding_window_view(middle_rows, render.LINE // 2, axis=1).all(-1))
    return round(columns.mean()) + render.LINE // 4, round(lines.mean())


def test_long_names_are_cut_and_no_column_runs_into_the_next():
    palette = ((1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12))
    drawn = render.legend(["W" * 39, "W" * 10_000, "W" * 40, "W" * 41], palette, width=1400)
    left = [swatch(drawn, colour)[0] for colour in palette]
    assert left[0] == left[1] < left[2] == left[3]
    assert (drawn[:, left[2] - render.LINE : left[2] - render.LINE // 2 - 1] == 255).all()


@pytest.mark.parametrize(
    ("name", "drawn"),
    [("two\nlines", "two lines"), ("half \ud800 a pair", "half a pair"), ("\x00", "unnamed"), ("é", "é")],
)
def test_any_name_is_drawn_in_one_line(name, drawn):
    legend = render.legend([name], [(1, 2, 3)])
    np.testing.assert_array_equal(legend, render.legend([drawn], [(1, 2, 3)]))
    assert legend.shape == (render.LINE, 600, 3)


def test_png_is_the_content_of_the_file(tmp_path):
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    render.write_png(tmp_path / "a.png", picture)
    assert (tmp_path / "a.png").read_bytes() == render.png(picture)
