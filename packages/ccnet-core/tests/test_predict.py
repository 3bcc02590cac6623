import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import ccnet_core as ccnet
from ccnet_core import resize
from ccnet_core.config import InferencePlan
from ccnet_core.predict import view_size


def test_labels_are_the_argmax_of_scores_at_the_pictures_own_size(tiny, picture):
    result = ccnet.predict(tiny, picture, scores=True)
    assert result.labels.shape == (37, 51)
    assert result.labels.dtype == np.uint8
    assert result.scores.shape == (4, 37, 51)
    np.testing.assert_array_equal(result.labels, result.scores.argmax(0))
    assert ccnet.predict(tiny, picture).scores is None


@pytest.mark.parametrize("options", [{}, {"flip": True}])
def test_labels_of_many_close_classes_are_still_the_argmax_of_scores(picture, options):
    model = ccnet.CCNet.from_config("ccnet_tiny", num_classes=150).double()
    result = ccnet.predict(model, picture, **options, scores=True)
    np.testing.assert_array_equal(result.labels, result.scores.argmax(0))


def test_whole_mode_is_the_networks_output_upsampled(tiny, picture):
    image = torch.from_numpy(picture).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = F.interpolate(tiny(image).logits, size=(37, 51), mode="bilinear")
    torch.testing.assert_close(torch.from_numpy(ccnet.predict(tiny, picture, scores=True).scores), expected[0])


PLANS = {
    "whole": {},
    "slide": {"mode": "slide", "crop": (16, 24), "stride": (11, 16)},
    "scales": {"scales": (0.6, 1.0, 1.7), "flip": True},
    "fit": {"mode": "fit", "crop": (24, 31)},
    "fit at scales": {"mode": "fit", "crop": (24, 31), "scales": (0.6, 1.3), "flip": True},
    "slide at scales": {"mode": "slide", "crop": (16, 24), "stride": (11, 16), "scales": (0.6, 1.3), "flip": True},
}


@pytest.mark.parametrize("options", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("strip_bytes", [1, 4 * 4 * 51 * 5])
def test_height_of_the_strips_does_not_matter(tiny, picture, options, strip_bytes, monkeypatch):
    expected = ccnet.predict(tiny, picture, **options, scores=True)
    monkeypatch.setattr(resize, "STRIP_BYTES", strip_bytes)
    result = ccnet.predict(tiny, picture, **options, scores=True)
    np.testing.assert_allclose(result.scores, expected.scores, atol=1e-5)
    np.testing.assert_array_equal(result.labels, result.scores.argmax(0))
    np.testing.assert_array_equal(result.labels, ccnet.predict(tiny, picture, **options).labels)


@pytest.mark.parametrize("options", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (3, 2), (61, 33), (1, 500), (500, 1)])
def test_every_size_is_segmented(tiny, size, options):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    result = ccnet.predict(tiny, picture, **options, scores=True)
    assert result.labels.shape == size
    assert np.isfinite(result.scores).all()


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((0, 5, 3), np.uint8, "is empty"),
        ((5, 0, 3), np.uint8, "is empty"),
        ((5, 5), np.uint8, r"must be uint8 \(H, W, 3\)"),
        ((5, 5, 4), np.uint8, r"must be uint8 \(H, W, 3\)"),
        ((5, 5, 3), np.float32, "got float32"),
    ],
)
def test_what_is_no_picture_is_refused(tiny, shape, dtype, message):
    with pytest.raises(ccnet.PictureError, match=message):
        ccnet.predict(tiny, np.zeros(shape, dtype))


@pytest.mark.parametrize("options", [{}, {"flip": True}])
def test_weights_that_are_not_numbers_give_the_first_such_class(tiny, picture, options):
    tiny.head.classify.conv.bias.data[2:] = float("nan")
    result = ccnet.predict(tiny, picture, **options, scores=True)
    np.testing.assert_array_equal(result.labels, result.scores.argmax(0))
    assert set(np.unique(result.labels)) == ({2} if not options else {0})  # softmax spreads it to every class


