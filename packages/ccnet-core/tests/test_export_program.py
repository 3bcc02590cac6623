import json

import numpy as np
import pytest
import torch
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

import ccnet_core as ccnet
from ccnet_core.errors import ExportError
from ccnet_core.export import export_program

SEVERAL = pytest.mark.parametrize("network", ["stride 4", "the authors' form", "non-local", "parsing"], indirect=True)
"""Those whose graphs differ most; test_export_onnx_file.py captures all of them."""


@pytest.fixture(scope="module")
def path(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "network.pt2"
    assert export_program(network, path).equal_labels == 1
    return path


@pytest.fixture(scope="module")
def loaded(path):
    return torch.export.load(path)


@pytest.fixture(scope="module")
def program(loaded):
    return loaded.module()


@SEVERAL
def test_labels_and_logits_are_those_of_the_network(network, program, pictures):
    for image in pictures:
        labels, logits = program(image)
        expected = [ccnet.predict(network, picture, mode="whole").labels for picture in image]
        assert np.array_equal(labels.numpy(), np.stack(expected))
        with torch.no_grad():
            reference = network(image, auxiliary=False).logits
        assert (logits - reference).abs().max() < 1e-4 * reference.abs().max()
        assert not logits.requires_grad


@SEVERAL
def test_graph_has_no_shape_that_depends_on_data_and_no_diag(loaded):
    values = [node.meta["val"] for node in loaded.graph.nodes if "val" in node.meta]
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    assert len(tensors) > 50
    assert not any(free_unbacked_symbols(tensor) for tensor in tensors)
    names = [str(node.target) for node in loaded.graph.nodes if node.op == "call_function"]
    assert not [name for name in names if name.startswith(("aten.diag", "aten.nonzero", "aten.item", "aten._local"))]


@SEVERAL
def test_file_is_alone_and_describes_the_network(network, path):
    assert [file.name for file in path.parent.iterdir()] == ["network.pt2"]
    extra = {"ccnet.json": ""}
    torch.export.load(path, extra_files=extra)
    assert json.loads(json.loads(extra["ccnet.json"])["classes"]) == list(network.config.classes)


def test_wrong_answer_leaves_no_file(tmp_path, monkeypatch):
    right = torch.export.load

    class Wrong:
        def __init__(self, path):
            self.program = right(path).module()

        def module(self):
            return lambda image: 1.01 * self.program(image)

    monkeypatch.setattr(torch.export, "load", Wrong)
    model = ccnet.CCNet.from_config("ccnet_tiny", recurrence=0)
    with pytest.raises(ExportError, match="The file's logits differ by"):
        export_program(model, tmp_path / "tiny.pt2", output="logits")
    assert not list(tmp_path.iterdir())
