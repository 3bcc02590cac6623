import subprocess
import sys
from dataclasses import replace
from importlib.metadata import entry_points, version

import pytest
import torch

from ccnet_kernels.plugin import backend
from ccnet_kernels.support import OwnSpec

SPEC = OwnSpec(
    device_type="cuda", capability=(9, 0), dtype=torch.float32, rank=2, shape=(1, 8, 64, 9, 9), needs_gradient=False
)


def test_the_entry_point_leads_to_the_backend():
    [point] = entry_points(group="ccnet.attention_backends", name="numba")
    assert point.load() is backend


def test_it_has_the_attributes_of_the_contract():
    assert (backend.name, backend.version, backend.api_version) == ("numba", version("ccnet-kernels"), 1)
    assert backend.priority > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_it_serves_pictures_and_clips_but_does_not_yet_prefer(dtype):
    for spec in replace(SPEC, dtype=dtype), replace(SPEC, dtype=dtype, rank=3, shape=(1, 8, 64, 5, 9, 9)):
        assert backend.why_unsupported(spec) is None
        assert backend.prefers(spec) is False


def test_a_gpu_that_is_too_old_is_told():
    spec = replace(SPEC, capability=(7, 5), dtype=torch.bfloat16)
    assert backend.why_unsupported(spec) == "needs compute capability 8.0 or newer for bfloat16; this GPU is 7.5"


def test_a_call_it_cannot_serve_raises_its_own_sentence():
    query, value = torch.ones(1, 2, 3, 4), torch.ones(1, 5, 3, 4)
    with pytest.raises(ValueError, match=r"^needs a CUDA device; this tensor is on cpu$"):
        backend(query, query, value, scale=torch.ones(1), residual=value)


def test_importing_and_asking_import_no_numba():
    code = (
        "import sys, torch, ccnet_kernels.plugin as plugin, ccnet_kernels.support as support\n"
        "parts = {'capability': None, 'dtype': torch.half, 'rank': 2, 'shape': (1,) * 5, 'needs_gradient': False}\n"
        "spec = support.OwnSpec(device_type='cpu', **parts)\n"
        "assert plugin.backend.why_unsupported(spec) and not plugin.backend.prefers(spec)\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('numba', 'numba_cuda', 'llvmlite')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