def test_half_precision_is_resized_and_averaged_in_float32(tiny, picture):
    tiny.bfloat16()
    image = torch.from_numpy(picture).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = F.interpolate(tiny(image).logits.float(), size=(37, 51), mode="bilinear")[0]
    scores = ccnet.predict(tiny, picture, scores=True).scores
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize("options", PLANS.values(), ids=PLANS)
def test_double_precision_and_autocast_agree_with_single(tiny, picture, options):
    expected = ccnet.predict(tiny, picture, **options, scores=True).scores
    with torch.autocast("cpu", torch.bfloat16):
        rough = ccnet.predict(tiny, picture, **options, scores=True).scores
    exact = ccnet.predict(tiny.double(), picture, **options, scores=True).scores
    assert exact.dtype == rough.dtype == np.float32
    np.testing.assert_allclose(expected, exact, atol=1e-4)
    assert 0 < np.abs(rough - exact).max() < 0.1 * np.abs(exact).max()


def test_channels_last_model_and_any_memory_order_give_the_same_labels(tiny, picture):
    expected = ccnet.predict(tiny, picture).labels
    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    for image in (tensor, tensor.contiguous()):
        np.testing.assert_array_equal(ccnet.predict(tiny, image).labels, expected)
    tiny.to(memory_format=torch.channels_last)
    assert (ccnet.predict(tiny, picture).labels == expected).mean() > 0.999


def test_more_than_256_classes_are_int32(picture):
    model = ccnet.CCNet.from_config("ccnet_tiny", num_classes=300)
    assert ccnet.predict(model, picture).labels.dtype == np.int32


@pytest.mark.parametrize("failing", [False, True])
def test_model_is_left_as_it_was_also_after_an_error(tiny, picture, failing):
    tiny.train().bfloat16()
    tiny.backbone.stem[1].eval()
    tiny.head.classify.requires_grad_(False)
    before = state(tiny)
    tensors = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    if failing:
        hook = tiny.register_forward_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ccnet.predict(tiny, picture)
        hook.remove()
    else:
        ccnet.predict(tiny, picture)
    assert state(tiny) == before
    assert all(torch.equal(tensors[name], tensor) for name, tensor in tiny.state_dict().items())
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def state(model):
    modes = [module.training for module in model.modules()]
    return modes, [(tensor.dtype, tensor.device, tensor.requires_grad) for tensor in model.parameters()]


def test_model_can_be_trained_after_it_has_predicted(tiny, picture):
    ccnet.predict(tiny.train(), picture)
    image = torch.from_numpy(picture).permute(2, 0, 1)[None]
    tiny(image).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in tiny.parameters())


def test_one_window_over_the_picture_is_the_whole_picture(tiny, picture):
    whole = ccnet.predict(tiny, picture, scores=True)
    slide = ccnet.predict(tiny, picture, mode="slide", crop=(64, 64), stride=(32, 32), scores=True)
    np.testing.assert_array_equal(whole.scores, slide.scores)


def test_fit_is_the_networks_answer_for_the_crop_led_back(tiny, picture):
    """Twice interpolated, as in CE2P: from the logits to the crop, from the crop to the picture. In float64."""
    size, crop = picture.shape[:2], (24, 31)
    image = torch.from_numpy(picture).permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = tiny.double()(resize.fit_bytes(image, crop)).logits
    scores = F.interpolate(logits, crop, mode="bilinear")
    expected = F.grid_sample(scores, grid_of(size, crop)[None], align_corners=True)[0]
    result = ccnet.predict(tiny, picture, mode="fit", crop=crop, scores=True)
    np.testing.assert_allclose(result.scores, expected, rtol=0, atol=1e-5)
    whole = ccnet.predict(tiny, picture, scores=True).scores
    assert np.abs(result.scores - whole).max() > 0.1


