import dataclasses

import pytest
import torch

from ccnet_core.attention import plugins
from ccnet_core.attention.interface import AttentionSpec
from ccnet_core.attention.reference import TorchBackend
from ccnet_core.attention.reference import backend as torch_backend
from ccnet_core.attention.select import select
from ccnet_core.errors import AttentionError

SPEC = AttentionSpec(
    device_type="cpu", capability=None, dtype=torch.float32, rank=2, shape=(1, 2, 4, 3, 3), needs_gradient=True
)


class Fused(TorchBackend):
    name = "fused"
    priority = 5
    reason: str | None = None
    wanted = True

    def why_unsupported(self, spec):
        return self.reason

    def prefers(self, spec):
        return self.wanted


@pytest.fixture
def fused(monkeypatch):
    backend = Fused()
    monkeypatch.setattr(plugins, "_loaded", [backend, torch_backend])
    monkeypatch.delenv("CCNET_ATTENTION", raising=False)
    return backend


def test_highest_priority_serves(fused):
    assert select(SPEC) is fused


def test_backend_that_does_not_prefer_a_call_is_chosen_only_by_name(fused):
    fused.wanted = False
    assert select(SPEC) is torch_backend
    assert select(SPEC, "fused") is fused


def test_backend_that_cannot_serve_is_passed_over_or_named_with_its_reason(fused):
    fused.reason = "needs compute capability 8.0"
    assert select(SPEC) is torch_backend
    with pytest.raises(AttentionError, match=r"fused.*cpu float32 1x2x4x3x3.*needs compute capability 8\.0"):
        select(SPEC, "fused")


def test_environment_variable_overrides_the_name(fused, monkeypatch):
    monkeypatch.setenv("CCNET_ATTENTION", "torch")
    assert select(SPEC, "fused") is torch_backend


def test_unknown_name_lists_the_nearest(fused):
    with pytest.raises(AttentionError, match="Did you mean 'fused'"):
        select(SPEC, "fuse")


def test_call_that_nobody_serves_lists_every_reason(fused):
    fused.reason = "not today"
    spec = dataclasses.replace(SPEC, rank=4)
    with pytest.raises(
        AttentionError, match=r"No attention backend can serve .* fused: not today; torch: .* 4 axes of position"
    ):
        select(spec)
