import json

import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.errors import ExportError
from ccnet_core.export import export_program


@pytest.fixture(scope="module")
def path(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "network.pt2"
    assert export_program(network, path).equal_labels == 1
    return path


@pytest.fixture(scope="module")
def program(path):
    return torch.export.load(path).module()


def test_labels_and_logits_are_those_of_the_network(network, program, pictures):
    labels, logits = program(pictures)
    expected = [ccnet.predict(network, picture, mode="whole").labels for picture in pictures]
    assert np.array_equal(labels.numpy(), np.stack(expected))
    with torch.no_grad():
        reference = network(pictures, auxiliary=False).logits
    assert (logits - reference).abs().max() < 1e-4 * reference.abs().max()
    assert not logits.requires_grad


def test_file_is_alone_and_describes_the_network(network, path):
    assert [file.name for file in path.parent.iterdir()] == ["network.pt2"]
    extra = {"ccnet.json": ""}
    torch.export.load(path, extra_files=extra)
    assert json.loads(json.loads(extra["ccnet.json"])["classes"]) == list(network.config.classes)


def test_wrong_answer_leaves_no_file(tiny, tmp_path, monkeypatch):
    right = torch.export.load

    class Wrong:
        def __init__(self, path):
            self.program = right(path).module()

        def module(self):
            return lambda image: 1.01 * self.program(image)

    monkeypatch.setattr(torch.export, "load", Wrong)
    with pytest.raises(ExportError, match="The file's logits differ by"):
        export_program(tiny, tmp_path / "tiny.pt2", output="logits")
    assert not list(tmp_path.iterdir())
