import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.attention_map import _weights_of_each_step


def full_matrix(column, row):
    """(h, w, h) and (h, w, w) -> (h * w, h * w): what each position gives to each other one."""
    h, w = column.shape[:2]
    matrix = torch.zeros(h, w, h, w)
    for y in range(h):
        for x in range(w):
            matrix[y, x, :, x] += column[y, x]
            matrix[y, x, y, :] += row[y, x]
    return matrix.view(h * w, h * w)


def test_two_steps_are_the_product_of_both_attention_matrices(tiny, picture):
    image = torch.from_numpy(picture).permute(2, 0, 1)[None]
    with torch.no_grad():
        first, second = (full_matrix(c[0], r[0]) for c, r in _weights_of_each_step(tiny, image))
    point = (33, 18)  # feature map of 37x51 at stride 4: 10x13
    index = (18 * 10 // 37) * 13 + 33 * 13 // 51
    once = ccnet.attention_map(tiny, picture, point=point, recurrence=1)
    twice = ccnet.attention_map(tiny, picture, point=point, recurrence=2)
    assert once.shape == twice.shape == (10, 13)
    np.testing.assert_allclose(once.flatten(), second[index], atol=1e-6)
    np.testing.assert_allclose(twice.flatten(), (second @ first)[index], atol=1e-6)


def test_one_step_is_a_cross_and_both_sum_to_one(tiny, picture):
    once = ccnet.attention_map(tiny, picture, point=(0, 0), recurrence=1)
    assert (once[1:, 1:] == 0).all()
    for recurrence in (1, 2):
        total = ccnet.attention_map(tiny, picture, point=(50, 36), recurrence=recurrence).sum()
        assert total == pytest.approx(1, abs=1e-5)


def test_point_outside_and_too_many_steps_are_refused(tiny, picture):
    with pytest.raises(ccnet.PictureError, match="51,0 is outside the picture of 51x37"):
        ccnet.attention_map(tiny, picture, point=(51, 0))
    with pytest.raises(ccnet.ConfigError, match="from 1 to 2"):
        ccnet.attention_map(tiny, picture, point=(0, 0), recurrence=3)
