import pytest
import torch

from ccnet_core.config import AuxiliaryHeadConfig, HeadConfig
from ccnet_core.heads import AuxiliaryHead, ConvNormRelu, CrissCrossHead


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


def test_convolutions_start_as_kaiming_normal_by_fan_out_and_without_bias():
    layer = ConvNormRelu(64, 32, 3, negative_slope=0.0, bias=True)
    expected = (2 / (32 * 9)) ** 0.5
    assert layer.conv.weight.std().item() == pytest.approx(expected, rel=0.05)
    # More than a uniform distribution of this spread would reach.
    assert layer.conv.weight.abs().max() > 2 * expected
    assert (layer.conv.bias == 0).all()
    assert (layer.norm.weight == 1).all()
    assert (layer.norm.bias == 0).all()


def test_attention_starts_as_torchs_convolutions():
    # mmcv initialises nothing in its module: uniform, up to 1 / sqrt(channels), weight and bias.
    attention = CrissCrossHead(8, 5, HeadConfig(channels=256)).attention.cca
    for conv in (attention.query_conv, attention.key_conv, attention.value_conv):
        assert conv.weight.abs().max().item() == pytest.approx(1 / 16, rel=0.01)
        assert conv.weight.std().item() == pytest.approx(1 / 16 / 3**0.5, rel=0.05)
        assert 0.8 / 16 < conv.bias.abs().max() <= 1 / 16
    assert attention.gamma.tolist() == [0.0]


@pytest.mark.parametrize("slope", [0.0, 0.01])
def test_negative_slope_belongs_to_every_activation_of_both_heads(slope):
    main = CrissCrossHead(8, 5, HeadConfig(channels=16, negative_slope=slope))
    auxiliary = AuxiliaryHead(8, 5, AuxiliaryHeadConfig(channels=16, negative_slope=slope))
    for layer in (main.reduce, main.refine, main.fuse, auxiliary.reduce):
        x = torch.randn(1, layer.conv.in_channels, 4, 4)
        expected = torch.nn.functional.leaky_relu(layer.eval().norm(layer.conv(x)), slope)
        assert (expected < 0).any() == (slope > 0)
        torch.testing.assert_close(layer(x), expected)


def test_only_the_auxiliary_head_may_have_a_bias_beside_its_batch_norm():
    assert AuxiliaryHead(8, 5, AuxiliaryHeadConfig(conv_bias=True)).reduce.conv.bias is not None
    assert AuxiliaryHead(8, 5, AuxiliaryHeadConfig()).reduce.conv.bias is None
    main = CrissCrossHead(8, 5, HeadConfig(channels=16))
    assert [layer.conv.bias for layer in (main.reduce, main.refine, main.fuse)] == [None, None, None]


def test_head_follows_the_figure():
    head = CrissCrossHead(8, 5, HeadConfig(channels=16, gamma=0.5)).eval()
    x = torch.randn(1, 8, 6, 7)
    reduced = head.reduce(x)
    attended = head.attention.cca(head.attention.cca(reduced))
    expected = head.classify.conv(head.fuse(torch.cat([x, head.refine(attended)], 1)))
    logits, features = head(x)
    torch.testing.assert_close(logits, expected)
    assert features is None


def test_kernel_size_one_sees_no_neighbour():
    head = CrissCrossHead(8, 5, HeadConfig(channels=16, kernel_size=1, recurrence=0)).eval()
    x = torch.randn(1, 8, 5, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(head(x)[0][0, :, 2, 2].sum(), x)
    seen = gradient[0].abs().sum(0) > 0
    assert seen[2, 2]
    assert seen.sum() == 1
