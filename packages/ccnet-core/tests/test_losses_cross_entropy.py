import numpy as np
import pytest
import torch

import ccnet_core as ccnet


def definition(logits, labels, weights, average):
    """Pixel by pixel, in float64."""
    total, counted = torch.zeros((), dtype=torch.float64), 0.0
    for b, y, x in np.ndindex(*labels.shape):
        label = int(labels[b, y, x])
        if label == 255:
            continue
        weight = 1.0 if weights is None else weights[label]
        total = total - weight * logits[b, :, y, x].log_softmax(0)[label]
        counted += weight
    return total / (counted if average == "counted" else labels.numel())


@pytest.fixture
def batch():
    labels = torch.randint(0, 4, (2, 5, 6))
    labels[0, :2] = 255
    return torch.randn(2, 4, 5, 6, dtype=torch.float64, requires_grad=True), labels


every_average = pytest.mark.parametrize("average", ["counted", "all"])
WEIGHTS = [0.3, 1.0, 2.0, 0.5]


@every_average
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_loss_and_gradient_follow_the_definition(batch, weights, average):
    logits, labels = batch
    loss = ccnet.CrossEntropy(class_weights=weights, average=average)(logits, labels)
    expected = definition(logits, labels, weights, average)
    (gradient,) = torch.autograd.grad(loss, logits)
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    # The class weights are held in float32.
    torch.testing.assert_close(loss, expected, rtol=1e-7, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=1e-9)


@every_average
def test_gradient_is_that_of_finite_differences(batch, average):
    logits, labels = (part[:, ..., :2, :3] for part in batch)
    labels[0, 1] = 0
    assert torch.autograd.gradcheck(ccnet.CrossEntropy(class_weights=WEIGHTS, average=average), (logits, labels))


def test_counted_average_is_torchs(batch):
    logits, labels = batch
    weights = torch.tensor(WEIGHTS)
    expected = torch.nn.functional.cross_entropy(logits.float(), labels, weights, ignore_index=255)
    torch.testing.assert_close(ccnet.CrossEntropy(class_weights=weights)(logits.float(), labels), expected)


@every_average
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_parts_divided_by_the_sum_of_their_divisors_add_up_to_the_whole(batch, weights, average):
    logits, labels = batch
    loss = ccnet.CrossEntropy(class_weights=weights, average=average)
    parts = [slice(b, b + 1) for b in range(2)]
    divisor = sum(loss.divisor(labels[part]) for part in parts)
    whole = sum(loss(logits[part], labels[part], divisor) for part in parts)
    torch.testing.assert_close(whole, definition(logits, labels, weights, average), rtol=1e-6, atol=0)


def test_a_part_keeps_its_type_and_is_zero_where_no_part_counts(batch):
    logits = batch[0].float()
    ignored = torch.full(batch[1].shape, 255)
    part = ccnet.CrossEntropy()(logits, ignored, torch.zeros((), dtype=torch.float64)).detach()
    assert (part.dtype, float(part)) == (torch.float32, 0)


@every_average
def test_where_nothing_is_counted_only_all_pixels_divide(average):
    labels = torch.full((1, 3, 3), 255, dtype=torch.uint8)
    assert ccnet.CrossEntropy(average=average).divisor(labels) == {"counted": 0, "all": 9}[average]


def test_a_divisor_of_labels_out_of_range_is_refused():
    with pytest.raises(ccnet.CCNetError, match="labels from 0 to 3, or 255"):
        ccnet.CrossEntropy(class_weights=WEIGHTS).divisor(torch.full((1, 2, 2), 4))


def test_ignored_pixels_get_no_gradient(batch):
    logits, labels = batch
    ccnet.CrossEntropy()(logits, labels).backward()
    assert ((logits.grad.abs().sum(1) > 0) == (labels != 255)).all()


@every_average
@pytest.mark.parametrize("weights", [None, [1.0, 2.0]])
@pytest.mark.parametrize("size", [1, 0], ids=["all ignored", "empty batch"])
def test_no_counted_pixel_gives_zero_with_zero_gradient(weights, average, size):
    logits = torch.randn(size, 2, 3, 3, requires_grad=True)
    loss = ccnet.CrossEntropy(class_weights=weights, average=average)(logits, torch.full((size, 3, 3), 255))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_summed_in_float32(batch, dtype):
    logits, labels = batch
    half = logits.detach().to(dtype)
    loss = ccnet.CrossEntropy()(half, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, ccnet.CrossEntropy()(half.float(), labels), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_labels_may_be_of_any_integer_type(batch, dtype):
    logits, labels = batch
    assert torch.equal(ccnet.CrossEntropy()(logits, labels.to(dtype)), ccnet.CrossEntropy()(logits, labels))


def test_nan_counts_only_where_the_pixel_does(batch):
    logits, labels = batch
    with torch.no_grad():
        logits[0, 0, 0, 0] = torch.nan  # ignored
    assert ccnet.CrossEntropy()(logits, labels).isfinite()
    with torch.no_grad():
        logits[1, 0, 0, 0] = torch.nan
    assert ccnet.CrossEntropy()(logits, labels).isnan()


def test_compiles_into_one_graph(batch):
    logits, labels = batch
    loss = ccnet.CrossEntropy(class_weights=WEIGHTS)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    (gradient,) = torch.autograd.grad(compiled(logits, labels), logits)
    torch.testing.assert_close(gradient, torch.autograd.grad(loss(logits, labels), logits)[0])


@pytest.mark.parametrize("shape", [(2, 5, 7), (1, 5, 6), (2, 1, 5, 6)])
def test_labels_of_another_size_are_refused(batch, shape):
    with pytest.raises(ccnet.CCNetError, match=r"logits \(2, 4, 5, 6\) and labels \(" + ", ".join(map(str, shape))):
        ccnet.CrossEntropy()(batch[0], torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_labels_that_are_no_integers_are_refused(batch, dtype):
    with pytest.raises(ccnet.CCNetError, match=f"integer type, got {dtype}"):
        ccnet.CrossEntropy()(batch[0], batch[1].to(dtype))


@pytest.mark.parametrize("label", [-1, 4])
@pytest.mark.parametrize("criterion", [ccnet.CrossEntropy(), ccnet.OhemCrossEntropy()])
def test_labels_out_of_range_are_refused(batch, criterion, label):
    logits, labels = batch
    labels[1, 2, 3] = label
    with pytest.raises(ccnet.CCNetError, match="labels from 0 to 3, or 255"):
        criterion(logits, labels)


@pytest.mark.parametrize("weights", [WEIGHTS[:3], [*WEIGHTS, 1.0], [WEIGHTS]])
def test_another_number_of_weights_than_classes_is_refused(batch, weights):
    with pytest.raises(ccnet.CCNetError, match=r"the logits 4 classes\. Give one weight for each class"):
        ccnet.CrossEntropy(class_weights=weights)(*batch)


def test_unknown_average_is_refused():
    with pytest.raises(ccnet.ConfigError, match="'counted' or 'all', got 'mean'"):
        ccnet.CrossEntropy(average="mean")
