from types import SimpleNamespace

import pytest
import torch
from torch._subclasses import FakeTensorMode

import ccnet_kernels
import ccnet_kernels.cuda
from ccnet_kernels import KernelError, criss_cross_attention, ops, support

B, D, C, H, W = 1, 2, 16, 256, 256


def arguments(device="cpu"):
    sizes = {"query": (B, D, H, W), "key": (B, D, H, W), "value": (B, C, H, W), "scale": (1,), "residual": (B, C, H, W)}
    return {name: torch.ones(size, device=device, requires_grad=True) for name, size in sizes.items()}


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("query", torch.ones(2, 2), r"query has shape \(2, 2\); expected \(B, D, H, W\)"),
        ("key", torch.ones(1, 3, 256, 256), r"key has shape \(1, 3, 256, 256\); expected that of query, \(1, 2, 256"),
        ("value", torch.ones(1, 16, 8, 256), r"value has shape \(1, 16, 8, 256\); expected \(1, C, 256, 256\)"),
        ("scale", torch.ones(16), r"scale has shape \(16,\); expected \(\) or \(1,\)"),
        ("residual", torch.ones(1, 2, 3, 4), r"residual has shape \(1, 2, 3, 4\); expected that of value, \(1, 16,"),
        ("value", torch.ones(1, 16, 256, 256).half(), "value is torch.float16 on cpu; query is torch.float32 on cpu"),
        ("key", torch.ones(1, 2, 256, 256, device="meta"), "key is torch.float32 on meta; query is torch.float32 on"),
    ],
)
def test_a_mismatch_names_the_argument(name, tensor, message):
    with pytest.raises(KernelError, match=message):
        criss_cross_attention(**{**arguments(), name: tensor})


def test_an_unsupported_call_raises_the_sentence_of_the_predicate():
    given = arguments()
    sentence = support.why_unsupported(support.spec_of(given["query"], given["value"]))
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        criss_cross_attention(**given)


def test_fake_cuda_tensors_pass_every_check_and_both_operators(monkeypatch):
    """Without gradients: torch built for the CPU aborts where autograd records an operator on a fake CUDA tensor."""
    monkeypatch.setattr(support, "capability_of", lambda index: (9, 0))
    with torch.no_grad(), FakeTensorMode():
        given = arguments("cuda")
        output = criss_cross_attention(**given)
        maps = [given[name] for name in ("query", "key", "value")]
        gradients = ops.attend_backward(output, *maps, *ops.attend_forward(*maps))
    assert (output.shape, output.dtype, output.device.type) == (given["value"].shape, torch.float32, "cuda")
    assert [(tensor.shape, tensor.device) for tensor in gradients] == [(tensor.shape, tensor.device) for tensor in maps]


@pytest.fixture
def launches_that_do_nothing(monkeypatch):
    launch = SimpleNamespace(forward=None, backward=None, on_tensors=lambda launch, tensors: None)
    monkeypatch.setattr(ccnet_kernels.cuda, "launch", launch, raising=False)


@pytest.mark.usefixtures("launches_that_do_nothing")
def test_neither_direction_allocates_an_attention_map():
    """Everything both directions allocate, freed or not, against one float32 map of H W (H + W) numbers."""
    given = arguments()
    maps = [given[name] for name in ("query", "key", "value")]
    gradient = torch.ones(B, C, H, W)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        attended, _ = ops.attend_forward(*maps)
        torch.autograd.grad(attended, maps, gradient)
    sizes = [event.self_cpu_memory_usage for event in profile.events() if event.self_cpu_memory_usage > 0]
    pixel = 4 * B * H * W
    # Forward: attended (C), log-sum-exp (1). Backward: delta (1), query (D), key (D), value (C), and one map of zeros,
    # which autograd makes for the gradient that the log-sum-exp does not have.
    assert sum(sizes) == pixel * ((C + 1) + (1 + D + D + C) + 1)
    assert max(sizes) < pixel * (H + W) / 10


@pytest.mark.usefixtures("launches_that_do_nothing")
def test_only_inputs_attended_map_and_log_sum_exp_are_saved():
    given = arguments()
    maps = [given[name] for name in ("query", "key", "value")]
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tuple(tensor.shape)), lambda _: None):
        ops.attend_forward(*maps)
    assert sorted(saved) == sorted([(B, D, H, W), (B, D, H, W), (B, C, H, W), (B, C, H, W), (B, H, W)])


@pytest.mark.usefixtures("launches_that_do_nothing")
def test_a_second_derivative_is_refused():
    query, key, value = (torch.ones(1, 2, 3, 4, requires_grad=True) for _ in range(3))
    [gradient] = torch.autograd.grad(ops.attend(query, key, value).sum(), query, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula"):
        gradient.sum().backward()
