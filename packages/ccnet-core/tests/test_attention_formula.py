import pytest
import torch

from ccnet_core.attention.formula import attend, attention_weights
from ccnet_core.testing import criss_cross_definition

EXTENTS = [(3, 5), (1, 4), (4, 1), (1, 1), (2, 3, 4), (1, 3, 2), (3, 1, 2), (2, 3, 1), (1, 1, 1)]


def draw(*shape, scale=1.0):
    return torch.randn(shape, dtype=torch.float64) * scale


@pytest.mark.parametrize("extent", EXTENTS)
def test_weights_sum_to_one_and_count_the_position_itself_once(extent):
    *before, row = attention_weights(draw(2, 3, *extent), draw(2, 3, *extent))
    total = sum(weights.sum(-1) for weights in (*before, row))
    torch.testing.assert_close(total, torch.ones(2, *extent, dtype=torch.float64))
    for axis, weights in enumerate(before):
        assert (weights.diagonal(dim1=1 + axis, dim2=-1) == 0).all()
    assert (row > 0).all()


@pytest.mark.parametrize("extent", EXTENTS)
@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0])
def test_output_follows_the_definition_for_small_and_large_energies(extent, scale):
    query, key, value = draw(1, 3, *extent, scale=scale), draw(1, 3, *extent, scale=scale), draw(1, 2, *extent)
    torch.testing.assert_close(attend(query, key, value), criss_cross_definition(query, key, value))


def test_uniform_energies_give_the_mean_over_the_cross():
    query, key = torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 3, 4)
    value = torch.arange(12.0).view(1, 1, 3, 4)
    cross = [value[0, 0, 1, j] for j in range(4)] + [value[0, 0, 0, 2], value[0, 0, 2, 2]]
    torch.testing.assert_close(attend(query, key, value)[0, 0, 1, 2], torch.stack(cross).mean())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_mask_keeps_the_dtype_of_the_query(dtype):
    query = torch.ones(1, 2, 3, 4, dtype=dtype)
    assert {weights.dtype for weights in attention_weights(query, query)} == {dtype}
    assert all(weights.isfinite().all() for weights in attention_weights(query, query))