def grid_of(size, crop):
    """Where the pixels of a picture lie in the crop, (H, W, 2) from -1 to 1."""
    factor = (crop[1] - 1) / max(size[1] - 1, (size[0] - 1) * crop[1] / crop[0])
    y, x = (
        (torch.arange(extent).double() - (extent - 1) / 2) * factor * 2 / (target - 1)
        for extent, target in zip(size, crop, strict=True)
    )
    return torch.stack(torch.broadcast_tensors(x[None], y[:, None]), -1)


def test_fit_of_a_picture_of_the_crops_size_is_the_whole_picture(tiny):
    picture = np.random.default_rng(0).integers(0, 256, (33, 33, 3), dtype=np.uint8)
    whole = ccnet.predict(tiny, picture, scores=True).scores
    fitted = ccnet.predict(tiny, picture, mode="fit", crop=(33, 33), scores=True).scores
    np.testing.assert_allclose(fitted, whole, rtol=0, atol=1e-5)


def test_views_of_a_fit_are_crops_of_each_scale(tiny, picture):
    seen = []
    tiny.register_forward_hook(lambda _model, arguments, _output: seen.append(tuple(arguments[0].shape[2:])))
    ccnet.predict(tiny, picture, mode="fit", crop=(24, 31), scales=(0.01, 0.5, 2.0), flip=True)
    assert seen == [(2, 2), (2, 2), (12, 16), (12, 16), (48, 62), (48, 62)]


def test_flip_averages_softmax_of_picture_and_mirror(tiny, picture):
    plain = torch.from_numpy(ccnet.predict(tiny, picture, scores=True).scores).softmax(0)
    mirror = torch.from_numpy(ccnet.predict(tiny, picture[:, ::-1].copy(), scores=True).scores).softmax(0).flip(2)
    both = ccnet.predict(tiny, picture, flip=True, scores=True).scores
    np.testing.assert_allclose(both, (plain + mirror) / 2, atol=1e-6)


PAIRS = ((0, 2), (3, 1))


def paired(model, pairs=PAIRS):
    model.config = dataclasses.replace(model.config, flip_pairs=pairs)
    return model


MIRRORED_PLANS = {"whole": {}, "slide": PLANS["slide"], "fit": PLANS["fit"], "fit at scales": PLANS["fit at scales"]}


