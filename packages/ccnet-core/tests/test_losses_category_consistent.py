import numpy as np
import pytest
import torch

import ccnet_core as ccnet


def definition(features, labels, variance_margin=0.5, distance_margin=1.5, weights=(1, 1, 0.001)):
    """The paper's three terms, class by class and pixel by pixel; `labels` are of the features' size."""
    classes = sorted(set(labels.flatten().tolist()) - {255})
    if not classes:
        return features.sum() * 0
    members = {
        name: [features[b, :, y, x] for b, y, x in np.ndindex(*labels.shape) if labels[b, y, x] == name]
        for name in classes
    }
    means = {name: sum(vectors) / len(vectors) for name, vectors in members.items()}
    variance = distance = regulariser = 0
    for name in classes:
        pulls = [pull(length(means[name] - vector), variance_margin, distance_margin) for vector in members[name]]
        variance = variance + sum(pulls) / len(pulls) / len(classes)
        regulariser = regulariser + length(means[name]) / len(classes)
        for other in classes:
            if other != name:
                shortfall = (2 * distance_margin - length(means[name] - means[other])).clamp(min=0)
                distance = distance + shortfall**2 / (len(classes) * (len(classes) - 1))
    return weights[0] * variance + weights[1] * distance + weights[2] * regulariser


def pull(distance, near, far):
    if distance <= near:
        return distance * 0
    if distance <= far:
        return (distance - near) ** 2
    return distance - far + (far - near) ** 2


def length(vector):
    """The gradient at 0 is 0."""
    square = (vector**2).sum()
    return square.sqrt() if square > 0 else square


def assert_same(actual, expected, features):
    (gradient,) = torch.autograd.grad(actual, features)
    (expected_gradient,) = torch.autograd.grad(expected, features)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.fixture
def batch():
    """Distances on both sides of both margins, and classes 2, 5 and 255 left out of some pictures or of both."""
    labels = torch.tensor([0, 1, 3, 4, 255, 254])[torch.randint(0, 6, (2, 4, 5))]
    labels[0][labels[0] == 3] = 0
    labels[1, 0, 0] = 7
    features = torch.randn(2, 6, 4, 5, dtype=torch.float64) * 0.4
    features[0, 0, 0] += 3
    return features.requires_grad_(), labels


