import pytest
import torch

import ccnet_core as ccnet
from ccnet_core import devices
from ccnet_core.devices import find_device


@pytest.fixture
def machine(monkeypatch):
    """Let torch see as many CUDA devices as said, and MPS or not."""
    devices._say_unmeasured.cache_clear()

    def build(cuda=0, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return build


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(2, True, "cuda"), (1, False, "cuda"), (0, True, "mps"), (0, False, "cpu")]
)
def test_auto_is_the_first_of_cuda_mps_and_cpu(machine, cuda, mps, expected):
    machine(cuda, mps)
    assert find_device() == find_device("auto") == torch.device(expected)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "mps"])
def test_a_device_that_is_here_is_found_by_its_name(machine, name):
    machine(cuda=2, mps=True)
    assert find_device(name) == torch.device(name)


@pytest.mark.parametrize(
    ("cuda", "name", "here"),
    [
        (0, "cuda", "only cpu"),
        (0, "mps", "only cpu"),
        (2, "cuda:2", "only cpu, cuda, cuda:0, cuda:1"),
        (1, "gpu", "only cpu, cuda, cuda:0"),
        (1, "", "only cpu, cuda, cuda:0"),
    ],
)
def test_an_absent_device_is_refused_with_those_that_are_here(machine, cuda, name, here):
    machine(cuda)
    with pytest.raises(ccnet.CCNetError, match=rf"no device '{name}' here, {here}\. Give one of these, or auto"):
        find_device(name)


def test_a_device_never_measured_says_so_once(machine, caplog):
    machine(cuda=2, mps=True)
    for name in ("cpu", "cuda:0", "cuda:1", "mps", "mps"):
        find_device(name)
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(". ")[0] for line in said] == [
        "ccnet-core has not been measured on cuda yet",
        "ccnet-core has not been measured on mps yet",
    ]