@pytest.mark.parametrize("options", MIRRORED_PLANS.values(), ids=MIRRORED_PLANS)
def test_with_flip_a_mirror_image_gets_the_mirrored_answer_with_its_pairs_exchanged(tiny, picture, options):
    paired(tiny.double())
    for parameter in tiny.head.classify.conv.parameters():
        parameter.data *= 0.1  # else a picture and its mirror image are both sure, and where they disagree scores tie
    options = {**options, "flip": True, "scores": True}
    one, other = (ccnet.predict(tiny, view, **options) for view in (picture, picture[:, ::-1].copy()))
    order = [2, 3, 0, 1]
    np.testing.assert_allclose(other.scores, one.scores[order, :, ::-1], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(other.labels, np.array(order)[one.labels[:, ::-1]])
    assert np.abs(one.scores - one.scores[order]).max() > 0.01  # so that pairs left as they are would show


def test_pairs_change_nothing_without_a_mirror_image(tiny, picture):
    expected = ccnet.predict(tiny, picture, scores=True).scores
    np.testing.assert_array_equal(ccnet.predict(paired(tiny), picture, scores=True).scores, expected)


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


def with_plan(model, **plan):
    """A model that was published with this plan."""
    model.config = dataclasses.replace(model.config, inference=InferencePlan(**plan))
    return model


WHOLE_PLAN = {
    "mode": "slide",
    "crop": (16, 24),
    "stride": (11, 16),
    "scales": (0.5, 1.0),
    "flip": True,
    "base_scale": (64, 48),
    "resize": "plan",
}


def test_without_options_only_the_windows_are_the_models(tiny, picture):
    model = with_plan(tiny, **WHOLE_PLAN)
    expected = ccnet.predict(model, picture, plan=InferencePlan(mode="slide", crop=(16, 24), stride=(11, 16)))
    np.testing.assert_array_equal(ccnet.predict(model, picture).labels, expected.labels)


def test_models_plan_is_carried_out_whole(tiny, picture, monkeypatch):
    model = with_plan(tiny, **WHOLE_PLAN)
    seen = []
    model.register_forward_hook(lambda _model, arguments, _output: seen.append(tuple(arguments[0].shape[2:])))
    ccnet.predict(model, picture, plan=model.config.inference)
    # 37 x 51 fitted to (64, 48) is 46 x 64, fitted to half of it 23 x 32; each has its windows twice.
    assert len(seen) == 2 * (2 * 2 + 4 * 4)
    assert set(seen) == {(16, 24)}


def test_resize_fits_to_the_base_scale_of_the_models_plan(tiny, picture):
    model = with_plan(tiny, base_scale=(64, 48))
    expected = ccnet.predict(model, picture, plan=InferencePlan(base_scale=(64, 48), resize="plan"), scores=True)
    np.testing.assert_array_equal(ccnet.predict(model, picture, resize="plan", scores=True).scores, expected.scores)
    assert (ccnet.predict(model, picture, scores=True).scores != expected.scores).any()


def test_slide_of_views_is_the_mean_of_softmax_of_windows(tiny, picture):
    """Windows are added at the size of the view, then resized to the picture."""
    image = torch.from_numpy(picture).permute(2, 0, 1)[None]
    with torch.no_grad():
        view = resize.resize_bytes(image, (28, 38))
        views = [slide_of(tiny, view, (16, 24), (11, 16)), slide_of(tiny, view.flip(3), (16, 24), (11, 16)).flip(3)]
    resized = [F.interpolate(view, size=(37, 51), mode="bilinear").softmax(1) for view in views]
    expected = torch.stack(resized).mean(0)[0]
    result = ccnet.predict(
        tiny, picture, mode="slide", crop=(16, 24), stride=(11, 16), scales=(0.75,), flip=True, scores=True
    )
    np.testing.assert_allclose(result.scores, expected, atol=1e-5)


def slide_of(model, view, crop, stride):
    total, count = torch.zeros(1, 4, *view.shape[2:]).double(), torch.zeros(view.shape[2:])
    for top in sorted({min(top, view.shape[2] - crop[0]) for top in range(0, view.shape[2], stride[0])}):
        for left in sorted({min(left, view.shape[3] - crop[1]) for left in range(0, view.shape[3], stride[1])}):
            rows, columns = slice(top, top + crop[0]), slice(left, left + crop[1])
            total[..., rows, columns] += F.interpolate(model(view[..., rows, columns]).logits, crop, mode="bilinear")
            count[rows, columns] += 1
    return total / count


@pytest.mark.parametrize("plan", ["slide", {"mode": "slide"}])
def test_plan_of_another_type_is_refused(tiny, picture, plan):
    with pytest.raises(ccnet.ConfigError, match=r"plan must be a ccnet_core\.InferencePlan, got"):
        ccnet.predict(tiny, picture, plan=plan)


FITTING = {"mode": "fit", "crop": (24, 31)}


def test_a_model_whose_plan_is_a_fit_is_asked_for_other_modes(tiny, picture):
    expected = {
        "fit": ccnet.predict(tiny, picture, **FITTING).labels,
        "whole": ccnet.predict(tiny, picture).labels,
        "other crop": ccnet.predict(tiny, picture, mode="fit", crop=(40, 40)).labels,
        "slide": ccnet.predict(tiny, picture, mode="slide", crop=(24, 31), stride=(11, 16)).labels,
    }
    model = with_plan(tiny, **FITTING)
    found = {
        "fit": ccnet.predict(model, picture).labels,
        "whole": ccnet.predict(model, picture, mode="whole").labels,
        "other crop": ccnet.predict(model, picture, crop=(40, 40)).labels,
        "slide": ccnet.predict(model, picture, mode="slide", stride=(11, 16)).labels,
    }
    for way, labels in expected.items():
        np.testing.assert_array_equal(found[way], labels, err_msg=way)


def test_a_model_with_windows_fits_without_their_stride(tiny, picture):
    expected = ccnet.predict(tiny, picture, mode="fit", crop=(16, 24)).labels
    np.testing.assert_array_equal(ccnet.predict(with_plan(tiny, **WHOLE_PLAN), picture, mode="fit").labels, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "fit"}, "mode 'fit' needs crop, height and width from 2 to 65536 pixels, got None"),
        ({"mode": "fit", "crop": (1, 31)}, r"mode 'fit' needs crop, .* got \(1, 31\)"),
        ({"mode": "fit", "crop": (10**9, 31)}, r"mode 'fit' needs crop, .* got \(1000000000, 31\)"),
        ({**FITTING, "stride": (8, 8)}, r"mode 'fit' has no windows and no stride, got \(8, 8\)"),
        ({**FITTING, "resize": "plan"}, "mode 'fit' sizes the picture itself. Leave resize out"),
    ],
)
def test_a_fit_that_cannot_be_is_refused(tiny, picture, options, message):
    with pytest.raises(ccnet.ConfigError, match=message):
        ccnet.predict(with_plan(tiny, base_scale=(64, 48)), picture, **options)


