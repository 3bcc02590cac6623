"""The plain loop trains the network of the recipe `camvid`, and weighs classes as the trainer does."""

import numpy as np
import pytest
import torch
from camvid_plain import build_model, class_weights, normalised
from mmseg_peer import fill, our_name

import ccnet_core as ccnet
from ccnet_train import load_recipe
from ccnet_train.losses import inverse_sqrt_frequency


@pytest.mark.parametrize("recurrence", [0, 2])
def test_both_are_the_same_network(recurrence):
    name = load_recipe("camvid").model.name
    theirs, ours = build_model(recurrence, 11), ccnet.CCNet.from_config(name, num_classes=11, recurrence=recurrence)
    assert sum(p.numel() for p in theirs.parameters()) == 964_263
    fill(theirs)
    state = {our_name(key): tensor for key, tensor in theirs.state_dict().items()}
    gamma = "head.attention.cca.gamma"
    ours.load_state_dict({**state, gamma: state[gamma].view(1)} if recurrence else without_attention(state))
    theirs.eval(), ours.eval()
    pictures = torch.randint(0, 256, (2, 3, 75, 101), dtype=torch.uint8)
    with torch.no_grad():
        features, output = theirs.extract_feat(normalised(theirs, pictures)), ours(pictures)
        for logits, head in zip(output[:2], (theirs.decode_head, theirs.auxiliary_head), strict=True):
            assert logits.std() > 0.5
            torch.testing.assert_close(logits, head(features), atol=1e-3, rtol=1e-4)


def without_attention(state):
    return {key: tensor for key, tensor in state.items() if "attention" not in key}


def test_classes_are_weighed_as_by_the_trainer():
    labels = np.array([[0, 0, 0, 0, 1], [2, 2, 1, 0, 255]], np.uint8)
    expected = inverse_sqrt_frequency(torch.tensor([5, 2, 2]))
    torch.testing.assert_close(class_weights(iter(labels), 3), expected)
