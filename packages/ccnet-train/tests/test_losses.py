import dataclasses
import math

import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_train import TrainError
from ccnet_train.launch import open_accelerator
from ccnet_train.losses import (
    Objective,
    build_objective,
    check_class_weights,
    class_weights,
    inverse_sqrt_frequency,
)
from ccnet_train.recipe import CategoryConsistentSection, LossSection, OhemSection


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


COUNTED = {
    "counted": LossSection(),
    "all": LossSection(average="all", auxiliary_weight=0.7),
    "weights": LossSection(class_weights=(0.25, 1.0, 2.0)),
    "edges": LossSection(edge_weight=0.8, auxiliary_weight=1.0),
}
PER_PICTURE = {
    "mmseg's hard pixels": LossSection(ohem=OhemSection(min_kept=20), per_picture=True, class_weights=(0.25, 1.0, 2.0)),
    "mmseg's hard pixels of all": LossSection(ohem=OhemSection(min_kept=20), per_picture=True, average="all"),
    "authors' hard pixels": LossSection(ohem=OhemSection(threshold=0.4, min_kept=64, rule="authors"), per_picture=True),
    "consistent": LossSection(category_consistent=CategoryConsistentSection(weight=0.6), per_picture=True),
    "everything": LossSection(
        ohem=OhemSection(threshold=None, min_kept=9),
        category_consistent=CategoryConsistentSection(variance_margin=0.1, distance_margin=0.9),
        class_weights=(0.25, 1.0, 2.0),
        per_picture=True,
    ),
}
SHARES = [(6,), (3, 3), (2, 2, 2), (1, 1, 1, 1, 1, 1), (1, 5)]
NETWORK = ccnet.CCNet.from_config("ccnet_tiny", num_classes=3)


class Step:
    """Six pictures of 19 x 23 with what a network gives for them, float64; one of them has no counted pixel."""

    def __init__(self, labels=None):
        generator = torch.Generator().manual_seed(5)
        drawn = torch.randint(0, 3, (6, 19, 23), generator=generator)
        drawn[torch.rand(drawn.shape, generator=generator) < torch.linspace(0, 0.9, 6)[:, None, None]] = 255
        drawn[2] = 255
        self.labels = drawn if labels is None else labels
        self.logits, self.auxiliary_logits, self.features, self.edge_logits = (
            torch.randn(6, channels, 6, 7, generator=generator, dtype=torch.float64).requires_grad_()
            for channels in (3, 3, 4, 2)
        )

    @property
    def leaves(self):
        names = ("logits", "auxiliary_logits", "features", "edge_logits")
        return {name: getattr(self, name) for name in names}

    def gradients(self, loss):
        found = torch.autograd.grad(loss, list(self.leaves.values()), allow_unused=True)
        return dict(zip(self.leaves, found, strict=True))


def objective(section):
    weights = torch.tensor(section.class_weights) if section.class_weights else None
    return Objective(section, num_classes=3, ignore_index=255, weights=weights)


def shared(section, step, sizes):
    """Return the sum of the losses of micro-batches of `sizes` pictures."""
    criterion, parts = objective(section), step.labels.split(sizes)
    divisors = sum(criterion.divisors(part) for part in parts)
    outputs = zip(*(leaf.split(sizes) for leaf in step.leaves.values()), strict=True)
    return sum(
        criterion(NETWORK, ccnet.CCNetOutput(*output), labels, divisors, len(labels) / 6)
        for output, labels in zip(outputs, parts, strict=True)
    )


def whole(section, step):
    """Return the loss of all six pictures in one piece: cross-entropy written out, the others picture by picture."""
    weights = torch.tensor(section.class_weights or (1, 1, 1), dtype=torch.float64)

    def upsampled(logits):
        return torch.nn.functional.interpolate(logits, (19, 23), mode="bilinear")

    def cross_entropy(logits):
        counted = step.labels != 255
        weight = weights[step.labels.where(counted, 0)] * counted
        chosen = upsampled(logits).log_softmax(1).gather(1, step.labels.where(counted, 0)[:, None])[:, 0]
        return -(chosen * weight).sum() / (weight.sum() if section.average == "counted" else weight.numel())

    def mean_over_pictures(loss, values):
        return sum(loss(values[i : i + 1], step.labels[i : i + 1]) for i in range(6)) / 6

    loss = section.auxiliary_weight * cross_entropy(step.auxiliary_logits)
    if section.ohem is None:
        loss = loss + cross_entropy(step.logits)
    else:
        ohem = section.ohem
        hard = ccnet.OhemCrossEntropy(
            ohem.threshold,
            ohem.min_kept,
            ohem.rule,
            class_weights=section.class_weights,
            average=section.average if ohem.rule == "mmseg" else None,
        )
        loss = loss + mean_over_pictures(hard, upsampled(step.logits))
    if section.edge_weight is not None:
        edges = ccnet.edge_truth(step.labels)
        share = edges.double().mean()  # CE2P weighs each kind by the share of the other one
        weights = torch.stack([share, 1 - share])
        loss = loss + section.edge_weight * torch.nn.functional.cross_entropy(
            upsampled(step.edge_logits), edges, weights
        )
    if section.category_consistent is not None:
        part = section.category_consistent
        margins = {"variance_margin": part.variance_margin, "distance_margin": part.distance_margin}
        loss = loss + part.weight * mean_over_pictures(ccnet.CategoryConsistentLoss(**margins), step.features)
    return loss


