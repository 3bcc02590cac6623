import pytest
import torch
from torch import nn

from ccnet_core.folding import filters_of, fold


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_convolution_does_what_the_batch_norm_behind_it_did(bias, eps):
    conv = nn.Conv2d(5, 7, 3, padding=1, bias=bias, dtype=torch.float64)
    norm = nn.BatchNorm2d(7, eps=eps, dtype=torch.float64).eval()
    norm.weight.data.uniform_(-2, 2)  # negative ones too
    norm.weight.data[0] = 0
    norm.bias.data.normal_()
    norm.running_mean.normal_(std=3)
    norm.running_var.uniform_(0, 2)
    norm.running_var[1] = 0
    x = torch.randn(2, 5, 6, 9, dtype=torch.float64)
    y = conv(x)
    by_hand = torch.stack(
        [
            (y[:, k] - norm.running_mean[k]) / (norm.running_var[k] + eps) ** 0.5 * norm.weight[k] + norm.bias[k]
            for k in range(7)
        ],
        dim=1,
    )
    weight, offset = fold(conv, norm)
    folded = torch.nn.functional.conv2d(x, weight, offset, padding=1)
    torch.testing.assert_close(folded, by_hand, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(norm(y), by_hand)


def test_filters_are_float64_and_copies_whatever_the_dtype():
    conv, norm = nn.Conv2d(3, 4, 1).bfloat16(), nn.BatchNorm2d(4).bfloat16()
    for filters in (fold(conv, norm), filters_of(conv)):
        assert {part.dtype for part in filters} == {torch.float64}
        assert not any(part.requires_grad for part in filters)
    torch.testing.assert_close(filters.weight, conv.weight.double())
    torch.testing.assert_close(filters.bias, conv.bias.double())


def test_missing_bias_is_zero():
    assert filters_of(nn.Conv2d(3, 4, 1, bias=False)).bias.tolist() == [0, 0, 0, 0]
