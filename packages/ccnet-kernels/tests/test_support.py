from dataclasses import replace

import pytest
import torch

from ccnet_kernels import KernelError, support
from ccnet_kernels.support import OwnSpec, capability_of, check_arguments, why_unsupported

SERVED = OwnSpec(
    device_type="cuda",
    capability=(9, 0),
    dtype=torch.float32,
    rank=2,
    shape=(8, 64, 512, 97, 97),
    needs_gradient=True,
)

REFUSED = {
    "needs a CUDA device; this tensor is on cpu": {"device_type": "cpu", "capability": None},
    "needs compute capability 7.5 or newer for float32; this GPU is 7.0": {"capability": (7, 0)},
    "needs compute capability 7.5 or newer for float32; this GPU is unknown": {"capability": None},
    "needs compute capability 8.0 or newer for bfloat16; this GPU is 7.5": {
        "capability": (7, 5),
        "dtype": torch.bfloat16,
    },
    "needs compute capability 8.0 or newer for float16; this GPU is 7.5": {"capability": (7, 5), "dtype": torch.half},
    "computes in float32, float16 and bfloat16; these tensors are float64": {"dtype": torch.float64},
    "takes (B, channels, H, W) or (B, channels, T, H, W); these tensors have 3 axes": {
        "rank": 1,
        "shape": (1, 8, 64, 5),
    },
    "needs at least one element along every axis; (B, D, C, H, W) is (1, 64, 512, 0, 97)": {
        "shape": (1, 64, 512, 0, 97)
    },
    "needs at least one element along every axis; (B, D, C, T, H, W) is (0, 64, 512, 2, 9, 97)": {
        "rank": 3,
        "shape": (0, 64, 512, 2, 9, 97),
    },
    "takes tensors of up to 2147483647 elements; the largest here has 2147483648": {"shape": (2**31, 1, 1, 1, 1)},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("capability", [(8, 0), (9, 0), (12, 0)])
def test_three_dtypes_are_served_for_pictures_and_clips(capability, dtype):
    assert why_unsupported(replace(SERVED, capability=capability, dtype=dtype)) is None
    clip = replace(SERVED, capability=capability, dtype=dtype, rank=3, shape=(8, 64, 512, 5, 97, 97))
    assert why_unsupported(clip) is None


def test_float32_is_served_on_an_older_device():
    assert why_unsupported(replace(SERVED, capability=(7, 5))) is None


def test_the_largest_tensor_is_served():
    assert why_unsupported(replace(SERVED, shape=(2**31 - 1, 1, 1, 1, 1))) is None


@pytest.mark.parametrize("sentence", REFUSED)
def test_every_refusal_has_its_sentence(sentence):
    assert why_unsupported(replace(SERVED, **REFUSED[sentence])) == sentence


def arguments(dtype=torch.float32):
    sizes = {"query": (1, 2, 5, 6), "key": (1, 2, 5, 6), "value": (1, 4, 5, 6), "scale": (1,), "residual": (1, 4, 5, 6)}
    return {name: torch.ones(size, dtype=dtype) for name, size in sizes.items()}


@pytest.fixture
def every_device_is_served(monkeypatch):
    monkeypatch.setattr(support, "why_not", lambda *parts: None)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("query", torch.ones(2, 2), r"query has shape \(2, 2\); expected \(B, D, H, W\) or \(B, D, T, H, W\)"),
        ("key", torch.ones(1, 3, 5, 6), r"key has shape \(1, 3, 5, 6\); expected that of query, \(1, 2, 5, 6\)"),
        ("value", torch.ones(1, 4, 8, 6), r"value has shape \(1, 4, 8, 6\); expected \(1, C, 5, 6\)"),
        ("value", torch.ones(2, 4, 5, 6), r"value has shape \(2, 4, 5, 6\); expected \(1, C, 5, 6\)"),
        ("value", torch.ones(()), r"value has shape \(\); expected \(1, C, 5, 6\)"),
        ("scale", torch.ones(4), r"scale has shape \(4,\); expected \(\) or \(1,\)"),
        ("residual", torch.ones(1, 2, 3), r"residual has shape \(1, 2, 3\); expected that of value, \(1, 4, 5, 6\)"),
        ("value", torch.ones(1, 4, 5, 6).half(), "value is torch.float16 on cpu; query is torch.float32 on cpu"),
        ("residual", torch.ones(1, 4, 5, 6).half(), "residual is torch.float16 on cpu; query is torch.float32 on cpu"),
        ("scale", torch.ones(1).int(), "scale is torch.int32 on cpu; query is torch.float32 on cpu"),
        ("key", torch.ones(1, 2, 5, 6, device="meta"), "key is torch.float32 on meta; query is torch.float32 on"),
        ("scale", torch.ones(1, device="meta"), "scale is torch.float32 on meta; query is torch.float32 on cpu"),
    ],
)
@pytest.mark.usefixtures("every_device_is_served")
def test_a_mismatch_names_the_argument(name, tensor, message):
    with pytest.raises(KernelError, match=f"^{message}"):
        check_arguments(**arguments() | {name: tensor})


@pytest.mark.usefixtures("every_device_is_served")
def test_half_precision_may_come_with_what_autocast_leaves_in_float32():
    given = arguments(torch.bfloat16)
    check_arguments(**given)
    check_arguments(**given | {"scale": torch.ones(()), "residual": given["residual"].float()})
    check_arguments(**given | {"scale": None, "residual": None})


def test_arguments_that_belong_together_are_held_to_the_predicate():
    with pytest.raises(KernelError, match=r"^needs a CUDA device; this tensor is on cpu$"):
        check_arguments(**arguments())


def test_the_device_is_asked_once_for_its_capability(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: asked.append(index) or (9, 0))
    monkeypatch.setattr(support, "_capabilities", {})
    assert [capability_of(1), capability_of(1), asked] == [(9, 0), (9, 0), [1]]
