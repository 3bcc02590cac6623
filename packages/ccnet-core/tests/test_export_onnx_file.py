import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.errors import ExportError
from ccnet_core.export import export_onnx, onnx_file

DATA_DEPENDENT = {"NonZero", "Compress", "Unique", "NonMaxSuppression", "Loop", "If", "Scan", "SequenceAt"}


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    return path, export_onnx(network, path)


@pytest.fixture(scope="module")
def run(exported):
    session = onnxruntime.InferenceSession(exported[0])
    return lambda names, image: session.run(names, {"image": image.numpy()})


def test_labels_and_logits_are_those_of_the_network(network, run, pictures):
    for image in pictures:
        labels, logits = run(["labels", "logits"], image)
        expected = [ccnet.predict(network, picture, mode="whole").labels for picture in image]
        assert labels.dtype == np.uint8
        assert np.array_equal(labels, np.stack(expected))
        with torch.no_grad():
            reference = network(image, auxiliary=False).logits
        assert (torch.from_numpy(logits) - reference).abs().max() < 1e-4 * reference.abs().max()


def test_one_cell_of_the_feature_map_is_enough(network, run):
    image = torch.full((1, 3, 5, 7), 90, dtype=torch.uint8)
    assert np.array_equal(run(["labels"], image)[0][0], ccnet.predict(network, image[0], mode="whole").labels)


def test_what_was_measured_is_returned(exported):
    agreement = exported[1]
    assert agreement.largest_difference < 1e-4 * agreement.largest_logit
    assert agreement.equal_labels == 1


def test_file_is_whole_free_in_size_and_describes_the_network(network, exported):
    path, _ = exported
    assert [file.name for file in path.parent.iterdir()] == ["network.onnx"]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    sizes = [[dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]]
    sizes += [[dim.dim_param or dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim]]
    assert sizes == [["batch", 3, "height", "width"], ["batch", "height", "width"]]
    assert not DATA_DEPENDENT & {node.op_type for node in model.graph.node}
    assert not any(node.metadata_props for node in model.graph.node)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["classes"] == '["class 0", "class 1", "class 2", "class 3", "class 4"]'
    assert facts["align_corners"] == str(network.config.align_corners).lower()


def test_wrong_answer_leaves_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(b"older")
    right = onnx_file._runner

    def wrong(path):
        run = right(path)
        return lambda image: [logits.flip(2) for logits in run(image)]

    monkeypatch.setattr(onnx_file, "_runner", wrong)
    model = ccnet.CCNet.from_config("ccnet_tiny", recurrence=0)
    with pytest.raises(ExportError, match="The file's logits differ by"):
        export_onnx(model, path, output="logits")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("tiny.onnx", b"older")]


def test_missing_extra_is_named_with_how_to_install_it(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(ExportError, match=r'not installed \(onnxruntime\): python -m pip install "ccnet-core\[onnx\]"'):
        export_onnx(tiny, tmp_path / "tiny.onnx")


def test_weights_that_one_file_cannot_hold_are_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "LARGEST", 100_000)
    with pytest.raises(ExportError, match=r"one ONNX file holds less than 2 GiB, and these weights take [0-9]+ bytes"):
        export_onnx(tiny, tmp_path / "tiny.onnx")
