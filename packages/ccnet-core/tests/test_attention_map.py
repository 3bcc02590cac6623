import dataclasses

import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.testing import criss_cross_definition


def attention_matrix(module, x):
    """(1, C, h, w) -> (h * w, h * w): what each position gives to each other one, by the definition."""
    h, w = x.shape[2:]
    one_hot = torch.eye(h * w).view(1, h * w, h, w)
    attended = criss_cross_definition(module.query_conv(x), module.key_conv(x), one_hot)
    return attended.view(h * w, h * w).T


def test_two_steps_are_the_product_of_both_attention_matrices(tiny, picture):
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1) for values in ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    )
    with torch.no_grad():
        first_input = tiny.head.reduce(tiny.backbone((image - mean) / std)[-1])
        module = tiny.head.attention.cca
        first, second = attention_matrix(module, first_input), attention_matrix(module, module(first_input))
    point = (33, 18)  # feature map of 37x51 at stride 4: 10x13
    index = (18 * 10 // 37) * 13 + 33 * 13 // 51
    once = ccnet.attention_map(tiny, picture, point=point, recurrence=1)
    twice = ccnet.attention_map(tiny, picture, point=point, recurrence=2)
    assert once.shape == twice.shape == (10, 13)
    np.testing.assert_allclose(once.flatten(), second[index], atol=1e-5)
    np.testing.assert_allclose(twice.flatten(), (second @ first)[index], atol=1e-5)
    assert (first - second).abs().max() > 1e-2  # so that mixing up the steps would show


def test_one_step_is_a_cross_and_both_sum_to_one(tiny, picture):
    once = ccnet.attention_map(tiny, picture, point=(0, 0), recurrence=1)
    assert (once[1:, 1:] == 0).all()
    for recurrence in (1, 2):
        total = ccnet.attention_map(tiny, picture, point=(50, 36), recurrence=recurrence).sum()
        assert total == pytest.approx(1, abs=1e-5)


def test_no_number_of_steps_means_two_or_the_only_one(tiny, picture):
    both = ccnet.attention_map(tiny, picture, point=(9, 9), recurrence=2)
    np.testing.assert_array_equal(ccnet.attention_map(tiny, picture, point=(9, 9)), both)
    once = ccnet.CCNet.from_config("ccnet_tiny", recurrence=1)
    assert ccnet.attention_map(once, picture, point=(9, 9)).shape == (10, 13)


@pytest.mark.parametrize("recurrence", [0, 3, 1.5])
def test_point_outside_and_wrong_number_of_steps_are_refused(tiny, picture, recurrence):
    with pytest.raises(ccnet.PictureError, match="51,0 is outside the picture of 51x37"):
        ccnet.attention_map(tiny, picture, point=(51, 0))
    with pytest.raises(ccnet.ConfigError, match="from 1 to 2"):
        ccnet.attention_map(tiny, picture, point=(0, 0), recurrence=recurrence)


@pytest.mark.parametrize("point", [None, 3, (1,), (1, 2, 3), "ab", (float("nan"), 1), (float("inf"), 1)])
def test_what_is_no_point_is_refused(tiny, picture, point):
    with pytest.raises(ccnet.PictureError, match=r"two numbers \(x, y\), got "):
        ccnet.attention_map(tiny, picture, point=point)


def test_network_without_attention_says_so(picture):
    model = ccnet.CCNet.from_config("ccnet_tiny", recurrence=0)
    with pytest.raises(ccnet.ConfigError, match="no attention steps"):
        ccnet.attention_map(model, picture, point=(0, 0))


def test_network_with_a_non_local_block_says_so(picture):
    config = ccnet.CCNet.from_config("ccnet_tiny").config
    model = ccnet.CCNet(dataclasses.replace(config, head=dataclasses.replace(config.head, attention="non_local")))
    with pytest.raises(ccnet.ConfigError, match="has a non-local block"):
        ccnet.attention_map(model, picture, point=(0, 0))
