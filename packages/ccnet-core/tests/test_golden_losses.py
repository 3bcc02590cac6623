"""Hard-pixel mining against mmsegmentation 1.2.2: the published figures of its sampler on its own network."""

import numpy as np
import pytest
import torch

import ccnet_core as ccnet


@pytest.fixture(scope="module")
def batch(published, published_file, fill):
    """Logits at label size, and labels."""
    model = ccnet.convert_checkpoint(published_file, model=published["config"])
    bgr = np.stack([fill.image_noise(129, 193, 5), fill.image_struct(129, 193)])
    labels = np.stack([fill.label_map(129, 193, 19, seed) for seed in (0, 1)])
    with torch.no_grad():
        logits = model(torch.from_numpy(np.ascontiguousarray(bgr[..., ::-1])).permute(0, 3, 1, 2)).logits
        return model.resize_logits(logits, (129, 193)), torch.from_numpy(labels)


@pytest.mark.parametrize(("threshold", "min_kept"), [(0.7, 100), (0.7, 20000), (None, 5000), (0.2, 3000)])
def test_loss_over_hard_pixels(batch, published, threshold, min_kept):
    logits, labels = batch
    loss = ccnet.OhemCrossEntropy(threshold, min_kept, "mmseg")(logits, labels)
    expected = published[f"loss_eval_ohem_{threshold}_{min_kept}"]["loss_ce"]
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("average", "figure"), [("all", "loss_eval_mode"), ("counted", "loss_eval_avg_non_ignore")])
def test_every_pixel_is_hard_at_threshold_1(batch, published, average, figure):
    loss = ccnet.OhemCrossEntropy(1.0, 100, "mmseg", average=average)(*batch)
    expected = {key.removeprefix("decode."): value for key, value in published[figure].items()}["loss_ce"]
    assert loss.item() == pytest.approx(expected, rel=1e-5)
