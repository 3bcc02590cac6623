"""transformers' own calls on weights folders: from disk and from a Hub on the loopback interface."""

import dataclasses
import logging
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import ccnet_core as ccnet

pytest.importorskip("transformers", reason="the extra transformers is not installed")

import transformers
from transformers import AutoConfig, AutoImageProcessor, AutoModelForSemanticSegmentation, pipeline

from ccnet_core.transformers import CCNetConfig, CCNetForSemanticSegmentation, CCNetImageProcessor

NAME = "org/name"


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(params=["folder", "hub"])
def source(request, weights, hub_server):
    """A weights folder, on disk or on the Hub."""
    if request.param == "folder":
        return weights
    hub_server.add(NAME, content(weights))
    return NAME


def test_auto_classes_load_what_ccnet_loads(source, tiny, picture):
    model = AutoModelForSemanticSegmentation.from_pretrained(source)
    processor = AutoImageProcessor.from_pretrained(source)
    assert (type(model), type(processor)) == (CCNetForSemanticSegmentation, CCNetImageProcessor)
    assert type(AutoConfig.from_pretrained(source)) is CCNetConfig
    assert not model.training
    inputs = processor(Image.fromarray(picture), return_tensors="pt")
    expected = tiny(torch.from_numpy(picture).permute(2, 0, 1)[None]).logits
    assert torch.equal(model(**inputs).logits, expected)


@pytest.mark.parametrize("align_corners", [False, True])
def test_pipeline_gives_the_labels_of_predict(align_corners, enliven, picture, tmp_path, caplog):
    network = enliven(ccnet.CCNet.from_config("ccnet_tiny", num_classes=9)).eval()
    changed = ccnet.CCNet(dataclasses.replace(network.config, align_corners=align_corners)).eval()
    changed.load_state_dict(network.state_dict())
    changed.save_pretrained(tmp_path / "weights")
    Image.fromarray(picture).save(tmp_path / "photo.png")
    transformers.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        segment = pipeline("image-segmentation", model=str(tmp_path / "weights"), device="cpu")
        segments = segment(str(tmp_path / "photo.png"))
    transformers.utils.logging.disable_propagation()
    assert not caplog.messages
    labels = ccnet.predict(changed, picture).labels
    found = {segment["label"]: np.asarray(segment["mask"]) for segment in segments}
    assert sorted(found) == sorted(network.config.classes[index] for index in np.unique(labels))
    assert len(found) > 1
    for name, mask in found.items():
        assert np.array_equal(mask, np.where(labels == network.config.classes.index(name), 255, 0)), name
    assert all(segment["score"] is None for segment in segments)


def test_pipeline_takes_a_repository_and_objects(hub_server, weights, tiny, picture):
    hub_server.add(NAME, content(weights))
    model = AutoModelForSemanticSegmentation.from_pretrained(NAME)
    processor = AutoImageProcessor.from_pretrained(NAME)
    first = pipeline("image-segmentation", model=NAME)(Image.fromarray(picture))
    second = pipeline("image-segmentation", model=model, image_processor=processor)(Image.fromarray(picture))
    for ours, theirs in zip(first, second, strict=True):
        assert (ours["label"], ours["mask"].tobytes()) == (theirs["label"], theirs["mask"].tobytes())


def test_weights_of_the_hub_are_held_against_their_digests(hub_server, weights):
    hub_server.add(NAME, content(weights))
    hub_server.order("GET /objects", garbled=True, times=99)
    with pytest.raises(ccnet.WeightsError, match="what comes is not what the Hub announced"):
        AutoModelForSemanticSegmentation.from_pretrained(NAME)


def run_python(code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)


def test_without_the_door_transformers_says_that_it_knows_no_ccnet(weights):
    done = run_python(
        "import sys, transformers; transformers.AutoModelForSemanticSegmentation.from_pretrained(sys.argv[1])", weights
    )
    assert "model type `ccnet`" in done.stderr


def test_only_the_door_needs_the_extra_and_it_says_what_to_install():
    code = "import sys; sys.modules['transformers'] = None; import ccnet_core.cli; print('core'); "
    done = run_python(code + "import ccnet_core.transformers")
    assert done.stdout == "core\n"
    missing = "ImportError: ccnet_core.transformers needs a package that is not installed (transformers): "
    assert missing + 'python -m pip install "ccnet-core[transformers]"' in done.stderr
