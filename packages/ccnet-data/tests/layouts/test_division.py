from pathlib import Path

import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.layouts.division import is_val, keep_side, read_fraction
from ccnet_data.layouts.pairs import Names, Pairs

NAMES = [f"{number}.png" for number in range(40)]


def stem(name):
    return name.partition(".")[0]


def side(split, names=NAMES, fraction=0.2, seed=0, labels=True):
    pairs = Pairs(Names(Path("p"), names, stem), Names(Path("l"), names, stem) if labels else None)
    keep_side(pairs, split, fraction, seed)
    return [(pair.id, pair.label and pair.label.name) for pair in pairs]


def test_each_picture_is_on_one_side_with_its_label():
    train, val = side("train"), side("val")
    assert not set(train) & set(val)
    assert sorted(train + val) == sorted((stem(name), name) for name in NAMES)
    assert all(is_val(name, 0.2, 0) for name, _ in val)
    assert [name for name, _ in side("val", labels=False)] == [name for name, _ in val]


def test_a_picture_stays_on_its_side_when_others_come_in_any_order():
    more = [f"new-{number}.png" for number in range(30)]
    assert set(side("val")) <= set(side("val", names=[*more, *reversed(NAMES)]))
    assert set(side("train")) <= set(side("train", names=[*more, *reversed(NAMES)]))


def test_the_sides_are_those_of_today():
    assert [number for number in range(20) if is_val(str(number), 0.3, 7)] == [6, 15]


def test_about_the_fraction_is_in_val_whatever_the_seed():
    for seed in (0, 1, 2**32 - 1):
        share = np.mean([is_val(f"picture {number}", 0.2, seed) for number in range(10_000)])
        assert abs(share - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 10_000)


def test_seeds_divide_independently():
    one, other = (np.array([is_val(str(number), 0.5, seed) for number in range(4000)]) for seed in (1, 11))
    assert abs(np.mean(one == other) - 0.5) < 4 * 0.5 / np.sqrt(4000)


@pytest.mark.parametrize(("fraction", "empty"), [(1e-9, "val"), (1 - 1e-9, "train")])
@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_side_is_an_error_for_both(fraction, empty, split):
    with pytest.raises(DataError, match=rf"^p: val_fraction=\S+ with seed=0 leaves no picture of 40 to {empty};"):
        side(split, fraction=fraction)


@pytest.mark.parametrize("value", [0, 1, 1.0, -0.1, 1.5, "0.2", True, float("nan")])
def test_a_fraction_lies_between_0_and_1(value):
    with pytest.raises(DataError, match="must be "):
        read_fraction(value)
    assert read_fraction(0.2) == 0.2
