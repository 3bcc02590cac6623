import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import ccnet_core as ccnet
from ccnet_core import optimized
from ccnet_core.fused_convolution import WinogradConvolution

SMALL = ccnet.CCNet.from_config("ccnet_small", num_classes=3).config
PARSING = ccnet.CCNet.from_config("ccnet_small_ce2p", num_classes=3).config


@pytest.fixture
def make(enliven):
    """Build a network of stride 8 whose batch norms have weights of both signs and zeros."""

    def build(config=SMALL, **of_head):
        config = dataclasses.replace(config, head=dataclasses.replace(config.head, **of_head))
        model = enliven(ccnet.CCNet(config)).eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.data[::3] *= -1
                module.weight.data[1] = 0
        return model

    return build


def images(*size):
    return torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)


HEADS = [
    {},
    {"recurrence": 0},
    {"recurrence": 3, "shared_weights": False},
    {"attention": "non_local"},
    {"attention": "non_local", "recurrence": 2},
    {"negative_slope": 0.01},
    {"kernel_size": 1, "consistency_channels": 16},
    {"channels": 128},
]


@pytest.mark.parametrize("of_head", HEADS, ids=str)
@pytest.mark.parametrize("traced", [False, True])
def test_answers_are_those_of_the_network_in_float64(make, of_head, traced):
    model = make(**of_head).double()
    twin = optimized.OptimizedCCNet(model, dtype=torch.float64, compile=False)
    if traced:
        twin.network = optimized.folded_network(model, dtype=torch.float64, traced=True)
    for size in ((1, 1), (7, 70), (45, 33)):
        x = images(*size)
        expected = model(x).logits.detach()
        assert expected.std() > 0.01
        torch.testing.assert_close(twin(x).logits, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("of_head", HEADS, ids=str)
def test_answers_are_those_of_the_network_but_for_rounding_in_float32(make, of_head):
    model = make(**of_head)
    twin = model.optimized()
    for size in ((1, 1), (45, 33)):
        x = images(*size)
        exact = copy.deepcopy(model).double()(x).logits.detach()
        assert (twin(x).logits - exact).abs().max() <= 3e-5 * exact.abs().max()


@pytest.mark.parametrize("changes", [{"block": "basic"}, {"stem_channels": (16,), "ceil_mode": True}], ids=str)
def test_backbones(make, changes):
    config = dataclasses.replace(SMALL, backbone=dataclasses.replace(SMALL.backbone, **changes))
    assert make(config).double().optimized().agreement.logits < 1e-11


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("align_corners", [False, True])
def test_answers_of_a_network_for_parsing(make, traced, align_corners):
    config = dataclasses.replace(PARSING, align_corners=align_corners)
    model = make(config, consistency_channels=16).double()
    twin = model.optimized()
    if traced:
        twin.network = optimized.folded_network(model, dtype=torch.float64, traced=True)
    for size in ((1, 1), (7, 70), (45, 33)):
        x = images(*size)
        expected = model(x).logits.detach()
        assert expected.std() > 0.01
        torch.testing.assert_close(twin(x).logits, expected, rtol=1e-11, atol=1e-11)


def test_network_for_parsing_in_float32_and_in_predict(make):
    model = make(PARSING)
    twin = model.optimized()
    assert twin.agreement.logits < 3e-5
    picture = np.random.default_rng(0).integers(0, 256, (61, 74, 3), dtype=np.uint8)
    expected, actual = (ccnet.predict(each, picture, mode="whole", scores=True) for each in (model, twin))
    np.testing.assert_allclose(actual.scores, expected.scores, atol=1e-4 * np.abs(expected.scores).max())


def test_published_network_takes_the_short_way_and_agrees(enliven):
    model = enliven(ccnet.CCNet.from_config("ccnet_r50-d8_4xb2-40k_cityscapes-512x1024")).eval()
    twin = model.optimized()
    # Stages 2 to 4 have 3 + 6 + 3 of stride 1, the head reduce, refine and both halves of fuse.
    assert sum(isinstance(module, WinogradConvolution) for module in twin.modules()) == 16
    assert twin.agreement.logits < 1e-4
    assert twin.agreement.labels > 0.999


def test_authors_network_agrees():
    twin = ccnet.CCNet.from_config("ccnet_r101-d8_authors", recurrence=1).eval().optimized()
    assert twin.agreement.logits < 1e-4


def test_network_stays_as_it_was_bit_for_bit(make):
    model = make().train()
    state, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    twin = model.optimized()
    twin(images(33, 41))
    assert [module.training for module in model.modules()] == modes
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_network_may_change_without_the_twin(make):
    model, x = make(), images(33, 41)
    twin = model.optimized()
    before = twin(x).logits
    for tensor in model.state_dict().values():
        tensor.zero_()
    assert torch.equal(twin(x).logits, before)


PLANS = [{}, {"mode": "slide", "crop": (33, 41), "stride": (20, 30)}, {"scales": (0.75, 1.5), "flip": True}]


@pytest.mark.parametrize("options", PLANS, ids=str)
@pytest.mark.parametrize("align_corners", [False, True])
def test_predict_takes_the_twin(make, options, align_corners):
    model = make(dataclasses.replace(SMALL, align_corners=align_corners))
    picture = np.random.default_rng(0).integers(0, 256, (61, 74, 3), dtype=np.uint8)
    expected = ccnet.predict(model, picture, **options, scores=True)
    actual = ccnet.predict(model.optimized(), picture, **options, scores=True)
    np.testing.assert_allclose(actual.scores, expected.scores, atol=1e-4 * np.abs(expected.scores).max())
    assert (actual.labels == expected.labels).mean() > 0.999


def test_attention_backend_is_the_networks_until_another_is_asked_for(make, monkeypatch):
    model = make()
    model.use_attention("torch")
    twin = model.optimized()
    assert twin.network.layers[-1].attention.cca.backend == "torch"
    twin.use_attention(None)
    assert twin.network.layers[-1].attention.cca.backend is None
    with pytest.raises(ccnet.AttentionError, match="no attention backend 'tortch'"):
        twin.use_attention("tortch")


def test_pictures_and_floats_in_any_memory_order(make):
    twin, x = make().optimized(), images(20, 30)
    expected = twin(x).logits
    for other in (x.float(), x.contiguous(memory_format=torch.channels_last)):
        assert torch.equal(twin(other).logits, expected)


def test_half_precision_is_near_and_its_agreement_is_told(make):
    model = make()
    twin = model.optimized(dtype=torch.bfloat16)
    assert twin.dtype == torch.bfloat16
    assert twin(images(33, 41)).logits.dtype == torch.bfloat16
    assert 1e-4 < twin.agreement.logits < 0.05
    assert twin.agreement.labels > 0.95


def test_picture_of_the_check_can_be_given(make):
    model = make()
    picture = np.random.default_rng(0).integers(0, 256, (61, 74, 3), dtype=np.uint8)
    own = model.optimized(picture=picture).agreement
    assert own != model.optimized().agreement
    x = torch.from_numpy(picture).permute(2, 0, 1)[None]
    expected = model(x).logits.detach().double()
    twin = model.optimized(picture=picture)
    largest = (twin(x).logits - expected).abs().max() / expected.abs().max()
    assert own.logits == pytest.approx(largest.item())


@pytest.mark.parametrize("wrong", [1.01, float("nan")])
def test_twin_that_differs_is_refused(make, monkeypatch, wrong):
    folded_network = optimized.folded_network

    def spoilt(model, **options):
        network = folded_network(model, **options)
        network.layers[-1].classify.bias.mul_(wrong)
        return network

    monkeypatch.setattr(optimized, "folded_network", spoilt)
    model = make()
    model.head.classify.conv.bias.data.fill_(10)
    with pytest.raises(ccnet.OptimizedError, match=r"differs by .* Use the network as it is"):
        model.optimized()


def test_what_a_twin_cannot_do_is_said(make, tmp_path):
    model = make()
    twin = model.optimized()
    for forbidden, what in (
        (lambda: twin.train(), "be trained"),
        (lambda: twin.state_dict(), "be saved"),
        (lambda: twin.save_pretrained(tmp_path / "folder"), "be saved"),
        (lambda: twin.push_to_hub("org/name"), "be saved"),
        (lambda: twin.double(), "change its device or dtype"),
        (lambda: twin(images(9, 9), auxiliary=True), "give auxiliary outputs"),
    ):
        with pytest.raises(ccnet.OptimizedError, match=f"cannot {what}"):
            forbidden()
    assert not list(twin.parameters()) or not any(parameter.requires_grad for parameter in twin.parameters())
    assert not any(module.training for module in twin.eval().modules())
    with pytest.raises(ccnet.PictureError, match="Expected pictures"):
        twin(torch.zeros(3, 9, 9))
    with pytest.raises(ccnet.ConfigError, match="dtype must be one of"):
        model.optimized(dtype=torch.int8)


def test_failure_of_the_compiler_is_an_error_that_says_so(make, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("no\ng++\nand more")

    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: setattr(self, "_compiled_call_impl", fail))
    with pytest.raises(ccnet.OptimizedError, match=r"torch.compile failed: no g\+\+\. It needs a C\+\+ compiler"):
        make().optimized(compile=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # the compiler's own
def test_compiled_twin_agrees_at_every_size(make):
    model = make()
    twin = model.optimized(compile=True)
    assert twin.agreement.logits < 1e-5
    for size in [(33 + 8 * step, 41) for step in range(9)]:  # with the check's more than torch compiles by default
        x = images(*size)
        expected = model(x).logits.detach()
        assert (twin(x).logits - expected).abs().max() <= 1e-5 * expected.abs().max()
