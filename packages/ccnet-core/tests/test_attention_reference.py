import pytest
import torch

from ccnet_core.attention import cpu
from ccnet_core.attention.interface import spec_of
from ccnet_core.attention.reference import backend
from ccnet_core.testing import TOLERANCES, check_attention_backend


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_torch_backend_conforms_in_every_floating_dtype(dtype):
    check_attention_backend(backend, dtype=dtype)


def test_formula_conforms_where_the_form_for_the_cpu_does_not_serve(monkeypatch):
    monkeypatch.setattr(cpu, "serves", lambda *tensors: False)
    check_attention_backend(backend)


@pytest.mark.parametrize("trained", range(5))
def test_call_needs_a_gradient_if_any_tensor_of_it_does(trained):
    tensors = [torch.zeros(1, 2, 3, 3) for _ in range(5)]
    assert not spec_of(*tensors).needs_gradient
    tensors[trained].requires_grad_()
    assert spec_of(*tensors).needs_gradient
    with torch.no_grad():
        assert not spec_of(*tensors).needs_gradient


def test_integer_tensors_and_other_ranks_are_refused_with_a_sentence():
    line = torch.zeros(1, 1, 2)
    assert "1 axes of position" in backend.why_unsupported(spec_of(line, line))
    volume_in_time = torch.zeros(1, 1, 2, 2, 2, 2)
    assert "4 axes of position" in backend.why_unsupported(spec_of(volume_in_time, volume_in_time))
    integers = torch.zeros(1, 1, 2, 2, dtype=torch.int64)
    assert "floating" in backend.why_unsupported(spec_of(integers, integers))


EMPTY = [(0, 3, 4), (2, 0, 4), (2, 3, 0), (0, 2, 3, 4), (1, 0, 3, 4), (1, 2, 0, 4), (1, 2, 3, 0)]


@pytest.mark.parametrize("shape", EMPTY)
def test_empty_batch_or_map_gives_an_empty_result_and_gradients(shape):
    batch, *extent = shape
    query, key, value, residual = (torch.ones(batch, c, *extent, requires_grad=True) for c in (2, 2, 5, 5))
    scale = torch.ones(1, requires_grad=True)
    output = backend(query, key, value, scale=scale, residual=residual)
    assert output.shape == value.shape
    output.sum().backward()
    assert all(tensor.grad is not None for tensor in (query, key, value, scale, residual))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_result_has_the_memory_format_of_the_residual(dtype, memory_format):
    query, key, value, residual = (
        torch.randn(2, c, 4, 5).to(dtype).contiguous(memory_format=memory_format) for c in (2, 2, 6, 6)
    )
    output = backend(query, key, value, scale=torch.ones(1, dtype=dtype), residual=residual)
    assert output.is_contiguous(memory_format=memory_format)


def test_meta_tensors_give_a_meta_tensor():
    query, value = torch.empty(2, 3, 4, 5, device="meta"), torch.empty(2, 6, 4, 5, device="meta")
    output = backend(query, query, value, scale=torch.empty(1, device="meta"), residual=value)
    assert (output.device.type, output.shape) == ("meta", value.shape)
