import numpy as np
import pytest
import torch

import ccnet_core as ccnet


def definition(logits, labels, weights, average):
    """Pixel by pixel, in float64."""
    total = counted = 0.0
    for index in np.ndindex(*labels.shape):
        label = int(labels[index])
        if label == 255:
            continue
        b, y, x = index
        weight = 1.0 if weights is None else weights[label]
        total -= weight * logits[b, :, y, x].log_softmax(0)[label].item()
        counted += weight
    return total / (counted if average == "counted" else labels.numel())


@pytest.fixture
def batch():
    labels = torch.randint(0, 4, (2, 5, 6))
    labels[0, :2] = 255
    return torch.randn(2, 4, 5, 6, dtype=torch.float64), labels


@pytest.mark.parametrize("average", ["counted", "all"])
@pytest.mark.parametrize("weights", [None, [0.3, 1.0, 2.0, 0.5]])
def test_loss_follows_the_definition(batch, weights, average):
    logits, labels = batch
    loss = ccnet.CrossEntropy(class_weights=weights, average=average)(logits, labels)
    assert loss.item() == pytest.approx(definition(logits, labels, weights, average), rel=1e-5)


def test_counted_average_is_torchs(batch):
    logits, labels = batch
    weights = torch.tensor([0.3, 1.0, 2.0, 0.5])
    expected = torch.nn.functional.cross_entropy(logits.float(), labels, weights, ignore_index=255)
    torch.testing.assert_close(ccnet.CrossEntropy(class_weights=weights)(logits, labels), expected)


def test_ignored_pixels_get_no_gradient(batch):
    logits, labels = batch
    logits.requires_grad_()
    ccnet.CrossEntropy()(logits, labels).backward()
    assert ((logits.grad.abs().sum(1) > 0) == (labels != 255)).all()


@pytest.mark.parametrize("average", ["counted", "all"])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0]])
def test_all_pixels_ignored_gives_zero_with_zero_gradient(weights, average):
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = ccnet.CrossEntropy(class_weights=weights, average=average)(logits, torch.full((1, 3, 3), 255))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_unknown_average_is_refused():
    with pytest.raises(ccnet.ConfigError, match="'counted' or 'all', got 'mean'"):
        ccnet.CrossEntropy(average="mean")
