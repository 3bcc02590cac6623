from dataclasses import replace

import pytest
import torch

from ccnet_kernels.support import OwnSpec, spec_of, why_unsupported

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
    "needs compute capability 7.5 or newer; this device's is 7.0": {"capability": (7, 0)},
    "needs compute capability 7.5 or newer; this device's is unknown": {"capability": None},
    "computes in float32; these tensors are bfloat16": {"dtype": torch.bfloat16},
    "takes maps (B, channels, H, W); these tensors have 3 axes after the channels": {
        "rank": 3,
        "shape": (1, 8, 64, 5, 9, 9),
    },
    "needs at least one element along every axis; (B, D, C, H, W) is (1, 64, 512, 0, 97)": {
        "shape": (1, 64, 512, 0, 97)
    },
    "takes tensors of up to 2147483647 elements; the largest here has 2147483648": {"shape": (2**31, 1, 1, 1, 1)},
}


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (9, 0), (12, 0)])
def test_float32_maps_on_a_recent_device_are_served(capability):
    assert why_unsupported(replace(SERVED, capability=capability)) is None


@pytest.mark.parametrize("sentence", REFUSED)
def test_every_refusal_has_its_sentence(sentence):
    assert why_unsupported(replace(SERVED, **REFUSED[sentence])) == sentence


def test_a_spec_is_made_from_tensors():
    query, value = torch.zeros(2, 3, 5, 6), torch.zeros(2, 4, 5, 6, requires_grad=True)
    spec = spec_of(query, value)
    assert spec == OwnSpec(
        device_type="cpu", capability=None, dtype=torch.float32, rank=2, shape=(2, 3, 4, 5, 6), needs_gradient=True
    )
    with torch.no_grad():
        assert not spec_of(query, value).needs_gradient
