"""Scores beside those of mmsegmentation's IoUMetric and of cityscapesScripts' command, on the same predictions."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.evaluation.metrics import IoUMetric
from PIL import Image

import ccnet_core as ccnet
import ccnet_data
from ccnet_train import load_recipe
from ccnet_train.evaluate_weights import evaluate_weights
from ccnet_train.evaluation_folder import read_evaluation
from ccnet_train.label_files import CITYSCAPES_IDS

LABEL_IDS = np.array([*CITYSCAPES_IDS.values(), 0, 1, 4, 9], np.uint8)
"""The ids that are evaluated, and four that are not."""

RECIPE = """
recipe_version: 1
name: peers
output: {output}
model: {{name: ccnet_tiny}}
data: {{name: cityscapes, root: {root}}}
train: {{iterations: 1, images_per_step: 1}}
optimiser: {{name: sgd, lr: 0.1}}
evaluate: {{every: 1}}
checkpoint: {{every: 1}}
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """Cityscapes' folders with five small pictures of noise; two classes are in no label, one picture has none."""
    root, rng = tmp_path_factory.mktemp("cityscapes"), np.random.default_rng(0)
    for index in range(5):
        stem = f"bonn_{index:06}_000019"
        _write(root / "leftImg8bit/val/bonn" / f"{stem}_leftImg8bit.png", rng.integers(0, 256, (40, 64, 3), np.uint8))
        ids = LABEL_IDS[rng.integers(2, len(LABEL_IDS), (5, 8))].repeat(8, 0).repeat(8, 1)
        if index == 4:
            ids[:] = 0
        for kind in ("labelIds", "instanceIds"):
            _write(root / "gtFine/val/bonn" / f"{stem}_gtFine_{kind}.png", ids)
    return root


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Random weights that predict many classes."""
    torch.manual_seed(0)
    model = ccnet.CCNet.from_config("ccnet_tiny", classes=tuple(CITYSCAPES_IDS)).eval()
    with torch.no_grad():
        logits = model(torch.randint(0, 256, (1, 3, 40, 64), dtype=torch.uint8)).logits
        model.head.classify.conv.bias -= logits.mean((0, 2, 3))
    folder = tmp_path_factory.mktemp("weights") / "best"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def out(tree, weights, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "recipe.yaml").write_text(RECIPE.format(output=folder / "run", root=tree))
    recipe = load_recipe(folder / "recipe.yaml")
    evaluate_weights(recipe, weights, out=folder / "out", labels="cityscapes", show=False)
    return folder / "out"


def test_the_predictions_hold_many_classes(out):
    predicted = read_evaluation(out).confusion.sum(0)
    assert (predicted > 0).sum() >= 10


def test_scores_equal_those_of_mmsegmentation(tree, weights, out):
    """Its areas and its own sums; its summary is rounded to two decimals of a percent."""
    model, dataset = ccnet.CCNet.from_pretrained(weights), ccnet_data.load("cityscapes", split="val", root=tree)
    areas = []
    for index in range(len(dataset)):
        sample = dataset[index]
        labels = ccnet.predict(model, sample["image"].transpose(1, 2, 0).copy()).labels
        pair = (torch.from_numpy(array.astype(np.int64)) for array in (labels, sample["label"]))
        areas.append(IoUMetric.intersect_and_union(*pair, num_classes=19, ignore_index=255))
    theirs = IoUMetric.total_area_to_metrics(*(sum(parts) for parts in zip(*areas, strict=True)), metrics=["mIoU"])
    ours = read_evaluation(out).scores
    np.testing.assert_allclose(ours.iou, theirs["IoU"], rtol=1e-6)
    np.testing.assert_allclose(ours.accuracy, theirs["Acc"], rtol=1e-6)
    np.testing.assert_allclose(ours.aacc, theirs["aAcc"], rtol=1e-6)
    np.testing.assert_allclose(ours.miou, np.nanmean(theirs["IoU"]), rtol=1e-6)
    np.testing.assert_allclose(ours.macc, np.nanmean(theirs["Acc"]), rtol=1e-6)
    assert np.isnan(ours.accuracy).sum() == 2


def test_scores_of_the_label_files_equal_those_of_the_cityscapes_server(tree, out, tmp_path):
    """cityscapesScripts' own command, on the files that are for its server."""
    command = os.environ.get("CITYSCAPES_EVALUATION")
    assert command, "CITYSCAPES_EVALUATION must be the command csEvalPixelLevelSemanticLabeling"
    places = {"CITYSCAPES_DATASET": tree, "CITYSCAPES_RESULTS": out / "labels", "CITYSCAPES_EXPORT_DIR": tmp_path}
    variables = {**os.environ, **{name: str(place) for name, place in places.items()}}
    done = subprocess.run([command], env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    [file] = tmp_path.rglob("*.json")
    theirs = json.loads(file.read_text())
    ours = read_evaluation(out)
    expected = {name: theirs["classScores"][name] for name in ours.classes}
    found = dict(zip(ours.classes, ours.scores.iou, strict=True))
    assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert ours.scores.miou == pytest.approx(theirs["averageScoreClasses"], rel=1e-12)
