import dataclasses

import pytest
import torch
import torch.nn.functional as F

import ccnet_core as ccnet
from ccnet_core.non_local import RecurrentNonLocalBlock
from ccnet_core.resnet import ResNet


@pytest.mark.parametrize("name", ["ccnet_r18-d8", "ccnet_small", "ccnet_r50-d8_4xb2-40k_cityscapes-512x1024"])
def test_logits_have_an_eighth_of_the_size_rounded_up(name):
    model = ccnet.CCNet.from_config(name, num_classes=5).eval()
    with torch.no_grad():
        output = model(torch.zeros(1, 3, 57, 33, dtype=torch.uint8))
    assert output.logits.shape == output.auxiliary_logits.shape == (1, 5, 8, 5)


def test_resnet_101_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = ccnet.CCNet.from_config("ccnet_r101-d8_4xb2-40k_cityscapes-512x1024")
    assert len(model.state_dict()) == 671
    assert sum(p.numel() for p in model.backbone.parameters()) == 42_519_392


def test_bytes_and_floats_of_the_same_picture_give_the_same_logits(tiny):
    image = torch.randint(0, 256, (2, 3, 20, 24), dtype=torch.uint8)
    assert torch.equal(tiny(image).logits, tiny(image.float()).logits)


def test_normalisation_is_float32_whatever_the_models_dtype(tiny):
    image = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    expected = tiny.normalise(image)
    actual = tiny.to(torch.bfloat16).normalise(image)
    assert actual.dtype == torch.float32
    assert torch.equal(actual, expected)
    assert torch.isfinite(tiny(image).logits).all()


def test_statistics_survive_construction_on_the_meta_device(tiny):
    with torch.device("meta"):
        model = ccnet.CCNet.from_config("ccnet_tiny", num_classes=4)
    model.to_empty(device="cpu").load_state_dict(tiny.state_dict())
    image = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(model.eval()(image).logits, tiny(image).logits)


def test_the_kind_of_attention_is_chosen():
    model = ccnet.CCNet.from_config("ccnet_tiny", num_classes=3, attention="non_local", recurrence=1)
    assert isinstance(model.head.attention, RecurrentNonLocalBlock)
    with pytest.raises(ccnet.ConfigError, match="attention must be"):
        ccnet.CCNet.from_config("ccnet_tiny", attention="nonlocal")


def test_recurrence_zero_trains_without_unused_parameters():
    model = ccnet.CCNet.from_config("ccnet_tiny", num_classes=3, recurrence=0)
    model(torch.zeros(2, 3, 16, 16)).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_every_parameter_of_a_training_network_gets_a_gradient():
    model = ccnet.CCNet.from_config("ccnet_small", num_classes=3)
    output = model(torch.rand(2, 3, 32, 32) * 255)
    (output.logits.square().sum() + output.auxiliary_logits.square().sum()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_logits_are_resized_with_the_models_align_corners():
    model = ccnet.CCNet.from_config("ccnet_tiny", num_classes=2)
    aligned = ccnet.CCNet(dataclasses.replace(model.config, align_corners=True))
    logits = torch.randn(1, 2, 3, 4)
    for network, align in ((model, False), (aligned, True)):
        expected = F.interpolate(logits, size=(7, 9), mode="bilinear", align_corners=align)
        assert torch.equal(network.resize_logits(logits, (7, 9)), expected)


def test_unknown_attention_backend_is_refused_at_once(tiny):
    with pytest.raises(ccnet.AttentionError, match="Did you mean 'torch'"):
        tiny.use_attention("torhc")
    tiny.use_attention("torch")
    assert tiny.head.attention.cca.backend == "torch"


def test_auxiliary_head_can_be_left_out(tiny):
    model = ccnet.CCNet.from_config("ccnet_small", num_classes=3)
    assert model(torch.zeros(1, 3, 16, 16), auxiliary=False).auxiliary_logits is None
    assert tiny(torch.zeros(1, 3, 16, 16)).auxiliary_logits is None


def test_num_classes_must_agree_with_the_names():
    with pytest.raises(ccnet.ConfigError, match="num_classes is 3 but classes has 2 names"):
        ccnet.CCNet.from_config("ccnet_tiny", num_classes=3, classes=["a", "b"])


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 4, 16, 16), (1, 3, 0, 16)])
def test_wrong_shape_is_named(tiny, shape):
    with pytest.raises(ccnet.PictureError, match=r"Expected pictures \(B, 3, H, W\), got"):
        tiny(torch.zeros(shape))


def test_array_in_place_of_a_tensor_is_refused(tiny):
    with pytest.raises(ccnet.PictureError, match=r"as a tensor \(B, 3, H, W\), got ndarray"):
        tiny(torch.zeros(1, 3, 16, 16).numpy())


def test_name_in_place_of_a_configuration_is_refused():
    with pytest.raises(ccnet.ConfigError, match=r"got 'ccnet_tiny'; CCNet\.from_config also takes the name"):
        ccnet.CCNet("ccnet_tiny")


def test_backbone_weights_are_loaded_strictly(tiny, tmp_path):
    from safetensors.torch import save_file

    file = tmp_path / "backbone.safetensors"
    save_file(tiny.backbone.state_dict(), file)
    model = ccnet.CCNet.from_config("ccnet_tiny", backbone_weights=file)
    assert torch.equal(model.backbone.stem[0].weight, tiny.backbone.stem[0].weight)
    with pytest.raises(ccnet.WeightsError, match=r"backbone\.safetensors: \d+ of its 36 tensors match"):
        ccnet.CCNet.from_config("ccnet_small", backbone_weights=file)


def test_residual_branches_start_at_zero():
    config = ccnet.CCNet.from_config("ccnet_small").config.backbone
    assert (ResNet(config).layer1[0].bn2.weight == 0).all()
