import pytest
from kernel_oracle import attend_slowly, inputs, results, wrong

from ccnet_kernels.formula import plain_attention


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (1, 3, 2, 1, 5), (1, 3, 2, 5, 1), (2, 3, 4, 3, 5)])
def test_it_agrees_with_the_loops(shape):
    arguments = {name: tensor.detach().double().requires_grad_() for name, tensor in inputs(shape, 1.0).items()}
    actual, expected = results(plain_attention, arguments), results(attend_slowly, arguments)
    assert not wrong({name: float((actual[name] - expected[name]).abs().max()) for name in expected}, 1.0)
