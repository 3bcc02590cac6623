import numpy as np
import pytest
import torch
import torch.nn.functional as F

import ccnet_core as ccnet
from ccnet_core.config import InferencePlan
from ccnet_core.predict import view_size, windows


def covered(size, plan):
    count = torch.zeros(size, dtype=torch.int64)
    for rows, columns in windows(size, plan):
        count[rows, columns] += 1
    return count


def test_labels_are_the_argmax_of_scores_at_the_pictures_own_size(tiny, picture):
    result = ccnet.predict(tiny, picture, scores=True)
    assert result.labels.shape == (37, 51)
    assert result.labels.dtype == np.uint8
    assert result.scores.shape == (4, 37, 51)
    np.testing.assert_array_equal(result.labels, result.scores.argmax(0))
    assert ccnet.predict(tiny, picture).scores is None


def test_whole_mode_is_the_networks_output_upsampled(tiny, picture):
    image = torch.from_numpy(picture).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = F.interpolate(tiny(image).logits, size=(37, 51), mode="bilinear")
    torch.testing.assert_close(torch.from_numpy(ccnet.predict(tiny, picture, scores=True).scores), expected[0])


def test_more_than_256_classes_are_int32(picture):
    model = ccnet.CCNet.from_config("ccnet_tiny", num_classes=300)
    assert ccnet.predict(model, picture).labels.dtype == np.int32


def test_mode_of_every_module_is_restored_also_after_an_error(tiny, picture, monkeypatch):
    tiny.train()
    tiny.backbone.stem[1].eval()
    before = [module.training for module in tiny.modules()]
    ccnet.predict(tiny, picture)
    assert [module.training for module in tiny.modules()] == before
    monkeypatch.setattr(tiny, "resize_logits", None)
    with pytest.raises(TypeError):
        ccnet.predict(tiny, picture)
    assert [module.training for module in tiny.modules()] == before


def test_one_window_over_the_picture_is_the_whole_picture(tiny, picture):
    whole = ccnet.predict(tiny, picture, scores=True)
    slide = ccnet.predict(tiny, picture, mode="slide", crop=(64, 64), stride=(32, 32), scores=True)
    np.testing.assert_array_equal(whole.scores, slide.scores)


@pytest.mark.parametrize("size", [(37, 51), (16, 16), (17, 100), (5, 5)])
def test_windows_cover_every_pixel_and_stay_inside(size):
    plan = InferencePlan(mode="slide", crop=(16, 16), stride=(11, 16))
    assert (covered(size, plan) > 0).all()


def test_last_window_is_shifted_inside():
    plan = InferencePlan(mode="slide", crop=(97, 129), stride=(65, 86))
    tops = sorted({rows.start for rows, _ in windows((200, 264), plan)})
    assert tops == [0, 65, 103]


def test_flip_averages_softmax_of_picture_and_mirror(tiny, picture):
    plain = torch.from_numpy(ccnet.predict(tiny, picture, scores=True).scores).softmax(0)
    mirror = torch.from_numpy(ccnet.predict(tiny, picture[:, ::-1].copy(), scores=True).scores).softmax(0).flip(2)
    both = ccnet.predict(tiny, picture, flip=True, scores=True).scores
    np.testing.assert_allclose(both, (plain + mirror) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((129, 193), 0.5, (65, 97)),
        ((129, 193), 1.75, (226, 338)),
        ((117, 150), 1.25, (146, 187)),
        ((1, 1), 0.1, (1, 1)),
    ],
)
def test_views_are_sized_as_the_original_does(size, scale, expected):
    assert view_size(size, scale, InferencePlan()) == expected


@pytest.mark.parametrize(("size", "expected"), [((129, 193), (170, 254)), ((193, 129), (254, 170))])
def test_plan_fits_the_picture_to_the_base_scale_whichever_way_it_lies(size, expected):
    assert view_size(size, 1.0, InferencePlan(base_scale=(340, 170), resize="plan")) == expected


def test_plan_and_single_options_exclude_each_other(tiny, picture):
    with pytest.raises(ccnet.ConfigError, match="either a plan or single options"):
        ccnet.predict(tiny, picture, plan=InferencePlan(), flip=True)


def test_crop_without_sliding_is_refused(tiny, picture):
    with pytest.raises(ccnet.ConfigError, match="crop and stride belong to mode='slide'"):
        ccnet.predict(tiny, picture, crop=(16, 16))


def test_resize_plan_needs_a_base_scale(tiny, picture):
    with pytest.raises(ccnet.ConfigError, match="needs base_scale"):
        ccnet.predict(tiny, picture, resize="plan")
