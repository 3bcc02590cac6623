import pytest
import torch

from ccnet_core.attention.interface import spec_of
from ccnet_core.attention.reference import attention_weights, backend
from ccnet_core.testing import check_attention_backend, criss_cross_definition


def draw(*shape, scale=1.0):
    return torch.randn(shape, dtype=torch.float64) * scale


def test_torch_backend_conforms_in_float32_and_float64():
    check_attention_backend(backend)
    check_attention_backend(backend, dtype=torch.float64, tolerance=1e-12)


def test_torch_backend_stays_near_the_definition_in_bfloat16():
    check_attention_backend(backend, dtype=torch.bfloat16, tolerance=0.05)


@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0])
def test_output_follows_the_definition_for_small_and_large_energies(scale):
    query, key, value = draw(1, 3, 4, 5, scale=scale), draw(1, 3, 4, 5, scale=scale), draw(1, 2, 4, 5)
    torch.testing.assert_close(backend(query, key, value), criss_cross_definition(query, key, value))


def test_gradients_agree_with_finite_differences():
    inputs = [draw(1, 2, 3, 4).requires_grad_() for _ in range(3)]
    assert torch.autograd.gradcheck(lambda q, k, v: backend(q, k, v), inputs)


@pytest.mark.parametrize(("height", "width"), [(3, 5), (1, 4), (4, 1), (1, 1)])
def test_weights_sum_to_one_and_count_the_position_itself_once(height, width):
    column, row = attention_weights(draw(2, 3, height, width), draw(2, 3, height, width))
    torch.testing.assert_close(column.sum(-1) + row.sum(-1), torch.ones(2, height, width, dtype=torch.float64))
    itself = column.diagonal(dim1=1, dim2=3)
    assert (itself == 0).all()
    assert (row > 0).all()


def test_uniform_energies_give_the_mean_over_the_cross():
    query, key = torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 3, 4)
    value = torch.arange(12.0).view(1, 1, 3, 4)
    cross = [value[0, 0, 1, j] for j in range(4)] + [value[0, 0, 0, 2], value[0, 0, 2, 2]]
    torch.testing.assert_close(backend(query, key, value)[0, 0, 1, 2], torch.stack(cross).mean())


@pytest.mark.parametrize("trained", range(5))
def test_call_needs_a_gradient_if_any_tensor_of_it_does(trained):
    tensors = [torch.zeros(1, 2, 3, 3) for _ in range(5)]
    assert not spec_of(*tensors).needs_gradient
    tensors[trained].requires_grad_()
    assert spec_of(*tensors).needs_gradient
    with torch.no_grad():
        assert not spec_of(*tensors).needs_gradient


def test_integer_tensors_and_clips_are_refused_with_a_sentence():
    clip = torch.zeros(1, 1, 2, 2, 2)
    assert "3 axes" in backend.why_unsupported(spec_of(clip, clip))
    integers = torch.zeros(1, 1, 2, 2, dtype=torch.int64)
    assert "floating" in backend.why_unsupported(spec_of(integers, integers))
