"""ccnet-kernels beside ccnet-core: found, held to the contract, refused with its own sentence."""

from pathlib import Path

import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.testing import check_attention_backend

EMULATED = """
import sys
import torch
from ccnet_core.testing import check_attention_backend

sys.path.insert(0, sys.argv[1])
import emulator
from ccnet_kernels import ops
from ccnet_kernels.cuda import launch
from ccnet_kernels.plugin import NumbaBackend

class OnTheEmulator(NumbaBackend):
    def why_unsupported(self, spec):
        return None

    def __call__(self, query, key, value, *, scale=None, residual=None):
        return ops.attend(query, key, value, scale=scale, residual=residual)

launch.run = emulator.run
check_attention_backend(OnTheEmulator(), dtype=getattr(torch, sys.argv[2]))
print("conforms")
"""
EMULATOR = Path(__file__).parents[1] / "packages" / "ccnet-kernels" / "tests"


def test_core_finds_the_plugin_and_says_why_it_does_not_serve_a_cpu():
    (row,) = [row for row in ccnet.attention_backends() if row.name == "numba"]
    assert row.api_version == 1
    if not torch.cuda.is_available():
        assert (row.usable, row.reason) == (False, "needs a CUDA device; this tensor is on cpu")


def test_asked_for_by_name_on_a_cpu_it_is_refused_with_its_own_sentence(monkeypatch):
    module = ccnet.CrissCrossAttention(8, backend="numba")
    monkeypatch.delenv("CCNET_ATTENTION", raising=False)
    with pytest.raises(ccnet.AttentionError, match="'numba' cannot serve cpu float32 1x1x8x3x3: needs a CUDA device"):
        module(torch.zeros(1, 8, 3, 3))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_kernels_pass_cores_conformance_test_on_the_emulator(dtype, run):
    """Pictures and clips, output and every gradient, with and without scale and residual, in every memory layout."""
    done = run("-W", "ignore", "-c", EMULATED, str(EMULATOR), dtype)
    assert done.stdout.strip() == "conforms", done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_kernels_pass_cores_conformance_test_on_a_gpu(dtype):
    from ccnet_kernels.plugin import backend

    check_attention_backend(backend, device="cuda", dtype=dtype)
