import dataclasses

import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.attention_map import as_seen, attention_maps
from ccnet_core.resize import fit_bytes

MEAN, STD = (
    torch.tensor(v, dtype=torch.float64)[:, None, None] for v in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
)


def steps_of_definition(model, picture):
    """Return h, w and of each attention step its matrix (h * w, h * w) in float64, position by position."""
    module, image = model.double().head.attention, torch.from_numpy(picture).permute(2, 0, 1).double()
    with torch.no_grad():
        x = model.head.reduce(model.backbone(((image - MEAN) / STD)[None])[-1])
        matrices = []
        for step in module.steps():
            matrices.append(attention_matrix(step.query_conv(x)[0].numpy(), step.key_conv(x)[0].numpy()))
            value = step.value_conv(x)[0].flatten(1).numpy()
            attended = torch.from_numpy(value @ matrices[-1].T).view_as(x)
            x = step.gamma * attended + x
    return *x.shape[2:], matrices


def attention_matrix(query, key):
    """(D, h, w) twice -> (h * w, h * w): the softmax over the cross of each position, itself once; 0 elsewhere."""
    _, h, w = query.shape
    matrix = np.zeros((h * w, h * w))
    for y in range(h):
        for x in range(w):
            cross = [(i, x) for i in range(h) if i != y] + [(y, j) for j in range(w)]
            energies = np.array([query[:, y, x] @ key[:, i, j] for i, j in cross])
            weights = np.exp(energies - energies.max())
            for (i, j), weight in zip(cross, weights / weights.sum(), strict=True):
                matrix[y * w + x, i * w + j] = weight
    return matrix


@pytest.mark.parametrize("point", [(33, 18), (0, 0), (50, 0), (0, 36), (50, 36)])
def test_two_steps_are_the_product_of_both_attention_matrices(tiny, picture, point):
    maps = attention_maps(tiny, picture, points=[point])[0]
    h, w, (first, second) = steps_of_definition(tiny, picture)
    assert (h, w) == (10, 13)  # of 37x51 pixels at stride 4
    index = int((point[1] + 0.5) * h / 37) * w + int((point[0] + 0.5) * w / 51)
    np.testing.assert_allclose(maps[0].flatten(), second[index], atol=1e-6)
    np.testing.assert_allclose(maps[1].flatten(), (second @ first)[index], atol=1e-6)
    assert np.abs(first - second).max() > 1e-2  # so that mixing up the steps would show


@pytest.mark.parametrize("shared_weights", [True, False])
def test_the_last_of_three_steps_are_followed_first(picture, enliven, shared_weights):
    config = ccnet.CCNet.from_config("ccnet_tiny").config
    head = dataclasses.replace(config.head, recurrence=3, shared_weights=shared_weights)
    model = enliven(ccnet.CCNet(dataclasses.replace(config, head=head))).eval()
    tall = picture[:, :17]
    maps = attention_maps(model, tall, points=[(3, 30)], recurrence=3)[0]
    h, w, (first, second, third) = steps_of_definition(model, tall)
    index = int(30.5 * h / 37) * w + int(3.5 * w / 17)
    for found, expected in zip(maps, [third, third @ second, third @ second @ first], strict=True):
        np.testing.assert_allclose(found.flatten(), expected[index], atol=1e-6)


def test_context_of_a_network_for_parsing_is_followed_at_its_own_size(parsing):
    tall = np.random.default_rng(0).integers(0, 256, (97, 65, 3), dtype=np.uint8)
    model = with_plan(parsing, mode="whole").double()
    maps = attention_maps(model, tall, points=[(40, 60)])[0]
    h, w, (first, second) = steps_of_definition(model, tall)
    assert (h, w) == (7, 5)  # of 97x65 pixels at stride 16
    index = int(60.5 * h / 97) * w + int(40.5 * w / 65)
    for found, expected in zip(maps, [second, second @ first], strict=True):
        np.testing.assert_allclose(found.flatten(), expected[index], atol=1e-6)


