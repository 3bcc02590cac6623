import pytest
import torch

from ccnet_core.losses.zoom import zoomed_axis


def axis(size):
    return zoomed_axis(size, 8, torch.device("cpu"))


@pytest.mark.parametrize(("size", "length"), [(3, 0), (4, 0), (5, 1), (12, 2), (20, 2), (28, 4), (769, 96)])
def test_length_is_rounded_half_to_even(size, length):
    assert all(len(part) == length for part in axis(size))


def test_points_span_the_axis_from_the_first_to_the_last_position():
    points = axis(33)  # 4 points, 32 / 3 apart
    assert points.lower.tolist() == [0, 10, 21, 32]
    assert points.upper.tolist() == [1, 11, 22, 32]
    assert points.nearest.tolist() == [0, 11, 21, 32]
    torch.testing.assert_close(points.fraction, torch.tensor([0, 2 / 3, 1 / 3, 0]))
    assert not points.outside.any()


def test_one_point_is_the_first_position():
    points = axis(11)
    assert (points.lower.tolist(), points.nearest.tolist(), points.fraction.tolist()) == ([0], [0], [0])


def test_rounding_as_in_scipy_leaves_the_last_of_256_points_outside():
    # scipy 1.17.1: zoom(arange(256) + 1, 1 / 8, order=0)[-1] is 0; for 264 points it is 264.
    assert axis(256).outside.tolist() == [False] * 31 + [True]
    assert not axis(264).outside.any()


def test_rounding_as_in_scipy_decides_between_two_nearest_positions():
    # scipy 1.17.1: zoom(arange(186), 1 / 8, order=0)[11] is 92; its exact position is 92.5.
    assert axis(186).nearest[11] == 92
