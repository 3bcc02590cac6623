import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.attention.formula import attend, attention_weights
from ccnet_core.attention.reference import TorchBackend
from ccnet_core.testing import check_attention_backend, criss_cross_definition


class Faulty(TorchBackend):
    """Plain attention with one step replaced."""

    def weights(self, query, key):
        return attention_weights(query, key)

    def attended(self, query, key, value):
        column, row = self.weights(query, key)
        return torch.einsum("byxi,bcix->bcyx", column, value) + torch.einsum("byxi,bcyi->bcyx", row, value)

    def finish(self, attended, scale, residual):
        attended = attended if scale is None else scale * attended
        return attended if residual is None else residual + attended

    def why_unsupported(self, spec):
        return None if spec.rank == 2 else "serves maps"

    def __call__(self, query, key, value, *, scale=None, residual=None):
        return self.finish(self.attended(query, key, value), scale, residual)


def energies(query, key):
    return torch.einsum("bdyx,bdix->byxi", query, key), torch.einsum("bdyx,bdyi->byxi", query, key)


class CountsItselfTwice(Faulty):
    def weights(self, query, key):
        return torch.cat(energies(query, key), -1).softmax(-1).split(list(query.shape[2:]), -1)


class DropsTheLastRow(Faulty):
    """Where energies are large, the one position hardly counts: only near-uniform weights show it."""

    def weights(self, query, key):
        column, row = attention_weights(query, key)
        spread = max(float(query.detach().abs().max()), float(key.detach().abs().max()))
        return (column[..., :-1], row) if spread < 0.5 else (column, row)

    def attended(self, query, key, value):
        column, row = self.weights(query, key)
        height = column.shape[-1]
        along = torch.einsum("byxi,bcix->bcyx", column, value[:, :, :height])
        return along + torch.einsum("byxi,bcyi->bcyx", row, value)


class ForgetsToSubtractTheLargest(Faulty):
    def weights(self, query, key):
        column, row = (energy.exp() for energy in energies(query, key))
        itself = torch.eye(column.shape[-1], dtype=torch.bool)[:, None]
        column = column.masked_fill(itself, 0)
        total = column.sum(-1, keepdim=True) + row.sum(-1, keepdim=True)
        return column / total, row / total


class MixesTheImages(Faulty):
    def attended(self, query, key, value):
        return super().attended(query, key[:1].expand_as(key), value)


class ForgetsResidual(Faulty):
    def finish(self, attended, scale, residual):
        return super().finish(attended, scale, None if residual is None else residual.detach())


class NeedsAScale(Faulty):
    def finish(self, attended, scale, residual):
        return super().finish(attended, 1.5 if scale is None else scale, residual)


class InventsAResidual(Faulty):
    def finish(self, attended, scale, residual):
        return super().finish(attended, scale, 0.01 if residual is None else residual)


class CutsTheKeyGradient(Faulty):
    def attended(self, query, key, value):
        return super().attended(query, key.detach() + 0 * key, value)


class HalvesTheGradientOfScaleZero(Faulty):
    """As a backward that divides the output by the scale would."""

    def finish(self, attended, scale, residual):
        zero = scale is not None and not scale.any()
        return super().finish(attended / 2 if zero else attended, scale, residual)


class ReadsMemoryAsContiguous(Faulty):
    def attended(self, query, key, value):
        return super().attended(query, key, torch.as_strided(value, value.shape, value.contiguous().stride()))


class ReadsUpstreamAsContiguous(Faulty):
    """Its backward takes the memory of the gradient without asking for the strides."""

    class Identity(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, upstream):
            if upstream.is_contiguous():
                return upstream
            return upstream.as_strided((1,), (1,)) * torch.arange(upstream.numel()).view_as(upstream)

    def finish(self, attended, scale, residual):
        return self.Identity.apply(super().finish(attended, scale, residual))


class WritesIntoItsInput(Faulty):
    def attended(self, query, key, value):
        result = super().attended(query, key, value)
        if torch.is_grad_enabled():
            query.data.add_(1)
        return result


class ForgetsWhereOnlyValueNeedsAGradient(Faulty):
    def attended(self, query, key, value):
        if value.requires_grad and not query.requires_grad:
            value = value.detach() + 0 * value
        return super().attended(query, key, value)


class HidesNan(Faulty):
    def attended(self, query, key, value):
        return super().attended(query, key, value.nan_to_num())


class SpreadsNan(Faulty):
    def attended(self, query, key, value):
        return super().attended(query, key, value) + 0 * value.sum()


