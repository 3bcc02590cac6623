import sys

import numpy as np
import pytest
import torch

from ccnet_core.peak_memory import peak_memory

CPU = torch.device("cpu")


def test_it_grows_by_what_is_held_and_stays_after_that_is_gone():
    before = peak_memory(CPU)
    for _ in range(3):
        held = np.ones(int(max(before, 0.25) * 2**30) // 8 + 2**25)  # more than ever before, by a quarter of a GiB
        during = peak_memory(CPU)
        assert during >= held.nbytes / 2**30
        del held
    assert peak_memory(CPU) >= during
    assert during < 2 * before + 1


def test_a_system_that_does_not_tell_is_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_memory(CPU) is None


@pytest.mark.parametrize(("platform", "expected"), [("linux", 3.0), ("darwin", 3.0 / 1024)])
def test_the_unit_is_the_systems(monkeypatch, platform, expected):
    class Usage:
        ru_maxrss = 3 * 2**20

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("resource.getrusage", lambda _: Usage)
    assert peak_memory(CPU) == expected


def test_on_a_gpu_it_is_that_of_its_tensors(monkeypatch):
    asked = []
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda device: asked.append(device) or 3 * 2**30)
    device = torch.device("cuda", 1)
    assert peak_memory(device) == 3.0
    assert asked == [device]
