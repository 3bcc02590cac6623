import pytest
import torch

from ccnet_core.attention.reference import TorchBackend, attend
from ccnet_core.testing import check_attention_backend, criss_cross_definition


class CountsItselfTwice(TorchBackend):
    def __call__(self, query, key, value, *, scale=None, residual=None):
        energy = torch.cat(
            [torch.einsum("bdyx,bdix->byxi", query, key), torch.einsum("bdyx,bdyi->byxi", query, key)], -1
        )
        column, row = energy.softmax(-1).split([query.shape[2], query.shape[3]], -1)
        attended = torch.einsum("byxi,bcix->bcyx", column, value) + torch.einsum("byxi,bcyi->bcyx", row, value)
        return scale * attended + residual


class ForgetsResidual(TorchBackend):
    def __call__(self, query, key, value, *, scale=None, residual=None):
        return scale * attend(query, key, value) + residual.detach()


class CutsTheKeyGradient(TorchBackend):
    def __call__(self, query, key, value, *, scale=None, residual=None):
        return scale * attend(query, key.detach() + 0 * key, value) + residual


class AnotherVersion(TorchBackend):
    api_version = 99


@pytest.mark.parametrize(
    ("backend", "what"),
    [
        (CountsItselfTwice(), "output"),
        (ForgetsResidual(), "residual"),
        (CutsTheKeyGradient(), "gradient of key"),
        (AnotherVersion(), "api_version is 99"),
    ],
)
def test_conformance_catches_a_broken_backend(backend, what):
    with pytest.raises(AssertionError, match=what):
        check_attention_backend(backend)


def test_conformance_fails_for_a_backend_that_serves_nothing():
    class Never(TorchBackend):
        def why_unsupported(self, spec):
            return "never"

    with pytest.raises(AssertionError, match="serves no shape"):
        check_attention_backend(Never())


def test_definition_of_a_single_position_is_its_value():
    value = torch.tensor([[[[3.0]], [[5.0]]]])
    one = torch.ones(1, 1, 1, 1)
    assert torch.equal(criss_cross_definition(one, one, value), value)
