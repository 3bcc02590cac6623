import pytest
from bench_cases import tiny, worst_errors

from ccnet_kernels.bench.einsum import einsum_attention
from ccnet_kernels.formula import plain_attention


@pytest.mark.parametrize("shape", [(2, 4, 8, 5, 7), (1, 3, 5, 1, 6), (1, 3, 5, 6, 1)])
def test_output_and_every_gradient_agree_with_the_plain_formula(shape):
    assert max(worst_errors(einsum_attention, plain_attention, tiny(shape=shape)).values()) < 1e-5
