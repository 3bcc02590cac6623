"""Fresh weights have the distributions of mmsegmentation's `init_weights`."""

from collections import defaultdict

import pytest
import torch
from mmseg.registry import MODELS
from mmseg_peer import our_name, settings_of

import ccnet_core as ccnet

NAME = "ccnet_r50-d8_4xb2-40k_cityscapes-512x1024"


@pytest.fixture(scope="module")
def fresh():
    """Parameters of both networks, by our names."""
    theirs = MODELS.build(settings_of(NAME).model)
    theirs.init_weights()
    named = {our_name(key): parameter.detach() for key, parameter in theirs.named_parameters()}
    return named, dict(ccnet.CCNet.from_config(NAME).named_parameters())


def test_constants_are_the_same(fresh):
    theirs, ours = fresh
    constant = {key for key, tensor in theirs.items() if tensor.numel() == 1 or tensor.std() == 0}
    assert constant == {key for key, tensor in ours.items() if tensor.numel() == 1 or tensor.std() == 0}
    for key in constant:
        assert (ours[key] == theirs[key].flatten()[0]).all(), key


def test_spread_of_every_weight(fresh):
    theirs, ours = fresh
    weights = [key for key, tensor in theirs.items() if tensor.ndim == 4]
    assert len(weights) == 64
    for key in weights:
        allowed = 4 / theirs[key].numel() ** 0.5
        assert ours[key].std().item() == pytest.approx(theirs[key].std().item(), rel=allowed), key
        assert abs(ours[key].mean()) < allowed * ours[key].std(), key


def test_normal_and_uniform_weights(fresh):
    theirs, ours = fresh
    # The fourth moment is 3 for a normal distribution and 1.8 for a uniform one.
    for key, tensor in theirs.items():
        if tensor.ndim == 4 and tensor.numel() > 8000:
            assert kurtosis(ours[key]) == pytest.approx(kurtosis(tensor), rel=0.15), key


def test_biases_of_attention(fresh):
    theirs, ours = fresh
    biases = defaultdict(list)
    for key in theirs:
        if "attention" in key and key.endswith("bias"):
            biases["theirs"].append(theirs[key].abs().max())
            biases["ours"].append(ours[key].abs().max())
    torch.testing.assert_close(torch.stack(biases["ours"]), torch.stack(biases["theirs"]), rtol=0.15, atol=0)


def kurtosis(tensor):
    centred = tensor - tensor.mean()
    return (centred**4).mean().item() / (centred**2).mean().item() ** 2
