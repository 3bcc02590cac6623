import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_train.evaluate import evaluate
from ccnet_train.launch import open_accelerator
from ccnet_train.metrics import ConfusionMatrix
from ccnet_train.recipe import EvaluateSection
from ccnet_train.subject import plan_by


class Pictures:
    """Three pictures of different sizes, labelled with what `model` predicts except in the first row."""

    classes = ("a", "b", "c")
    ignore_index = 255
    task = "segmentation"

    def __init__(self, model):
        rng = np.random.default_rng(0)
        self.samples, self.read = [], []
        for index in range(3):
            image = rng.integers(0, 256, (3, 24 + 8 * index, 40), np.uint8)
            label = ccnet.predict(model, image.transpose(1, 2, 0)).labels.copy()
            label[0] = (label[0] + 1) % 3
            image.setflags(write=False)  # as arrays from files often are
            self.samples.append({"image": image, "label": label, "id": str(index)})

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        self.read.append(index)
        return self.samples[index]


@pytest.fixture
def model():
    """Random weights, but no class has the highest score everywhere."""
    torch.manual_seed(0)
    model = ccnet.CCNet.from_config("ccnet_tiny", num_classes=3).eval()
    noise = torch.randint(0, 256, (1, 3, 32, 40), dtype=torch.uint8)
    with torch.no_grad():
        logits = model(noise).logits
        model.head.classify.conv.bias -= logits.mean((0, 2, 3))
    return model


def test_the_scores_are_those_of_all_pixels_at_their_own_size(model):
    dataset = Pictures(model)
    with open_accelerator() as accelerator:
        found = evaluate(model, dataset, accelerator, show=False)
    assert found.scores.aacc == pytest.approx(1 - 3 / (24 + 32 + 40))
    assert found.ids == ("0", "1", "2")
    matrix = ConfusionMatrix(3)
    for sample in dataset.samples:
        matrix.add(sample["label"], ccnet.predict(model, sample["image"].transpose(1, 2, 0).copy()).labels)
    np.testing.assert_array_equal(found.confusion, matrix.counts)


@pytest.mark.parametrize(
    "section",
    [
        EvaluateSection(every=1, mode="slide", crop=(16, 16), stride=(11, 11)),
        EvaluateSection(every=1, scales=(0.5, 1.0), flip=True),
    ],
)
def test_pictures_are_predicted_by_the_models_own_plan(model, section):
    dataset = Pictures(model)
    plan_by(section, model)
    matrix = ConfusionMatrix(3)
    for sample in dataset.samples:
        image = sample["image"].transpose(1, 2, 0).copy()
        matrix.add(sample["label"], ccnet.predict(model, image, plan=model.config.inference).labels)
    with open_accelerator() as accelerator:
        found = evaluate(model, dataset, accelerator, show=False)
    np.testing.assert_array_equal(found.confusion, matrix.counts)
    assert found.scores.aacc != pytest.approx(1 - 3 / (24 + 32 + 40))


def test_known_pictures_are_left_out_and_counted(model):
    dataset = Pictures(model)
    with open_accelerator() as accelerator:
        whole = evaluate(model, dataset, accelerator, show=False)
        dataset.read.clear()
        again = evaluate(model, dataset, accelerator, known=[whole.pictures[1]], show=False)
    assert dataset.read == [0, 2]
    assert [picture.to_line() for picture in again.pictures] == [picture.to_line() for picture in whole.pictures]


def test_each_picture_is_told_of_with_its_labels(model):
    dataset, told = Pictures(model), []
    with open_accelerator() as accelerator:
        found = evaluate(model, dataset, accelerator, keep=lambda *given: told.append(given), show=False)
    assert [counts.to_line() for _, _, counts in told] == [picture.to_line() for picture in found.pictures]
    for sample, labels, _ in told:
        np.testing.assert_array_equal(labels[1:], sample["label"][1:])