def test_sliding_without_a_crop_is_refused(tiny, picture):
    with pytest.raises(ccnet.ConfigError, match="mode 'slide' needs crop"):
        ccnet.predict(tiny, picture, mode="slide")


def test_plan_and_single_options_exclude_each_other(tiny, picture):
    with pytest.raises(ccnet.ConfigError, match="either a plan or single options"):
        ccnet.predict(tiny, picture, plan=InferencePlan(), flip=True)


def test_crop_without_sliding_is_refused(tiny, picture):
    with pytest.raises(ccnet.ConfigError, match="crop and stride belong to mode='slide'"):
        ccnet.predict(tiny, picture, crop=(16, 16))


def test_resize_plan_needs_a_base_scale(tiny, picture):
    with pytest.raises(ccnet.ConfigError, match="needs base_scale"):
        ccnet.predict(tiny, picture, resize="plan")


@pytest.mark.parametrize(
    "options",
    [{}, {"flip": True, "scales": (0.75, 1.0)}, {"mode": "slide", "crop": (24, 24), "stride": (16, 16)}, FITTING],
    ids=["whole", "views", "slide", "fit"],
)
def test_a_clip_gives_the_labels_of_its_last_frame_by_any_plan(enliven, options):
    model = enliven(ccnet.CCNet.from_config("ccnet_tiny", num_classes=4, frames=2)).double().eval()
    clip = torch.randint(0, 256, (5, 3, 37, 51), dtype=torch.uint8)
    scores = ccnet.predict(model, clip, scores=True, **options).scores
    np.testing.assert_array_equal(scores, ccnet.predict(model, clip[-2:], scores=True, **options).scores)
    assert np.abs(scores - ccnet.predict(model, clip[-1], scores=True, **options).scores).max() > 1e-5  # in float64
    if not options:
        expected = model.resize_logits(model(clip[None, -2:]).logits, (37, 51))[0]
        np.testing.assert_allclose(scores, expected.detach(), rtol=0, atol=1e-5)


def test_a_model_of_pictures_labels_the_last_frame_of_a_clip(tiny):
    clip = torch.randint(0, 256, (3, 3, 37, 51), dtype=torch.uint8)
    np.testing.assert_array_equal(ccnet.predict(tiny, clip).labels, ccnet.predict(tiny, clip[-1]).labels)
