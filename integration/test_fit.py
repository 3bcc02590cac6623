"""What core predicts with mode "fit" is what the data package warps for training, and warps back."""

import numpy as np
import pytest
import torch

from ccnet_core.fit import Fit
from ccnet_core.resize import fit_bytes
from ccnet_core.score_map import Fitted, Logits
from ccnet_data.warp import WarpAugment, fit_matrix, warp_back

SIZES = [(300, 201), (201, 300), (97, 97), (33, 50), (640, 37), (1, 60), (60, 1)]
CROPS = [(97, 97), (96, 64), (64, 96)]


def picture_of(size):
    return np.random.default_rng(size[0]).integers(0, 256, (3, *size), dtype=np.uint8)


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("size", SIZES)
def test_a_picture_is_fitted_as_it_is_warped_without_chance(size, crop):
    """Within 1: the warp cuts the fractions of bytes off, core rounds them.

    Only where the neighbours of a pixel lie on both sides of the picture's edge the rules differ: core interpolates
    with black, as CE2P does, where Pillow takes the pixel of the picture or black.
    """
    image = picture_of(size)
    sample = {"image": image, "label": np.zeros(size, np.uint8), "id": "one"}
    warped = WarpAugment(size=crop).without_chance()(sample, np.random.default_rng(0))["image"]
    fitted = fit_bytes(torch.from_numpy(image)[None], crop)[0].numpy()
    inside, outside = np.ones(crop, bool), np.zeros(crop, bool)
    for axis, extent in enumerate(size):
        place = np.expand_dims(Fit(size, crop).in_picture(axis).numpy(), 1 - axis)
        inside &= (place >= 0) & (place <= extent - 1)
        outside |= (place <= -1) | (place >= extent)
    difference = np.abs(fitted.astype(int) - warped)
    assert difference[:, inside].max(initial=0) <= 1
    assert (fitted[:, outside] == 0).all()
    assert (warped[:, outside] == 0).all()
    assert (inside | outside).mean() > 0.9


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("size", SIZES)
def test_scores_come_back_as_the_warp_leads_them_back(size, crop):
    """The labels, but where two scores are equal within 1e-4: Pillow counts in float64, core's weights are float32."""
    scores = np.random.default_rng(1).normal(size=(5, *crop)).astype(np.float32)
    expected = warp_back(scores, fit_matrix(size, crop), size)
    found = Fitted(Logits(torch.from_numpy(scores)[None]), size).rows(0, size[0])[0].numpy()
    best = np.take_along_axis(found, expected[..., None].astype(int), -1)[..., 0]
    np.testing.assert_allclose(best, found.max(-1), rtol=0, atol=1e-4)
    assert (found.argmax(-1) == expected).mean() > 0.999
