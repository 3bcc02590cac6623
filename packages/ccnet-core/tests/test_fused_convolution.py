import pytest
import torch
from torch import nn

from ccnet_core import fused_convolution as room
from ccnet_core.folding import filters_of

FORMS = [room.FusedConvolution, room.PackedConvolution, room.WinogradConvolution]


def example(kernel=3, **options):
    conv = nn.Conv2d(6, 8, kernel, padding=options.get("dilation", 1) * (kernel // 2), **options)
    x = torch.randn(2, 6, 11, 13).contiguous(memory_format=torch.channels_last)
    return conv, x


def activated(x, slope):
    return torch.where(x < 0, slope * x, x)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("slope", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("with_summand", [False, True])
def test_every_form_convolves_adds_and_activates(form, slope, with_summand):
    conv, x = example(dilation=2)
    expected = conv.double()(x.double())
    summand = torch.randn_like(expected)
    layer = form(filters_of(conv), conv, slope=slope, dtype=torch.float32)
    with torch.inference_mode():
        result = layer(x, summand.float()) if with_summand else layer(x)
    expected = activated(expected + summand if with_summand else expected, slope)
    torch.testing.assert_close(result.double(), expected.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS[:2])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 2), (7, 2)])
def test_kernel_and_stride(form, kernel, stride):
    conv, x = example(kernel, stride=stride)
    layer = form(filters_of(conv), conv, slope=1.0, dtype=torch.float32)
    torch.testing.assert_close(layer(x), conv(x).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_input_is_not_changed(form):
    conv, x = example()
    before = x.clone()
    form(filters_of(conv), conv, slope=0.0, dtype=torch.float32)(x)
    assert torch.equal(x, before)


def chosen(conv, dtype=torch.float32, **options):
    traced = options.get("traced", False)
    return type(room.fused_convolution(filters_of(conv), conv, slope=0.0, dtype=dtype, traced=traced))


@pytest.mark.parametrize(
    ("conv", "dtype", "form"),
    [
        (nn.Conv2d(128, 128, 3, padding=4, dilation=4), torch.float32, room.WinogradConvolution),
        (nn.Conv2d(128, 128, 3, padding=1), torch.float64, room.WinogradConvolution),
        (nn.Conv2d(128, 127, 3, padding=1), torch.float32, room.PackedConvolution),
        (nn.Conv2d(128, 128, 3, padding=1, stride=2), torch.float32, room.PackedConvolution),
        (nn.Conv2d(128, 128, 3), torch.float32, room.PackedConvolution),
        (nn.Conv2d(128, 128, 1), torch.float32, room.PackedConvolution),
        (nn.Conv2d(128, 128, 1), torch.float64, room.FusedConvolution),
        (nn.Conv2d(128, 128, 3, padding=1), torch.float16, room.FusedConvolution),
    ],
)
def test_form_on_the_cpu(conv, dtype, form, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert chosen(conv, dtype) is form


def test_without_onednn_torchs_own_convolution_serves(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert chosen(nn.Conv2d(3, 4, 1)) is room.FusedConvolution


def test_other_devices_get_torchs_own_convolution():
    conv = nn.Conv2d(128, 128, 3, padding=1, device="meta")
    assert chosen(conv) is room.FusedConvolution


def test_compiler_gets_nothing_opaque():
    assert chosen(nn.Conv2d(3, 4, 1), traced=True) is room.FusedConvolution
    assert chosen(nn.Conv2d(128, 128, 3, padding=1), traced=True) is room.WinogradConvolution
