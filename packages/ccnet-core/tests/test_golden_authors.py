"""The authors' network against its own outputs (speedinghzl/CCNet, branch pure-python), on the same weights.

The reference outputs were made with plain batch norm and leaky ReLU in place of InPlaceABN.
"""

import dataclasses
import json

import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.config import HeadConfig
from ccnet_core.heads import Classifier, ConvNormRelu, CrissCrossHead
from ccnet_core.layouts import our_name
from ccnet_core.zoo import load_config


@pytest.fixture(scope="module")
def described(golden):
    return json.loads((golden / "modules.json").read_text())


@pytest.fixture
def stored(golden):
    return np.load(golden / "modules.npz")


@pytest.fixture(scope="module")
def authors(described, fill):
    """The authors' network; the reference outputs were made with pixels divided by 58."""
    config = load_config("ccnet_r101-d8_authors")
    pixels = dataclasses.replace(config.pixels, std=(58.0, 58.0, 58.0))
    model = ccnet.CCNet(dataclasses.replace(config, pixels=pixels))
    reference = described["official_Seg_Model_R2"]
    model.load_state_dict(filled(fill, reference["state_dict"]))
    assert sum(parameter.numel() for parameter in model.parameters()) == reference["n_params"]
    return model.eval()


@pytest.fixture(scope="module")
def outputs(authors, fill):
    rgb = np.ascontiguousarray(fill.image_struct(129, 193)[..., ::-1])
    with torch.no_grad():
        return authors(torch.from_numpy(rgb).permute(2, 0, 1)[None])


def filled(fill, state_dict, name=lambda key: our_name(key, "official")):
    # Not through the converter: it takes the weights of batch norms for InPlaceABN's, and adds eps.
    state = fill.fill_state_dict({key: (shape, getattr(torch, dtype)) for key, shape, dtype in state_dict})
    return {name(key): tensor for key, tensor in state.items()}


def name_in_head(key):
    return our_name(f"head.{key}", "official").removeprefix("head.")


def test_logits_of_both_heads(outputs, stored):
    np.testing.assert_allclose(outputs.logits[0], stored["official_Seg_Model_R2/out0"], atol=1e-3)
    np.testing.assert_allclose(outputs.auxiliary_logits[0], stored["official_Seg_Model_R2/dsn"], atol=1e-3)


def test_loss_of_both_heads(authors, outputs, described, fill):
    labels = torch.from_numpy(fill.label_map(129, 193, 19))[None]
    loss = ccnet.CrossEntropy()
    main, auxiliary = (loss(authors.resize_logits(logits, (129, 193)), labels) for logits in outputs[:2])
    losses = [main.item(), auxiliary.item(), (main + 0.4 * auxiliary).item()]
    np.testing.assert_allclose(losses, described["official_CriterionDSN"], rtol=1e-5)


@pytest.mark.parametrize("recurrence", [1, 2, 3])
def test_head_and_all_its_gradients(described, stored, fill, recurrence):
    name = f"official_RCCAModule_in256_out512_nc19_R{recurrence}"
    head = CrissCrossHead(256, 19, HeadConfig(channels=64, recurrence=recurrence, negative_slope=0.01))
    # The authors fix 512 channels behind the concatenation, whatever stands before it.
    head.fuse = ConvNormRelu(256 + 64, 512, 3, negative_slope=0.01)
    head.classify = Classifier(512, 19, 0.1)
    head.load_state_dict(filled(fill, described[name]["state_dict"], name_in_head))
    x = torch.from_numpy((np.random.RandomState(7).standard_normal((2, 256, 9, 13)) * 0.3).astype(np.float32))
    # float64: in float32 the number of threads decides on which side of 0 the input of one leaky ReLU is.
    x = x.double().clamp(min=0).requires_grad_()
    out, _ = head.double().eval()(x)
    out.backward(torch.from_numpy(np.random.RandomState(99).standard_normal(out.shape)).float().double())
    np.testing.assert_allclose(out.detach(), stored[f"{name}/out"], atol=1e-4)
    np.testing.assert_allclose(x.grad, stored[f"{name}/grad_x"], atol=1e-5 * np.abs(stored[f"{name}/grad_x"]).max())
    parameters = dict(head.named_parameters())
    assert {name_in_head(key) for key in described[name]["grad_norms"]} == set(parameters)
    for key, expected in described[name]["grad_norms"].items():
        actual = parameters[name_in_head(key)].grad.norm().item()
        # A constant in every key changes no softmax: the exact gradient of its bias is 0.
        assert actual == pytest.approx(expected, rel=1e-5, abs=1e-4), key
