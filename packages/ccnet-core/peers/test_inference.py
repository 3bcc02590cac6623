"""The same pictures through mmsegmentation's own test pipeline, and through `predict`."""

import dataclasses

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmseg.apis import inference_model
from mmseg.models import SegTTAModel
from mmseg_peer import make_pair, picture, rgb

import ccnet_core as ccnet

CITYSCAPES = "ccnet_r50-d8_4xb2-40k_cityscapes-512x1024"
CITYSCAPES_769 = "ccnet_r50-d8_4xb2-80k_cityscapes-769x769"
ADE20K = "ccnet_r101-d8_4xb4-160k_ade20k-512x512"
VOC = "ccnet_r50-d8_4xb4-20k_voc12aug-512x512"
WINDOW = {"crop": (65, 57), "stride": (43, 38)}
SMALL_SLIDE = {"model.test_cfg.crop_size": WINDOW["crop"], "model.test_cfg.stride": WINDOW["stride"]}


def assert_same_answer(ours, theirs):
    """`ours` is a Prediction with scores, `theirs` a SegDataSample with logits."""
    logits = theirs.seg_logits.data.numpy()
    assert logits.std() > 0.5
    np.testing.assert_allclose(ours.scores, logits, atol=1e-3)
    assert agreement(ours, theirs) >= 0.999


def agreement(ours, theirs):
    """Return the share of pixels with the same class, of pictures with several classes."""
    labels = theirs.pred_sem_seg.data.squeeze().numpy()
    assert len(np.unique(labels)) > 3
    return (ours.labels == labels).mean()


def with_base_scale(pair, base_scale):
    """Make both fit pictures to a base scale smaller than the published one; return our plan."""
    (resize,) = (step for step in pair.theirs.cfg.test_pipeline if step.type == "Resize")
    resize.scale = base_scale
    return dataclasses.replace(pair.ours.config.inference, base_scale=base_scale, resize="plan")


@pytest.mark.parametrize("name", [CITYSCAPES, CITYSCAPES_769, ADE20K, VOC])
def test_logits_of_both_heads(name):
    pair = make_pair(name)
    pictures = [torch.from_numpy(picture(75, 101, seed)).permute(2, 0, 1) for seed in (0, 1)]
    with torch.no_grad():
        features = pair.theirs.extract_feat(pair.theirs.data_preprocessor({"inputs": pictures})["inputs"])
        output = pair.ours(torch.stack(pictures).flip(1))
        expected = pair.theirs.decode_head(features), pair.theirs.auxiliary_head(features)
    for actual, logits in zip(output[:2], expected, strict=True):
        assert logits.std() > 0.5
        torch.testing.assert_close(actual, logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "size"), [(CITYSCAPES, (83, 121)), (CITYSCAPES, (170, 90)), (ADE20K, (83, 121)), (VOC, (170, 90))]
)
def test_picture_fitted_to_the_base_scale(name, size):
    pair = make_pair(name)
    plan = with_base_scale(pair, (203, 102))
    bgr = picture(*size)
    assert_same_answer(ccnet.predict(pair.ours, rgb(bgr), plan=plan, scores=True), inference_model(pair.theirs, bgr))


@pytest.mark.parametrize("size", [(99, 121), (61, 140), (50, 57)])
def test_sliding_window_with_aligned_corners(size):
    pair = make_pair(CITYSCAPES_769, SMALL_SLIDE)
    bgr = picture(*size)
    with_base_scale(pair, (size[1], size[0]))
    ours = ccnet.predict(pair.ours, rgb(bgr), **WINDOW, scores=True)
    assert_same_answer(ours, inference_model(pair.theirs, bgr))


def test_sliding_window_of_the_published_size_on_a_resized_picture():
    pair = make_pair(CITYSCAPES_769)
    plan = with_base_scale(pair, (777, 301))
    bgr = picture(150, 388)
    assert_same_answer(ccnet.predict(pair.ours, rgb(bgr), plan=plan, scores=True), inference_model(pair.theirs, bgr))


@pytest.mark.parametrize(("name", "changes"), [(CITYSCAPES, {}), (CITYSCAPES_769, SMALL_SLIDE)])
def test_six_scales_with_mirror_images(name, changes):
    pair = make_pair(name, changes)
    load, views = pair.theirs.cfg.tta_pipeline
    load.type = "LoadImageFromNDArray"
    views.transforms = [steps for steps in views.transforms if steps[0].type != "LoadAnnotations"]
    ratios = tuple(step.scale_factor for step in views.transforms[0])
    assert ratios == (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    bgr = picture(63, 79)
    data = pseudo_collate([Compose(pair.theirs.cfg.tta_pipeline)({"img": bgr})])
    with torch.no_grad():
        (theirs,) = SegTTAModel(module=pair.theirs).test_step(data)
    ours = ccnet.predict(pair.ours, rgb(bgr), scales=ratios, flip=True, **(WINDOW if changes else {}))
    assert agreement(ours, theirs) >= 0.999
