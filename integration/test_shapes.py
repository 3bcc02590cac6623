"""Mask R-CNN learns twenty generated pictures by heart: losses, targets and evaluation agree on what an object is."""

import pytest

from ccnet_train import fit, load_recipe
from ccnet_train.evaluate_weights import evaluate_weights


@pytest.mark.slow
@pytest.mark.detection
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_masks_of_twenty_pictures_are_learnt(tmp_path, seed):
    recipe = load_recipe("shapes", [f"seed={seed}", f"output={tmp_path / 'run'}"])
    result = fit(recipe, quiet=True)
    found = evaluate_weights(recipe, result.last_folder, out=tmp_path / "train", split="train", show=False)
    assert found.metrics["mask_ap"] >= 0.8
    assert found.metrics["box_ap"] >= 0.8