@pytest.mark.parametrize("sizes", SHARES, ids=str)
@pytest.mark.parametrize("name", [*COUNTED, *PER_PICTURE])
def test_the_parts_of_a_step_add_up_to_the_loss_of_the_whole(name, sizes):
    section, step = (COUNTED | PER_PICTURE)[name], Step()
    found, expected = shared(section, step, sizes), whole(section, step)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    expected_gradients = step.gradients(expected)
    for leaf, gradient in step.gradients(found).items():
        torch.testing.assert_close(
            gradient, expected_gradients[leaf], rtol=1e-9, atol=1e-14, msg=lambda m, n=leaf: f"{n}: {m}"
        )


@pytest.mark.parametrize("name", ["mmseg's hard pixels", "consistent"])
def test_unless_per_picture_a_micro_batch_is_looked_at_whole(name):
    section, step = dataclasses.replace(PER_PICTURE[name], per_picture=False), Step()
    one, three = shared(section, step, (6,)), shared(section, step, (1, 2, 3))
    halves = [shared(section, Step(step.labels), (6,)) for _ in range(2)]
    assert one == halves[0] == halves[1]
    assert not torch.isclose(one, three, rtol=1e-3)
    torch.testing.assert_close(shared(section, step, (1,) * 6), whole(section, step), rtol=1e-9, atol=0)


def test_a_step_in_one_piece_has_the_bits_of_the_plain_loss():
    step, criterion = Step(), ccnet.CrossEntropy()
    plain = [
        criterion(NETWORK.resize_logits(leaf.float(), (19, 23)), step.labels)
        for leaf in (step.logits, step.auxiliary_logits)
    ]
    section = objective(LossSection())
    output = ccnet.CCNetOutput(step.logits.float(), step.auxiliary_logits.float())
    found = section(NETWORK, output, step.labels, section.divisors(step.labels), 1.0)
    assert torch.equal(found, plain[0] + 0.4 * plain[1])


@pytest.mark.parametrize("name", [*(name for name in COUNTED if name != "edges"), *PER_PICTURE])
def test_a_step_without_a_counted_pixel_has_no_loss_and_no_gradient(name):
    step = Step(torch.full((6, 19, 23), 255))
    loss = shared((COUNTED | PER_PICTURE)[name], step, (3, 3))
    assert loss == 0
    assert all(gradient is None or not gradient.any() for gradient in step.gradients(loss).values())


def test_edges_weigh_half_of_their_loss_and_other_pixels_the_other_half():
    step = Step(torch.full((6, 19, 23), 255))
    loss = shared(COUNTED["edges"], step, (3, 3))
    upsampled = torch.nn.functional.interpolate(step.edge_logits, (19, 23), mode="bilinear")
    expected = 0.8 * -upsampled.log_softmax(1)[:, 0].mean() / 2  # no edge anywhere
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0)


def test_a_network_without_an_auxiliary_head_has_the_main_loss_alone():
    step, section = Step(), objective(LossSection())
    output, divisors = ccnet.CCNetOutput(step.logits, None), section.divisors(step.labels)
    alone = objective(LossSection(auxiliary_weight=0))
    both = alone(NETWORK, ccnet.CCNetOutput(step.logits, step.auxiliary_logits), step.labels, divisors, 1.0)
    assert section(NETWORK, output, step.labels, divisors, 1.0) == both


def test_divisors_are_sums_in_float64():
    labels = Step().labels
    assert objective(LossSection(average="all")).divisors(labels).tolist() == [6 * 19 * 23]
    divisors = objective(LossSection()).divisors(labels)
    assert divisors.tolist() == [int((labels != 255).sum())]
    assert divisors.dtype == torch.float64
    edges = int(ccnet.edge_truth(labels).sum())
    divisors = objective(LossSection(edge_weight=1)).divisors(labels)
    assert divisors.tolist() == [int((labels != 255).sum()), labels.numel() - edges, edges]


def test_the_objective_of_a_dataset_has_its_classes_and_weights():
    section = LossSection(class_weights="inverse_sqrt_frequency", category_consistent=CategoryConsistentSection())
    dataset = Labels([0, 0, 0, 1, 255], [0, 0, 0, 2, 2])
    with open_accelerator() as accelerator:
        built = build_objective(section, dataset, accelerator)
        expected = class_weights(section, dataset, accelerator)
    assert torch.equal(built.pixels.class_weights, expected)
    assert built.consistency.num_classes == 3
