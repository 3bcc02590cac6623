"""Losses of mmsegmentation's decode head and ours, and their gradients, on the same logits."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.structures.sampler import OHEMPixelSampler
from mmseg_peer import label_map, settings_of

import ccnet_core as ccnet

CLASSES = 19


@pytest.fixture(scope="module")
def head():
    return MODELS.build(settings_of("ccnet_r50-d8_4xb2-40k_cityscapes-512x1024").model.decode_head)


@pytest.fixture
def logits():
    return torch.randn(2, CLASSES, 37, 45, requires_grad=True)


@pytest.fixture
def labels():
    return torch.stack([label_map(37, 45, CLASSES, seed) for seed in (0, 1)])


def assert_same_loss(head, ours, logits, labels):
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    theirs = head.loss_by_feat(logits, samples)["loss_ce"]
    (expected,) = torch.autograd.grad(theirs, logits)
    loss = ours(logits, labels)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss, theirs)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize(("avg_non_ignore", "average"), [(False, "all"), (True, "counted")])
def test_cross_entropy(head, logits, labels, avg_non_ignore, average):
    head.sampler = None
    head.loss_decode = MODELS.build({"type": "CrossEntropyLoss", "avg_non_ignore": avg_non_ignore})
    assert_same_loss(head, ccnet.CrossEntropy(average=average), logits, labels)


def test_all_pixels_ignored(head, logits, labels):
    head.sampler = None
    head.loss_decode = MODELS.build({"type": "CrossEntropyLoss"})
    assert_same_loss(head, ccnet.CrossEntropy(average="all"), logits, torch.full_like(labels, 255))


def test_class_weights(head, logits, labels):
    # mmsegmentation raises IndexError where a pixel is ignored.
    weights = torch.rand(CLASSES).add(0.5).tolist()
    head.sampler = None
    head.loss_decode = MODELS.build({"type": "CrossEntropyLoss", "class_weight": weights})
    assert_same_loss(head, ccnet.CrossEntropy(class_weights=weights), logits, labels % CLASSES)


@pytest.mark.parametrize(
    ("threshold", "min_kept"), [(0.7, 100), (0.7, 20000), (None, 500), (0.02, 40), (0.001, 500), (0.001, 2)]
)
def test_hard_pixels(head, logits, labels, threshold, min_kept):
    head.loss_decode = MODELS.build({"type": "CrossEntropyLoss"})
    head.sampler = OHEMPixelSampler(head, thresh=threshold, min_kept=min_kept)
    ours = ccnet.OhemCrossEntropy(threshold=threshold, min_kept=min_kept, rule="mmseg")
    assert_same_loss(head, ours, logits, labels)