def test_batch_norm_answers_as_in_evaluation_and_the_mode_is_left(tiny, picture):
    expected = ccnet.attention_map(tiny, picture, point=(9, 9))
    tiny.train()
    np.testing.assert_array_equal(ccnet.attention_map(tiny, picture, point=(9, 9)), expected)
    assert all(module.training for module in tiny.modules())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_to_one_too(tiny, picture, dtype):
    full = attention_maps(tiny, picture, points=[(20, 20)])[0]
    half = attention_maps(tiny.to(dtype), picture, points=[(20, 20)])[0]
    for found, expected in zip(half, full, strict=True):
        assert found.dtype == np.float32
        assert found.sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_one_step_is_a_cross_and_both_sum_to_one(tiny, picture):
    once = ccnet.attention_map(tiny, picture, point=(0, 0), recurrence=1)
    assert (once[1:, 1:] == 0).all()
    for recurrence in (1, 2):
        found = ccnet.attention_map(tiny, picture, point=(50, 36), recurrence=recurrence)
        assert found.min() >= 0
        assert found.sum() == pytest.approx(1, abs=1e-5)


def test_a_pixel_stands_for_the_position_that_covers_it(tiny, picture):
    for x in range(51):
        once = ccnet.attention_map(tiny, picture, point=(x, 18), recurrence=1)
        column = int((once > 0).all(0).argmax())
        assert column * 51 / 13 <= x + 0.5 < (column + 1) * 51 / 13


def test_several_points_are_answered_as_one_by_one(tiny, picture):
    points = [(0, 0), (33, 18), (50, 36)]
    for point, maps in zip(points, attention_maps(tiny, picture, points=points), strict=True):
        for step, found in enumerate(maps, start=1):
            alone = ccnet.attention_map(tiny, picture, point=point, recurrence=step)
            np.testing.assert_array_equal(found, alone)


def test_the_weights_of_all_positions_are_never_held(little_memory, enliven):
    wide = ccnet.CCNet.from_config("ccnet_tiny", num_classes=4)
    found = ccnet.attention_map(enliven(wide), np.zeros((960, 960, 3), np.uint8), point=(480, 480))
    assert found.shape == (240, 240)  # 240 * 240 * 480 weights of each step would take 111 MB, and as much in between


def with_plan(model, **plan):
    model.config = dataclasses.replace(model.config, inference=ccnet.InferencePlan(**plan))
    return model


@pytest.mark.parametrize(("point", "place"), [((0, 0), (0, 5)), ((50, 36), (30, 26)), ((20, 25), (12, 20))])
def test_a_model_that_fits_pictures_looks_at_the_crop(tiny, picture, point, place):
    """37 x 51 pixels in 32 x 31: three fifths of the size, 4.7 pixels of black above and below."""
    crop = fit_bytes(torch.from_numpy(picture).permute(2, 0, 1)[None], (32, 31))[0]
    expected = attention_maps(tiny, crop, points=[place])[0]
    with_plan(tiny, mode="fit", crop=(32, 31))
    shown, points = as_seen(tiny, picture, [point])
    assert points == [place]
    assert torch.equal(shown, crop)
    for found, step in zip(attention_maps(tiny, picture, points=[point])[0], expected, strict=True):
        np.testing.assert_array_equal(found, step)


def test_other_models_look_at_the_picture(tiny, picture):
    with_plan(tiny, mode="slide", crop=(16, 16), stride=(8, 8))
    shown, points = as_seen(tiny, picture, [(9, 30)])
    assert points == [(9, 30)]
    np.testing.assert_array_equal(shown.permute(1, 2, 0), picture)


@pytest.mark.parametrize("plan", [{}, {"mode": "fit", "crop": (99, 99)}])
def test_a_point_is_one_of_the_picture_whatever_the_crop(tiny, picture, plan):
    with pytest.raises(ccnet.PictureError, match="60,0 is outside the picture of 51x37"):
        ccnet.attention_map(with_plan(tiny, **plan), picture, point=(60, 0))


def test_no_number_of_steps_means_two_or_the_only_one(tiny, picture):
    both = ccnet.attention_map(tiny, picture, point=(9, 9), recurrence=2)
    np.testing.assert_array_equal(ccnet.attention_map(tiny, picture, point=(9, 9)), both)
    once = ccnet.CCNet.from_config("ccnet_tiny", recurrence=1)
    assert len(attention_maps(once, picture, points=[(9, 9)])[0]) == 1


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
