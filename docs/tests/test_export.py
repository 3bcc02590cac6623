"""The Python of the page about export runs as it stands there, on a file that the page's command wrote."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ccnet_core as ccnet
from ccnet_core.cli import main

PAGE = (Path(__file__).resolve().parents[1] / "export.md").read_text("utf-8")
SECTION = r"^## {}\n.*?```python\n(.*?)```"


def code_of(title):
    return re.search(SECTION.format(re.escape(title)), PAGE, re.DOTALL | re.MULTILINE)[1]


@pytest.fixture
def expected(tmp_path, monkeypatch):
    """Save a network and a picture in an empty folder, and return the picture with its labels."""
    monkeypatch.chdir(tmp_path)
    stripes = np.repeat(np.uint8([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]]), 24, axis=0)
    Image.fromarray(np.tile(stripes, (64, 1, 1))).save("street.jpg")
    picture = np.asarray(Image.open("street.jpg").convert("RGB"))
    model = ccnet.CCNet.from_config("ccnet_tiny", classes=["ground", "sky", "car"]).eval()
    with torch.no_grad():  # a fresh classifier mostly gives one class everywhere
        model.head.classify.conv.bias -= model(batch(picture)).logits.mean((0, 2, 3))
    model.save_pretrained("FOLDER")
    labels = ccnet.predict(model, picture, mode="whole").labels
    assert len(np.unique(labels)) > 1
    return picture, labels


def batch(picture):
    return torch.tensor(picture).permute(2, 0, 1)[None].contiguous()


def test_onnx(expected):
    _, labels = expected
    assert main(["export", "--model", "FOLDER", "--out", "network.onnx"]) == 0
    exec(code_of("Run an ONNX file"), {})
    assert (np.asarray(Image.open("labels.png")) == labels).mean() > 0.999


def test_torch_export(expected):
    picture, labels = expected
    assert main(["export", "--model", "FOLDER", "--out", "network.pt2"]) == 0
    names = {"torch": torch, "image": batch(picture)}
    exec(code_of("Run a program of torch.export"), names)
    assert (names["labels"][0].numpy() == labels).mean() > 0.999
    extra = {"ccnet.json": ""}
    torch.export.load("network.pt2", extra_files=extra)
    assert json.loads(json.loads(extra["ccnet.json"])["classes"]) == ["ground", "sky", "car"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_aot(expected):
    picture, labels = expected
    assert main(["export", "--model", "FOLDER", "--out", "network.pt2", "--format", "aot"]) == 0
    names = {"image": batch(picture)}
    exec(code_of("Run a package of AOTInductor"), names)
    assert (names["labels"][0].numpy() == labels).mean() > 0.999