@pytest.mark.parametrize("margins", [(0.5, 1.5), (0.2, 0.9), (0, 0), (1, 1)])
@pytest.mark.parametrize("weights", [(1, 1, 0.001), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_loss_and_gradient_follow_the_definition(batch, margins, weights):
    features, labels = batch
    criterion = ccnet.CategoryConsistentLoss(
        variance_margin=margins[0],
        distance_margin=margins[1],
        variance_weight=weights[0],
        distance_weight=weights[1],
        regulariser_weight=weights[2],
    )
    assert_same(criterion(features, labels), definition(features, labels, *margins, weights), features)


def test_settings_of_the_paper_are_the_defaults(batch):
    assert_same(ccnet.CategoryConsistentLoss()(*batch), definition(*batch), batch[0])


def test_gradient_is_that_of_finite_differences(batch):
    features, labels = (part[:, ..., :2, :3] for part in batch)
    labels[labels == 254] = 2
    assert torch.autograd.gradcheck(ccnet.CategoryConsistentLoss(num_classes=8), (features[:, :3], labels))


def test_the_mean_of_a_class_is_that_of_the_whole_batch():
    features = torch.zeros(2, 1, 1, 1)
    features[1] = 2
    labels = torch.zeros(2, 1, 1, dtype=torch.int64)
    # The mean is 1, both pixels are 1 away: (1 - 0.5)^2. Picture by picture it would be 0.
    loss = ccnet.CategoryConsistentLoss(regulariser_weight=0)(features, labels)
    assert loss.item() == 0.25


@pytest.mark.parametrize("labels", [[[0, 0], [0, 0]], [[3, 3], [3, 255]], [[0, 1], [2, 3]], [[0, 1], [255, 255]]])
def test_one_class_and_classes_of_one_pixel(labels):
    features = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([labels])
    assert_same(ccnet.CategoryConsistentLoss()(features, labels), definition(features, labels), features)


def test_distance_zero_has_a_finite_gradient():
    features = torch.ones(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)  # all means and pixels coincide
    labels = torch.tensor([[[0, 0], [1, 2]]])
    assert_same(ccnet.CategoryConsistentLoss()(features, labels), definition(features, labels), features)
    zero = torch.zeros_like(features, requires_grad=True)
    assert_same(ccnet.CategoryConsistentLoss(variance_margin=0)(zero, labels), definition(zero, labels, 0), zero)


def test_distance_of_close_means_far_from_zero_is_exact_in_float32():
    features = torch.tensor([[[[100.0, 100.1]], [[100.0, 100.0]]]])
    loss = ccnet.CategoryConsistentLoss(regulariser_weight=0)(features, torch.tensor([[[0, 1]]]))
    torch.testing.assert_close(loss, torch.tensor(2.9**2), rtol=1e-5, atol=0)


@pytest.mark.parametrize("size", [1, 0], ids=["all ignored", "empty batch"])
def test_no_counted_pixel_gives_zero_with_zero_gradient(size):
    features = torch.randn(size, 3, 2, 2, requires_grad=True)
    loss = ccnet.CategoryConsistentLoss()(features, torch.full((size, 2, 2), 255))
    loss.backward()
    assert loss.item() == 0
    assert (features.grad == 0).all()


@pytest.mark.parametrize("labels", [(1, 0, 4), (1, 2, 4)])
def test_empty_map_gives_zero(labels):
    features = torch.randn(1, 3, 0, 4, requires_grad=True)
    loss = ccnet.CategoryConsistentLoss()(features, torch.zeros(labels, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize(("height", "width"), [(32, 40), (29, 33), (4, 5), (7, 11)])
def test_larger_labels_are_reduced_to_the_nearest(batch, height, width):
    features, _ = batch
    labels = torch.randint(0, 3, (2, height, width))
    reduced = torch.empty(2, 4, 5, dtype=torch.int64)
    for b, y, x in np.ndindex(2, 4, 5):
        reduced[b, y, x] = labels[b, y * height // 4, x * width // 5]
    assert_same(ccnet.CategoryConsistentLoss()(features, labels), definition(features, reduced), features)


def test_nan_counts_only_where_the_pixel_does(batch):
    features, labels = batch
    labels[0, 1, 2] = 255
    with torch.no_grad():
        features[0, 0, 1, 2] = torch.nan
    loss = ccnet.CategoryConsistentLoss()(features, labels)
    loss.backward()
    assert loss.isfinite()
    assert features.grad.isfinite().all()
    labels[0, 1, 2] = 1
    assert ccnet.CategoryConsistentLoss()(features, labels).isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_summed_in_float32(batch, dtype):
    features, labels = batch
    half = features.detach().to(dtype)
    criterion = ccnet.CategoryConsistentLoss()
    with torch.autocast("cpu", torch.bfloat16):
        loss = criterion(half, labels.to(torch.uint8))
    assert loss.dtype == torch.float32
    assert torch.equal(loss, criterion(half.float(), labels))


def test_compiles_into_one_graph(batch):
    features, labels = batch
    criterion = ccnet.CategoryConsistentLoss()
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    (gradient,) = torch.autograd.grad(compiled(features, labels), features)
    torch.testing.assert_close(gradient, torch.autograd.grad(criterion(features, labels), features)[0])


def test_memory_grows_with_pixels_times_channels():
    """No tensor of pixels times classes: none is larger than the features, or than the pairs of classes."""
    features = torch.randn(1, 16, 40, 40, requires_grad=True)
    largest = 0

    def record(tensor):
        nonlocal largest
        largest = max(largest, tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        ccnet.CategoryConsistentLoss(num_classes=150)(features, torch.randint(0, 150, (1, 40, 40))).backward()
    assert largest == features.numel()


@pytest.mark.parametrize("shape", [(1, 4, 5), (2, 3, 5), (2, 4, 4), (2, 1, 4, 5)])
def test_labels_that_do_not_fit_are_refused(batch, shape):
    with pytest.raises(ccnet.CCNetError, match=r"features \(2, 6, 4, 5\) and labels \(" + ", ".join(map(str, shape))):
        ccnet.CategoryConsistentLoss()(batch[0], torch.zeros(shape, dtype=torch.int64))


def test_labels_that_are_no_integers_are_refused(batch):
    with pytest.raises(ccnet.CCNetError, match=r"integer type, got torch\.float32"):
        ccnet.CategoryConsistentLoss()(batch[0], batch[1].float())


@pytest.mark.parametrize("label", [-1, 7])
def test_labels_out_of_range_are_refused(batch, label):
    features, labels = batch
    with pytest.raises(ccnet.CCNetError, match="labels from 0 to 6, or 255"):
        ccnet.CategoryConsistentLoss(num_classes=7)(features, torch.full_like(labels, label))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"variance_margin": -0.5}, "got -0.5 and 1.5"),
        ({"distance_margin": 0.4}, "got 0.5 and 0.4"),
        ({"distance_margin": float("inf")}, "got 0.5 and inf"),
        ({"distance_weight": -1}, r"numbers from 0, got \(1.0, -1, 0.001\)"),
        ({"regulariser_weight": float("nan")}, r"numbers from 0, got \(1.0, 1.0, nan\)"),
        ({"num_classes": 0}, "num_classes must be whole numbers from 1"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ccnet.ConfigError, match=message):
        ccnet.CategoryConsistentLoss(**wrong)
