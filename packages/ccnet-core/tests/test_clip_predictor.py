import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.clip_predictor import predict_frames


@pytest.fixture
def model(enliven):
    return enliven(ccnet.CCNet.from_config("ccnet_tiny", num_classes=4, frames=3)).double().eval()


@pytest.fixture
def video():
    """Eight frames (8, 3, 37, 50): coarse noise that moves to the right."""
    coarse = torch.rand(1, 3, 4, 9)
    wide = torch.nn.functional.interpolate(coarse * 255, (37, 90), mode="bilinear")[0].to(torch.uint8)
    return torch.stack([wide[..., 5 * t : 5 * t + 50] for t in range(8)])


def test_each_frame_gets_what_the_clip_that_ends_with_it_gets(model, video):
    predictor = ccnet.ClipPredictor(model)
    for t, frame in enumerate(video):
        found = predictor.push(frame, scores=True)
        expected = ccnet.predict(model, video[max(0, t - 2) : t + 1], scores=True)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-6)  # kept as float32
        np.testing.assert_array_equal(found.labels, expected.labels)


def test_logits_are_those_of_the_network_to_ten_digits(model, video):
    predictor = ccnet.ClipPredictor(model)
    for frame in video:
        with torch.inference_mode():
            logits = predictor._logits(frame[None])
    expected = model(video[None, -3:]).logits
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
    assert (logits - model(video[None, -1:]).logits).abs().max() > 1e-3  # the frames before it count


def test_each_frame_goes_through_the_backbone_once(model, video):
    batches = []
    model.backbone.register_forward_hook(lambda module, given, out: batches.append(len(given[0])))
    predictor = ccnet.ClipPredictor(model)
    for frame in video:
        predictor.push(frame)
    assert batches == [1] * 8


def test_a_cut_begins_a_new_clip(model, video):
    predictor = ccnet.ClipPredictor(model)
    for frame in video[:4]:
        predictor.push(frame)
    predictor.cut()
    np.testing.assert_array_equal(predictor.push(video[4]).labels, ccnet.predict(model, video[4]).labels)


def test_a_frame_of_another_size_begins_a_new_clip_and_keeps_its_size(model, video):
    predictor = ccnet.ClipPredictor(model)
    for frame in video[:3]:
        predictor.push(frame)
    smaller = video[3, :, :36, :49]  # its feature map has the same size
    found = predictor.push(smaller, scores=True)
    np.testing.assert_array_equal(found.scores, ccnet.predict(model, smaller, scores=True).scores)
    assert found.labels.shape == (36, 49)


def test_base_scale_is_that_of_predict(enliven, video):
    from dataclasses import replace

    model = enliven(ccnet.CCNet.from_config("ccnet_tiny", num_classes=4, frames=3)).double().eval()
    plan = replace(model.config.inference, base_scale=(80, 60), resize="plan")
    predictor = ccnet.ClipPredictor(model, plan=plan)
    found = [predictor.push(frame, scores=True) for frame in video[:3]][-1]
    expected = ccnet.predict(model, video[:3], plan=plan, scores=True)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "slide", "crop": (16, 16), "stride": (16, 16)},
        {"mode": "fit", "crop": (16, 16)},
        {"scales": (1.0, 2.0)},
        {"flip": True},
    ],
)
def test_several_views_of_a_frame_are_refused(model, options):
    with pytest.raises(ccnet.ConfigError, match="whole, each in one view"):
        ccnet.ClipPredictor(model, **options)


def test_a_model_of_pictures_is_refused(tiny):
    with pytest.raises(ccnet.ConfigError, match="takes a model of clips"):
        ccnet.ClipPredictor(tiny)


def test_frames_are_given_back_with_their_labels(model, video):
    arrays = [frame.permute(1, 2, 0).numpy() for frame in video]
    found = list(predict_frames(model, arrays))
    for t, prediction in enumerate(found):
        assert prediction.source is arrays[t]
        assert torch.equal(prediction.picture, video[t])
        np.testing.assert_array_equal(prediction.labels, ccnet.predict(model, video[max(0, t - 2) : t + 1]).labels)


def test_the_model_stays_in_training_mode(model, video):
    model.train()
    ccnet.ClipPredictor(model).push(video[0])
    assert model.training
