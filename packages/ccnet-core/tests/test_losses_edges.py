import numpy as np
import pytest
import torch

import ccnet_core as ccnet

PAIRS = [  # (row, column) of the marked pixel's neighbour: above it, right of it, and below it to both sides
    (-1, 0),
    (0, 1),
    (1, 1),
    (1, -1),
]


def definition(labels, ignore_index=255):
    """Pixel by pixel, neighbour by neighbour."""
    height, width = len(labels), len(labels[0])
    edges = np.zeros((height, width), int)
    for y, x in np.ndindex(height, width):
        for down, right in PAIRS:
            v, u = y + down, x + right
            inside = 0 <= v < height and 0 <= u < width
            if inside and labels[y][x] != labels[v][u] and ignore_index not in (labels[y][x], labels[v][u]):
                edges[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = 1
    return edges


def loss_definition(logits, edges):
    """CE2P's: torch's cross-entropy, weighted by the share of the other kind; both kinds are there."""
    share = (edges == 1).double().mean()
    return torch.nn.functional.cross_entropy(logits, edges, torch.stack([share, 1 - share]))


@pytest.fixture
def batch():
    labels = torch.randint(0, 4, (3, 4, 5)).repeat_interleave(4, 1).repeat_interleave(4, 2)
    labels[0, 3:6, 5:9] = 255
    return torch.randn(3, 2, 16, 20, dtype=torch.float64, requires_grad=True), labels


@pytest.mark.parametrize("share_ignored", [0, 0.2, 0.9, 1])
@pytest.mark.parametrize("size", [(13, 17), (1, 6), (6, 1), (1, 1), (2, 2)])
def test_edges_follow_the_definition(size, share_ignored):
    labels = torch.randint(0, 3, (4, *size))
    labels[torch.rand(labels.shape) < share_ignored] = 255
    expected = [definition(label.tolist()) for label in labels]
    assert ccnet.edge_truth(labels).tolist() == np.stack(expected).tolist()
    assert ccnet.edge_truth(labels.to(torch.uint8)).tolist() == np.stack(expected).tolist()


@pytest.mark.parametrize(
    ("rows", "marked"),
    [
        ([[0, 0, 0, 0, 0, 1, 1, 1, 1]], [3, 4, 5]),  # the left pixel of the two, widened by one
        ([[0, 0, 0, 0, 255, 1, 1, 1, 1]], []),
        ([[2, 2, 2, 2, 2, 2, 2, 2, 2]], []),
    ],
)
def test_a_row_is_marked_around_the_left_of_two_classes_and_not_beside_ignored_pixels(rows, marked):
    assert np.nonzero(ccnet.edge_truth(torch.tensor([rows]))[0, 0].numpy())[0].tolist() == marked


def test_an_ignored_pixel_is_an_edge_only_where_one_was_widened_to_it():
    labels = torch.tensor([[[255, 0, 1, 1, 1, 255]]])
    assert ccnet.edge_truth(labels).tolist() == [[[1, 1, 1, 0, 0, 0]]]


def test_another_value_may_be_ignored():
    labels = torch.tensor([[[0, 9, 1, 255]]])
    assert ccnet.edge_truth(labels, ignore_index=9).tolist() == [[[0, 1, 1, 1]]]


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 0, 5), (2, 4, 0)])
def test_an_empty_batch_has_no_edges_and_no_loss(shape):
    edges = ccnet.edge_truth(torch.zeros(shape, dtype=torch.uint8))
    assert (edges.shape, edges.dtype) == (shape, torch.int64)
    assert ccnet.EdgeCrossEntropy()(torch.zeros(shape[0], 2, *shape[1:]), edges) == 0


@pytest.mark.parametrize("labels", [torch.zeros(1, 3, 3), torch.zeros(3, 3, dtype=torch.int64)])
def test_other_labels_are_refused(labels):
    with pytest.raises(ccnet.CCNetError, match=r"integer type|labels \(B, H, W\), got \(3, 3\)"):
        ccnet.edge_truth(labels)


def test_loss_and_gradient_are_those_of_weights_by_the_share_of_the_other_kind(batch):
    logits, edges = batch[0], ccnet.edge_truth(batch[1])
    loss, expected = ccnet.EdgeCrossEntropy()(logits, edges), loss_definition(logits, edges)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    (gradient,), (expected_gradient,) = (torch.autograd.grad(value, logits) for value in (loss, expected))
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-15)
    means = [
        torch.nn.functional.cross_entropy(logits, edges, reduction="none")[edges == kind].mean() for kind in (0, 1)
    ]
    torch.testing.assert_close(loss, (means[0] + means[1]) / 2, rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", [0, 1])
def test_a_kind_without_a_pixel_adds_nothing(batch, kind):
    logits, edges = batch[0], torch.full(batch[1].shape, kind)
    expected = torch.nn.functional.cross_entropy(logits, edges) / 2
    torch.testing.assert_close(ccnet.EdgeCrossEntropy()(logits, edges), expected, rtol=1e-12, atol=0)
    assert loss_definition(logits, edges).isnan()


def test_where_every_edge_is_ignored_loss_and_gradient_are_0(batch):
    logits, edges = batch[0], torch.full(batch[1].shape, 255)
    loss = ccnet.EdgeCrossEntropy()(logits, edges)
    assert loss == 0
    assert not torch.autograd.grad(loss, logits)[0].any()


def test_parts_divided_by_the_sum_of_their_divisors_add_up_to_the_whole(batch):
    logits, edges = batch[0], ccnet.edge_truth(batch[1])
    edges[1] = 0
    criterion = ccnet.EdgeCrossEntropy()
    divisor = sum(criterion.divisor(edges[i : i + 1]) for i in range(3)).double()
    assert divisor.tolist() == [int((edges == 0).sum()), int((edges == 1).sum())]
    parts = sum(criterion(logits[i : i + 1], edges[i : i + 1], divisor) for i in range(3))
    torch.testing.assert_close(parts, loss_definition(logits, edges), rtol=1e-12, atol=0)


def test_half_precision_is_computed_in_float32(batch):
    logits, edges = batch[0].detach().bfloat16(), ccnet.edge_truth(batch[1])
    loss = ccnet.EdgeCrossEntropy()(logits, edges)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), loss_definition(logits.double(), edges), rtol=1e-6, atol=0)


def test_nan_logits_make_the_loss_nan(batch):
    logits, edges = batch[0].detach(), ccnet.edge_truth(batch[1])
    logits[0, 0, 0, 0] = float("nan")
    assert ccnet.EdgeCrossEntropy()(logits, edges).isnan()


@pytest.mark.parametrize(
    ("logits", "edges", "message"),
    [
        (torch.zeros(1, 2, 3, 3), torch.full((1, 3, 3), 2), "labels from 0 to 1"),
        (torch.zeros(1, 2, 3, 3), torch.zeros(1, 6, 6, dtype=torch.int64), "Resize the logits"),
        (torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 3), "integer type"),
    ],
)
def test_edges_that_do_not_fit_are_refused(logits, edges, message):
    with pytest.raises(ccnet.CCNetError, match=message):
        ccnet.EdgeCrossEntropy()(logits, edges)


def test_nothing_waits_for_the_device(batch):
    """On the meta device there are no numbers, so whatever reads one fails."""
    logits, labels = batch[0].detach().to("meta"), batch[1].to("meta")
    assert ccnet.EdgeCrossEntropy()(logits, ccnet.edge_truth(labels)).is_meta
