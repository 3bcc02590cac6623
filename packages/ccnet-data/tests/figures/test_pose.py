import numpy as np
import pytest

from ccnet_data.figures.pose import (
    FOREARM,
    HAND,
    LEFT,
    RIGHT,
    SHIN,
    SIDES,
    THIGH,
    UPPER_ARM,
    draw_pose,
    mirrored,
    outward,
)


@pytest.fixture(scope="module")
def poses():
    rng = np.random.default_rng(0)
    return [draw_pose(rng) for _ in range(300)]


def test_limbs_have_their_lengths(poses):
    for pose in poses:
        for side in SIDES:
            arm, leg = pose.arms[side], pose.legs[side]
            joints = (arm.shoulder, arm.elbow, arm.wrist, arm.hand)
            assert np.abs(np.diff(joints)) == pytest.approx([UPPER_ARM, FOREARM, HAND])
            assert np.abs(np.diff((leg.hip, leg.knee, leg.ankle))) == pytest.approx([THIGH, SHIN])


def test_no_limb_crosses_to_the_other_side(poses):
    for pose in poses:
        for side in SIDES:
            arm, leg = pose.arms[side], pose.legs[side]
            for point in (arm.shoulder, arm.elbow, arm.hand, leg.hip, leg.knee, leg.ankle):
                assert side * point.real > 0


def test_poses_differ(poses):
    hands = [pose.arms[LEFT].hand for pose in poses]
    assert np.std(np.imag(hands)) > 0.3
    assert len({pose.tilt for pose in poses}) == len(poses)


def test_the_right_side_mirrors_the_left():
    assert (mirrored(2 + 3j, LEFT), mirrored(2 + 3j, RIGHT)) == (2 + 3j, -2 + 3j)


def test_directions_begin_downward_and_turn_outward():
    assert outward(LEFT, 0) == pytest.approx(1j)
    assert outward(LEFT, 90) == pytest.approx(1)
    assert outward(RIGHT, 90) == pytest.approx(-1)
