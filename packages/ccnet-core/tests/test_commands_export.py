import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ccnet_core as ccnet
from ccnet_core.export import onnx_file

PAGE = Path(__file__).resolve().parents[3] / "docs" / "export.md"
MEASURED = "compared with torch: logits differ by at most "
EQUAL = "100.0000% of labels are equal (batch x height x width: 2x64x64, 1x65x97, 2x129x80)"


def test_onnx_is_written_and_compared_and_python_of_the_page_runs_it(run, tiny, weights, tmp_path, monkeypatch):
    path = tmp_path / "new" / "network.onnx"
    done = run("export", "--model", weights, "--out", path)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == f"{weights} -> {path} (onnx, {path.stat().st_size / 1e6:.1f} MB)"
    assert second.startswith(MEASURED)
    assert second.endswith(EQUAL)
    monkeypatch.chdir(path.parent)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (33, 50, 3), dtype=np.uint8)).save("street.jpg")
    snippet = re.search(r"```python\n(import json\n.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[1]
    exec(compile(snippet, str(PAGE), "exec"), {})
    with Image.open("labels.png") as saved:
        assert np.array_equal(np.asarray(saved), ccnet.predict(tiny, "street.jpg").labels)
        assert saved.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]


def test_a_model_that_fits_pictures_says_that_its_file_does_not(run, tiny, tmp_path):
    plan = ccnet.InferencePlan(mode="fit", crop=(24, 31))
    tiny.config = dataclasses.replace(tiny.config, inference=plan)
    tiny.save_pretrained(tmp_path / "fit")
    done = run("export", "--model", tmp_path / "fit", "--out", tmp_path / "tiny.pt2", "--output", "logits")
    says = "this model fits pictures into 24x31 pixels (height x width), which the file does not do"
    assert done.stdout.splitlines()[2:] == [says]


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
