import numpy as np
import onnxruntime
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.export import onnx_file

MEASURED = "compared with torch: logits differ by at most "
EQUAL = "100.0000% of labels are equal (batch x height x width: 2x64x64, 1x65x97, 2x129x80)"


def test_onnx_is_written_and_compared(run, tiny, weights, picture, tmp_path):
    path = tmp_path / "new" / "tiny.onnx"
    done = run("export", "--model", weights, "--out", path)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == f"{weights} -> {path} (onnx, {path.stat().st_size / 1e6:.1f} MB)"
    assert second.startswith(MEASURED)
    assert second.endswith(EQUAL)
    image = picture.transpose(2, 0, 1)[None].copy()
    (labels,) = onnxruntime.InferenceSession(path).run(["labels"], {"image": image})
    assert np.array_equal(labels[0], ccnet.predict(tiny, picture).labels)


def test_pt2_is_a_program_and_may_give_logits_alone(run, tiny, weights, tmp_path):
    done = run("export", "--model", weights, "--out", tmp_path / "tiny.pt2", "--output", "logits")
    assert f"{tmp_path}/tiny.pt2 (program, " in done.stdout
    image = torch.randint(0, 256, (1, 3, 33, 50), dtype=torch.uint8)
    logits = torch.export.load(tmp_path / "tiny.pt2").module()(image)
    torch.testing.assert_close(logits, tiny(image).logits.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--out", "tiny.onx"], "--out tiny.onx: the ending does not fit: .onnx and .pt2 are known. Give such a name."),
        (["--out", "tiny"], "--out tiny: the ending does not fit: .onnx and .pt2 are known. Give such a name."),
        (
            ["--out", "tiny.onnx", "--format", "aot"],
            "--out tiny.onnx: the ending does not fit: --format aot needs .pt2. Give such a name.",
        ),
        (
            ["--out", "tiny.onnx", "--size", "64,64"],
            "--size belongs to --format aot. The other formats take pictures of any size.",
        ),
    ],
)
def test_wrong_names_are_refused_before_the_model_is_loaded(run, arguments, reason):
    done = run("export", "--model", "no/such-model", *arguments)
    assert (done.returncode, done.stderr) == (2, f"error: {reason}\n")


def test_missing_extra_is_said_before_the_model_is_loaded(run, monkeypatch):
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    done = run("export", "--model", "no/such-model", "--out", "tiny.onnx")
    said = "error: ONNX needs packages that are not installed (onnx, onnxruntime, onnxscript): "
    assert (done.returncode, done.stderr) == (2, f'{said}python -m pip install "ccnet-core[onnx]"\n')


def test_place_that_cannot_be_written_is_named(run, weights, tmp_path):
    (tmp_path / "folder.pt2").mkdir()
    done = run("export", "--model", weights, "--out", tmp_path / "folder.pt2")
    assert done.stderr == f"error: {tmp_path}/folder.pt2: this is a folder. Give the name of a file.\n"
