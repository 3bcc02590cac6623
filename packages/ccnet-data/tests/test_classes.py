from itertools import combinations

import pytest

from ccnet_data.classes import default_palette, read_classes, resolve
from ccnet_data.errors import DataError


def test_given_names_win_over_the_file(tmp_path):
    (tmp_path / "classes.txt").write_text("other\n", encoding="utf-8")
    assert resolve(("sky", "road"), None, tmp_path)[0] == ("sky", "road")


def test_names_come_from_the_lines_of_the_file(tmp_path):
    (tmp_path / "classes.txt").write_text("\ufeffsky\n straße \n\n", encoding="utf-8")
    assert resolve(None, None, tmp_path)[0] == ("sky", "straße")


def test_without_names_the_error_says_where_to_write_them(tmp_path):
    with pytest.raises(DataError, match=r"classes is missing.*classes\.txt, one per line"):
        resolve(None, None, tmp_path)


def test_without_a_root_the_error_names_the_option_alone():
    with pytest.raises(
        DataError, match=r"classes is missing: give classes=\[...\] in the order of the label values\.$"
    ):
        resolve(None, None, None)


@pytest.mark.parametrize("content", [b"sky\nsky\n", b"", b"stra\xdfe\n"])
def test_a_bad_file_is_named(tmp_path, content):
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"classes\.txt: class names"):
        resolve(None, None, tmp_path)


def test_a_given_palette_needs_one_colour_per_class():
    colours = ((0, 0, 0), (1, 2, 3))
    assert resolve(("sky", "road"), colours, None)[1] == colours
    with pytest.raises(DataError, match="palette has 2 colours for 1 classes"):
        resolve(("sky",), colours, None)


@pytest.mark.parametrize("names", [[], ["a"] * 2, [str(number) for number in range(256)], "sky"])
def test_names_must_be_1_to_255_different_ones(names):
    with pytest.raises(DataError, match="must"):
        read_classes(names)


def test_255_names_are_the_most():
    assert len(read_classes([str(number) for number in range(255)])) == 255


def redmean(one, other):
    """Distance of two RGB colours as seen, after https://www.compuphase.com/cmetric.htm."""
    red = (one[0] + other[0]) / 2
    r, g, b = (first - second for first, second in zip(one, other, strict=True))
    return ((2 + red / 256) * r**2 + 4 * g**2 + (2 + (255 - red) / 256) * b**2) ** 0.5


def test_the_default_colours_of_19_classes_are_far_apart():
    assert min(redmean(*pair) for pair in combinations(default_palette(19), 2)) > 118


def test_the_default_colours_are_all_different_and_in_range():
    colours = default_palette(255)
    assert len(set(colours)) == 255
    assert all(0 <= channel <= 255 for colour in colours for channel in colour)
