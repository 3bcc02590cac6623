import math

import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_train import TrainError
from ccnet_train.launch import open_accelerator
from ccnet_train.losses import check_class_weights, class_weights, inverse_sqrt_frequency, training_loss
from ccnet_train.recipe import LossSection


class Labels:
    """A dataset of given labels."""

    classes = ("a", "b", "c")
    ignore_index = 255

    def __init__(self, *labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"label": np.array([self.labels[index]], np.uint8), "id": f"picture {index}"}


def weights(section, *labels):
    with open_accelerator() as accelerator:
        return class_weights(section, Labels(*labels), accelerator)


def test_rare_classes_weigh_by_the_root_of_their_frequency():
    found = weights(LossSection(class_weights="inverse_sqrt_frequency"), [0, 0, 0, 1, 255], [0, 0, 0, 2, 2])
    # 6, 1 and 2 of 9 pixels
    assert found[1] / found[0] == pytest.approx(math.sqrt(6))
    assert found[2] / found[0] == pytest.approx(math.sqrt(3))
    assert (found * torch.tensor([6, 1, 2])).sum() / 9 == pytest.approx(1)


def test_a_class_without_pixels_has_no_weight():
    assert inverse_sqrt_frequency(torch.tensor([4, 0, 4])).tolist() == pytest.approx([1, 0, 1])


def test_given_weights_are_used_as_they_are():
    assert weights(LossSection(class_weights=(0.5, 1, 2))).tolist() == [0.5, 1, 2]
    assert weights(LossSection()) is None


def test_a_wrong_number_of_weights_names_the_classes():
    with pytest.raises(TrainError, match="has 2 numbers, the dataset 3 classes: a, b, c"):
        weights(LossSection(class_weights=(1, 2)))


def test_a_wrong_number_of_weights_is_found_without_counting():
    check_class_weights(LossSection(class_weights="inverse_sqrt_frequency"), Labels())
    with pytest.raises(TrainError, match="has 2 numbers"):
        check_class_weights(LossSection(class_weights=(1, 2)), Labels())


def test_a_label_out_of_range_is_named_with_its_picture():
    with pytest.raises(TrainError, match="picture 1: class 3 is out of range, expected 0 to 2"):
        weights(LossSection(class_weights="inverse_sqrt_frequency"), [0], [3])


def test_the_loss_adds_the_weighted_auxiliary_loss_at_label_size():
    network = ccnet.CCNet.from_config("ccnet_tiny", num_classes=3)
    generator = torch.Generator().manual_seed(0)
    main, auxiliary = torch.randn(2, 2, 3, 4, 4, generator=generator)
    labels = torch.randint(0, 3, (2, 9, 7), generator=generator)
    criterion = ccnet.CrossEntropy()

    def slow(logits):
        upsampled = torch.nn.functional.interpolate(logits.double(), (9, 7), mode="bilinear")
        chosen = upsampled.log_softmax(1).gather(1, labels[:, None])
        return -chosen.mean().item()

    def loss(output):
        return training_loss(network, output, labels, criterion, 0.3).item()

    assert loss(ccnet.CCNetOutput(main, auxiliary)) == pytest.approx(slow(main) + 0.3 * slow(auxiliary), rel=1e-5)
    assert loss(ccnet.CCNetOutput(main, None)) == pytest.approx(slow(main), rel=1e-5)
