import pytest
import torch
from bench_cases import tiny, worst_errors

from ccnet_kernels.bench.lines import attend_on_cuda, gradients_on_cuda, merged_attention
from ccnet_kernels.formula import plain_attention


@pytest.mark.parametrize("shape", [(2, 4, 8, 5, 7), (1, 8, 8, 40, 33), (2, 4, 12, 3, 4, 5)])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("level", ["operator", "block"])
def test_heads_merged_agree_with_the_plain_formula_output_and_every_gradient(shape, layout, level):
    case = tiny(shape=shape, layout=layout, level=level)
    assert max(worst_errors(merged_attention(split=True), plain_attention, case).values()) < 1e-5


def test_value_in_one_piece_agrees_too():
    case = tiny(shape=(2, 8, 8, 9, 6))
    assert max(worst_errors(merged_attention(split=False), plain_attention, case).values()) < 1e-5


@pytest.mark.parametrize(("dtype", "allowed"), [("bfloat16", 3e-2), ("float16", 5e-3)])
def test_half_precision_stays_within_a_few_roundings(dtype, allowed):
    case = tiny(shape=(1, 8, 32, 20, 24), dtype=dtype)
    assert max(worst_errors(merged_attention(split=True), plain_attention, case).values()) < allowed


def test_the_operators_for_cuda_take_what_they_are_given_and_return_what_is_merged():
    """On the meta device: what the kernels compute, only a GPU can tell."""
    query, value = (torch.empty(2, 33, 21, channels, device="meta", dtype=torch.bfloat16) for channels in (64, 512))
    mask = torch.empty(21, 24, device="meta", dtype=torch.bfloat16)[:, :21]
    output, log_sums = attend_on_cuda(query, query, value, mask)
    assert (output.shape, log_sums.shape, log_sums.dtype) == (value.shape, (2, 33, 21), torch.float32)
    gradients = gradients_on_cuda(value, query, query, value, output, log_sums, mask)
    assert [gradient.shape for gradient in gradients] == [query.shape, query.shape, value.shape]
