import pytest
from bench_cases import tiny, worst_errors

from ccnet_kernels.bench.non_local import explicit_attention, fused_attention
from ccnet_kernels.formula import plain_non_local


@pytest.mark.parametrize("attend", [explicit_attention, fused_attention])
@pytest.mark.parametrize("shape", [(2, 4, 8, 5, 7), (1, 4, 4, 3, 4, 5)])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_output_and_every_gradient_agree_with_the_plain_formula(attend, shape, layout):
    assert max(worst_errors(attend, plain_non_local, tiny(shape=shape, layout=layout)).values()) < 1e-5
