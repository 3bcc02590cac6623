import pytest
import torch

from ccnet_core.config import AuxiliaryHeadConfig, HeadConfig
from ccnet_core.heads import AuxiliaryHead, CrissCrossHead


def test_dropout_drops_whole_channels_before_the_classifier():
    head = AuxiliaryHead(4, 2, AuxiliaryHeadConfig(channels=64, dropout=0.5))
    dropped = head.classify.dropout(torch.ones(1, 64, 3, 3))[0]
    sums = dropped.sum((1, 2))
    assert set(sums.tolist()) == {0.0, 18.0}
    assert 10 < (sums == 0).sum() < 54


def test_classifier_starts_small_and_without_bias():
    head = CrissCrossHead(8, 5, HeadConfig(channels=512))
    assert head.classify.conv.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert (head.classify.conv.bias == 0).all()


def test_head_follows_the_figure():
    head = CrissCrossHead(8, 5, HeadConfig(channels=16, gamma=0.5)).eval()
    x = torch.randn(1, 8, 6, 7)
    reduced = head.reduce(x)
    attended = head.attention.cca(head.attention.cca(reduced))
    expected = head.classify.conv(head.fuse(torch.cat([x, head.refine(attended)], 1)))
    torch.testing.assert_close(head(x), expected)


def test_kernel_size_one_sees_no_neighbour():
    head = CrissCrossHead(8, 5, HeadConfig(channels=16, kernel_size=1, recurrence=0)).eval()
    x = torch.randn(1, 8, 5, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(head(x)[0, :, 2, 2].sum(), x)
    seen = gradient[0].abs().sum(0) > 0
    assert seen[2, 2]
    assert seen.sum() == 1
