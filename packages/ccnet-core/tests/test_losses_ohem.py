"""Each rule against loops over pixels, written from the definitions; `kept` is a set of (b, y, x)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import ccnet_core as ccnet


def counted_pixels(labels):
    return [index for index in np.ndindex(*labels.shape) if labels[index] != 255]


def losses_of(logits, labels, weights=None):
    """The loss of each counted pixel, float64."""
    found = {}
    for b, y, x in counted_pixels(labels):
        label = int(labels[b, y, x])
        weight = 1.0 if weights is None else weights[label]
        found[b, y, x] = -weight * logits[b, :, y, x].log_softmax(0)[label]
    return found


def kept_by_mmseg(losses, batch, threshold, min_kept):
    if threshold is None:
        return set(sorted(losses, key=lambda pixel: -losses[pixel].item())[: batch * min_kept])
    probability = {pixel: (-loss).exp().item() for pixel, loss in losses.items()}
    ascending = sorted(probability.values())
    limit = max(threshold, ascending[min(batch * min_kept, len(ascending) - 1)])
    return {pixel for pixel in probability if probability[pixel] < limit}


def kept_by_authors(logits, labels, threshold, min_kept):
    probabilities = logits.softmax(1).detach().numpy()
    found = reduced_probabilities(probabilities, labels.numpy())
    kept = min_kept // 64
    if kept >= len(found):
        limit = np.inf
    elif kept == 0:
        limit = threshold
    else:
        limit = max(threshold, sorted(found)[kept - 1])
    return {(b, y, x) for b, y, x in counted_pixels(labels) if probabilities[b, labels[b, y, x], y, x] <= limit}


def reduced_probabilities(probabilities, labels):
    """The probability of the label at each counted point, both reduced by scipy.ndimage.zoom(…, 1 / 8)."""
    batch, _, height, width = probabilities.shape
    found = []
    for b in range(batch):
        for y in scipy_positions(height):
            for x in scipy_positions(width):
                outside = y > height - 1 or x > width - 1
                label = 0 if outside else labels[b, int(y + 0.5), int(x + 0.5)]
                if label != 255:
                    found.append(0.0 if outside else bilinear(probabilities[b, label], y, x))
    return found


def scipy_positions(size):
    length = round(size * 0.125)
    return [i * ((size - 1) / (length - 1)) if length > 1 else 0.0 for i in range(length)]


def bilinear(plane, y, x):
    value = 0.0
    for i in (int(y), int(y) + 1):
        for j in (int(x), int(x) + 1):
            if i < plane.shape[0] and j < plane.shape[1]:
                value += (1 - abs(y - i)) * (1 - abs(x - j)) * plane[i, j]
    return value


def some_batch(batch=2, classes=4, height=10, width=13):
    """Smooth logits and labels that mostly agree with them, a fifth of the pixels ignored."""
    coarse = torch.randn(batch, classes, height // 3 + 1, width // 3 + 1, dtype=torch.float64) * 3
    logits = F.interpolate(coarse, (height, width), mode="bilinear")
    drawn = torch.randint(0, classes, (batch, height, width))
    labels = torch.where(torch.rand(drawn.shape) < 0.7, logits.argmax(1), drawn)
    labels[torch.rand(drawn.shape) < 0.2] = 255
    return logits.requires_grad_(), labels


def assert_same(actual, expected, logits):
    (gradient,) = torch.autograd.grad(actual, logits)
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    # The class weights are held in float32.
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=1e-9)


every_rule = pytest.mark.parametrize("settings", [(0.7, 20, "mmseg"), (None, 20, "mmseg"), (0.7, 64, "authors")])
WEIGHTS = [0.3, 1.0, 2.0, 0.5]
MANY = 10**6


@pytest.mark.parametrize("threshold", [None, 0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("min_kept", [1, 30, 90, MANY])
@pytest.mark.parametrize("average", ["all", "counted"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_mmseg_rule_follows_the_definition(threshold, min_kept, average, weights):
    logits, labels = some_batch()
    kept = kept_by_mmseg(
        losses_of(logits, labels, None if threshold is not None else weights), len(labels), threshold, min_kept
    )
    weighted = losses_of(logits, labels, weights)
    total = sum((weighted[pixel] for pixel in kept), start=logits.sum() * 0)
    counted = sum(1 if weights is None else weights[labels[pixel]] for pixel in weighted)
    criterion = ccnet.OhemCrossEntropy(threshold, min_kept, "mmseg", average=average, class_weights=weights)
    assert_same(criterion(logits, labels), total / (labels.numel() if average == "all" else counted), logits)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("min_kept", [0, 64, 640, MANY])
@pytest.mark.parametrize(("height", "width"), [(33, 45), (20, 28), (3, 40), (7, 109)])
def test_authors_rule_follows_the_definition(threshold, min_kept, height, width):
    logits, labels = some_batch(height=height, width=width)
    labels[..., -1] = 255  # of 109 columns the last point is outside: class 0, not ignored
    losses = losses_of(logits, labels)
    kept = kept_by_authors(logits, labels, threshold, min_kept)
    expected = sum((losses[pixel] for pixel in kept), start=logits.sum() * 0) / max(len(kept), 1)
    assert_same(ccnet.OhemCrossEntropy(threshold, min_kept, "authors")(logits, labels), expected, logits)


def test_authors_rule_divides_by_the_class_weights_of_the_hard_pixels():
    logits, labels = some_batch(height=33, width=45)
    kept = kept_by_authors(logits, labels, 0.5, 640)
    losses = losses_of(logits, labels, WEIGHTS)
    expected = sum(losses[pixel] for pixel in kept) / sum(WEIGHTS[labels[pixel]] for pixel in kept)
    criterion = ccnet.OhemCrossEntropy(0.5, 640, "authors", class_weights=WEIGHTS)
    assert_same(criterion(logits, labels), expected, logits)


def test_mmseg_rule_divides_by_all_pixels_unless_told_otherwise():
    logits, labels = some_batch()
    by_default = ccnet.OhemCrossEntropy()(logits, labels)
    assert torch.equal(by_default, ccnet.OhemCrossEntropy(average="all")(logits, labels))
    assert not torch.equal(by_default, ccnet.OhemCrossEntropy(average="counted")(logits, labels))


@every_rule
def test_gradient_is_that_of_finite_differences(settings):
    logits, labels = some_batch(batch=1, classes=3, height=9, width=12)
    assert torch.autograd.gradcheck(ccnet.OhemCrossEntropy(*settings), (logits, labels))


@every_rule
@pytest.mark.parametrize("size", [2, 0], ids=["all ignored", "empty batch"])
def test_no_counted_pixel_gives_zero_with_zero_gradient(settings, size):
    logits = torch.randn(size, 2, 17, 16, requires_grad=True)
    loss = ccnet.OhemCrossEntropy(*settings)(logits, torch.full((size, 17, 16), 255))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


@every_rule
def test_single_class_has_no_hard_pixel_and_gives_zero(settings):
    logits = torch.randn(1, 1, 17, 16, requires_grad=True)
    loss = ccnet.OhemCrossEntropy(*settings)(logits, torch.zeros(1, 17, 16, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_equal_losses_are_kept_in_order_of_their_place():
    logits = torch.zeros(1, 2, 4, 5, requires_grad=True)
    ccnet.OhemCrossEntropy(None, 7)(logits, torch.zeros(1, 4, 5, dtype=torch.int64)).backward()
    assert (logits.grad[0, 0].flatten() != 0).nonzero().flatten().tolist() == list(range(7))


@every_rule
def test_nan_counts_only_where_the_pixel_does(settings):
    logits, labels = some_batch(height=16, width=17)
    labels[0, 4, 5] = 255
    with torch.no_grad():
        logits[0, 0, 4, 5] = torch.nan
    assert ccnet.OhemCrossEntropy(*settings)(logits, labels).isfinite()
    labels[0, 4, 5] = 1
    assert ccnet.OhemCrossEntropy(*settings)(logits, labels).isnan()


@every_rule
def test_an_impossible_class_makes_the_loss_infinite(settings):
    logits, labels = some_batch(height=16, width=17)
    labels[0, 4, 5] = 1
    with torch.no_grad():
        logits[0, 1, 4, 5] = -torch.inf
    assert ccnet.OhemCrossEntropy(*settings)(logits, labels) == torch.inf


@every_rule
def test_half_precision_logits_are_judged_in_float32(settings):
    logits, labels = some_batch(height=16, width=17)
    half = logits.detach().half()
    criterion = ccnet.OhemCrossEntropy(*settings)
    with torch.autocast("cpu", torch.bfloat16):
        loss = criterion(half, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, criterion(half.float(), labels))


@every_rule
def test_ignore_index_may_be_class_0(settings):
    logits, labels = some_batch(height=16, width=17)
    shifted = torch.where(labels == 255, 0, labels + 1)
    wider = torch.cat([torch.full_like(logits[:, :1], -torch.inf), logits], 1)
    loss = ccnet.OhemCrossEntropy(*settings, ignore_index=0)(wider, shifted)
    torch.testing.assert_close(loss, ccnet.OhemCrossEntropy(*settings)(logits, labels))


@every_rule
def test_compiles_into_one_graph(settings):
    logits, labels = some_batch(height=16, width=17)
    criterion = ccnet.OhemCrossEntropy(*settings)
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    (gradient,) = torch.autograd.grad(compiled(logits, labels), logits)
    torch.testing.assert_close(gradient, torch.autograd.grad(criterion(logits, labels), logits)[0])


@every_rule
def test_labels_of_another_size_are_refused(settings):
    logits, labels = some_batch()
    with pytest.raises(ccnet.CCNetError, match=r"logits \(2, 4, 10, 13\) and labels \(2, 10, 12\)"):
        ccnet.OhemCrossEntropy(*settings)(logits, labels[..., 1:])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rule": "hrnet"}, "rule must be 'mmseg' or 'authors', got 'hrnet'"),
        ({"threshold": 1.5}, "threshold must be from 0 to 1, got 1.5"),
        ({"threshold": float("nan")}, "threshold must be from 0 to 1, got nan"),
        ({"threshold": None, "rule": "authors"}, "'authors' needs a number from 0 to 1"),
        ({"min_kept": -1}, "min_kept must be a whole number from 0, got -1"),
        ({"min_kept": 0.5}, "min_kept must be a whole number from 0, got 0.5"),
        ({"average": "mean"}, "average must be 'counted' or 'all', got 'mean'"),
        ({"average": "all", "rule": "authors"}, "leave out average, got 'all'"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ccnet.ConfigError, match=message):
        ccnet.OhemCrossEntropy(**wrong)


def test_a_divisor_for_a_part_of_a_batch_is_refused():
    with pytest.raises(ccnet.ConfigError, match="leave out divisor"):
        ccnet.OhemCrossEntropy()(torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64), torch.ones(()))