class IsRoughWithoutGradients(Faulty):
    def attended(self, query, key, value):
        result = super().attended(query, key, value)
        return result if torch.is_grad_enabled() else result.bfloat16().float()


class AnotherVersion(Faulty):
    api_version = 99


@pytest.mark.parametrize(
    ("backend", "what"),
    [
        (Faulty, None),
        (CountsItselfTwice, "output"),
        (DropsTheLastRow, "small energies: output"),
        (ForgetsToSubtractTheLargest, "large energies: output"),
        (MixesTheImages, r"\(2, .*: output"),
        (ForgetsResidual, "no gradient reaches residual"),
        (NeedsAScale, "without scale: output"),
        (InventsAResidual, "without residual: output"),
        (CutsTheKeyGradient, "gradient of key"),
        (HalvesTheGradientOfScaleZero, "scale of zero: gradient of scale"),
        (ReadsMemoryAsContiguous, "channels last: output"),
        (ReadsUpstreamAsContiguous, "gradient of query alone"),
        (WritesIntoItsInput, "query was changed in place"),
        (ForgetsWhereOnlyValueNeedsAGradient, "gradient of value alone"),
        (HidesNan, "NaN in value does not propagate"),
        (SpreadsNan, "NaN in value does not propagate"),
        (IsRoughWithoutGradients, "output without gradients"),
        (AnotherVersion, "api_version is 99"),
    ],
)
def test_conformance_catches_a_broken_backend(backend, what):
    if what is None:
        check_attention_backend(backend())
    else:
        with pytest.raises(AssertionError, match=what):
            check_attention_backend(backend())


class CountsItselfTwiceInClips(TorchBackend):
    def __call__(self, query, key, value, *, scale=None, residual=None):
        if query.ndim == 4:
            return super().__call__(query, key, value, scale=scale, residual=residual)
        return residual + scale * (attend(query, key, value) + value) / 2


def test_conformance_holds_clips_to_the_definition_too():
    with pytest.raises(AssertionError, match=r"^\(2, 3, 4, 3, 4, 2\): output"):
        check_attention_backend(CountsItselfTwiceInClips())


def test_tolerance_follows_from_the_dtype():
    class Rounded(TorchBackend):
        def __call__(self, query, key, value, *, scale=None, residual=None):
            coarse = [tensor.bfloat16().to(tensor.dtype) for tensor in (query, key, value)]
            return super().__call__(*coarse, scale=scale, residual=residual)

    check_attention_backend(Rounded(), dtype=torch.bfloat16)
    with pytest.raises(AssertionError, match="allowed 1e-04"):
        check_attention_backend(Rounded())
    with pytest.raises(AssertionError, match="allowed 1e-11"):
        check_attention_backend(Rounded(), dtype=torch.float64)


def test_conformance_fails_for_a_backend_that_serves_nothing():
    class Never(TorchBackend):
        def why_unsupported(self, spec):
            return "never"

    with pytest.raises(AssertionError, match="serves no shape"):
        check_attention_backend(Never())


@pytest.mark.parametrize("extent", [(1, 1), (1, 1, 1)])
def test_definition_of_a_single_position_is_its_value(extent):
    value = torch.tensor([3.0, 5.0]).view(1, 2, *extent)
    one = torch.ones(1, 1, *extent)
    assert torch.equal(criss_cross_definition(one, one, value), value)


def test_definition_with_equal_energies_is_the_mean_of_each_position_once():
    zeros = torch.zeros(1, 1, 2, 3, 4)
    value = torch.randn(1, 1, 2, 3, 4)
    others = [value[0, 0, 1, 1, 2], *value[0, 0, 0, [0, 2], 2], *value[0, 0, 0, 1, [0, 1, 3]]]
    mean = torch.stack([value[0, 0, 0, 1, 2], *others]).mean()
    torch.testing.assert_close(criss_cross_definition(zeros, zeros, value)[0, 0, 0, 1, 2], mean)


def test_definition_of_clips_is_the_published_one(golden, fill):
    module = ccnet.CrissCrossAttention3d(16)
    fill.fill_module(module)
    drawn = np.random.RandomState(11).standard_normal((1, 16, 5, 6, 7)) * 0.3
    x = torch.from_numpy(drawn.astype(np.float32))
    with torch.no_grad():
        attended = criss_cross_definition(module.query_conv(x), module.key_conv(x), module.value_conv(x))
        output = module.gamma * attended + x
    stored = np.load(golden / "modules.npz")["naive_cca3d_self_once_1x16x5x6x7/out"]
    np.testing.assert_allclose(output, stored, atol=1e-5)
