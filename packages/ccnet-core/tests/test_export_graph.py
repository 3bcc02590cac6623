import copy
import dataclasses

import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.errors import ConfigError
from ccnet_core.export.graph import Deployed, metadata


def test_outputs_are_what_predict_gives_and_the_logits(network, pictures):
    deployed, logits_alone, exact = Deployed(network, "labels"), Deployed(network, "logits"), copy.deepcopy(network)
    exact.double()
    for image in pictures:
        labels, logits = deployed(image)
        expected = [ccnet.predict(network, picture, mode="whole").labels for picture in image]
        assert labels.dtype == torch.uint8
        assert np.array_equal(labels.numpy(), np.stack(expected))
        with torch.no_grad():
            reference = exact(image).logits
        assert (logits - reference).abs().max() < 1e-4 * reference.abs().max()
        assert torch.equal(logits_alone(image), logits)


def test_a_copy_is_exported_without_what_training_needs(network):
    state = copy.deepcopy(network.state_dict())
    deployed = Deployed(network.train().double(), "labels")
    kept = set(deployed.state_dict())
    unused = ("auxiliary", "consistency", "classify_first", "edge_")
    assert not [name for name in kept if any(part in name for part in unused)]
    assert {tensor.dtype for tensor in deployed.state_dict().values() if tensor.is_floating_point()} == {torch.float32}
    assert not any(module.training for module in deployed.modules())
    assert network.training
    assert network.head.consistency is not None
    network.eval().float()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_more_than_256_classes_are_int32():
    model = ccnet.CCNet.from_config("ccnet_tiny", num_classes=257)
    labels, _ = Deployed(model, "labels")(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    assert labels.dtype == torch.int32


def test_unknown_output_is_refused(tiny):
    with pytest.raises(ConfigError, match="output must be 'labels' or 'logits', got 'scores'"):
        Deployed(tiny, "scores")


def test_stride_is_that_of_the_logits(network):
    logits = network(torch.zeros(1, 3, 64, 96, dtype=torch.uint8), auxiliary=False).logits
    assert 64 // network.logits_stride in (logits.shape[2], logits.shape[2] - 1)  # ceil_mode may add one


def test_metadata_hold_what_a_reader_of_labels_needs(tiny):
    facts = metadata(tiny)
    assert facts["classes"] == '["class 0", "class 1", "class 2", "class 3"]'
    assert facts["palette"] == "[[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]"
    assert (facts["model"], facts["align_corners"], facts["stride"]) == ("ccnet_tiny", "false", "4")
    assert "fit" not in facts


def test_metadata_hold_the_crop_into_which_pictures_must_be_fitted(tiny):
    plan = ccnet.InferencePlan(mode="fit", crop=(473, 384))
    tiny.config = dataclasses.replace(tiny.config, inference=plan)
    assert metadata(tiny)["fit"] == "[473, 384]"
