import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import ccnet_core as ccnet

pytest.importorskip("transformers", reason="the extra transformers is not installed")

from transformers import AutoImageProcessor

from ccnet_core.resize import resize_bytes
from ccnet_core.transformers import CCNetImageProcessor


@pytest.fixture
def processor(weights):
    return AutoImageProcessor.from_pretrained(weights)


@pytest.mark.parametrize(
    "form",
    [
        Image.fromarray,
        lambda picture: picture,
        lambda picture: torch.from_numpy(picture).permute(2, 0, 1),
        lambda picture: [picture, picture],
        lambda picture: np.stack([picture, picture]),
    ],
    ids=["Pillow", "array", "tensor", "list", "batch"],
)
def test_pictures_stay_bytes_of_their_own_size(processor, picture, form):
    pixels = processor(form(picture), return_tensors="pt")["pixel_values"]
    assert (pixels.dtype, pixels.shape[1:]) == (torch.uint8, (3, 37, 51))
    for one in pixels:
        assert np.array_equal(one.permute(1, 2, 0), picture)


def test_file_and_grey_picture_become_rgb(processor, photo, picture):
    assert np.array_equal(processor(str(photo))["pixel_values"][0], picture.transpose(2, 0, 1))
    grey = processor(Image.fromarray(picture[..., 0]))["pixel_values"][0]
    assert np.array_equal(grey, np.stack([picture[..., 0]] * 3))


def test_resizing_is_predicts_own_and_maps_keep_their_classes(processor, picture):
    labels = np.arange(37 * 51).reshape(37, 51) % 300
    inputs = processor(picture, labels, do_resize=True, size={"height": 20, "width": 30}, return_tensors="pt")
    expected = resize_bytes(torch.from_numpy(picture).permute(2, 0, 1)[None], (20, 30))
    assert torch.equal(inputs["pixel_values"], expected)
    rows, columns = ((np.arange(20) + 0.5) * 37 / 20).astype(int), ((np.arange(30) + 0.5) * 51 / 30).astype(int)
    assert np.array_equal(inputs["labels"][0], labels[rows][:, columns])
    assert inputs["labels"].dtype == torch.int64


def test_several_sizes_are_a_list_and_no_tensor(processor, picture):
    pictures = [picture, picture[:30]]
    assert [pixels.shape for pixels in processor(pictures)["pixel_values"]] == [(3, 37, 51), (3, 30, 51)]
    with pytest.raises(ccnet.PictureError, match=r"2 sizes, such as .* are not one tensor\. Give them one by one"):
        processor(pictures, return_tensors="pt")
    with pytest.raises(ccnet.PictureError, match="are not one tensor"):
        processor(picture, np.zeros((5, 5), np.uint8), return_tensors="pt")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda p: CCNetImageProcessor(do_rescale=True), "do_rescale and do_normalize must be false"),
        (lambda p: CCNetImageProcessor(do_normalize=True), "do_rescale and do_normalize must be false"),
        (lambda p: CCNetImageProcessor()(p, do_rescale=True), "do_rescale: not done here"),
        (lambda p: CCNetImageProcessor(do_resize=True)(p), "do_resize needs size="),
        (lambda p: CCNetImageProcessor(do_resize=True, size={"shortest_edge": 9})(p), "do_resize needs size="),
        (lambda p: CCNetImageProcessor(fit={"height": 9}), "the processor needs fit="),
        (
            lambda p: CCNetImageProcessor(fit={"height": 9, "width": 1}),
            "mode 'fit' needs crop, height and width from 2",
        ),
        (lambda p: CCNetImageProcessor(fit={"height": 9, "width": 9})(p, do_resize=True), "Leave do_resize out"),
        (lambda p: CCNetImageProcessor()(p, p), r"integers \(H, W\), got uint8 \(37, 51, 3\)"),
        (lambda p: CCNetImageProcessor()(p / 255), r"must be uint8 \(H, W, 3\)"),
    ],
)
def test_what_would_be_done_twice_or_not_at_all_is_refused(picture, build, message):
    with pytest.raises(ccnet.CCNetError, match=message):
        build(picture)


def test_labels_are_predicts(tiny, processor, picture):
    logits = tiny(processor([picture, picture[::-1].copy()], return_tensors="pt")["pixel_values"]).logits
    outputs = SimpleNamespace(logits=logits)
    found = processor.post_process_semantic_segmentation(outputs, [(37, 51), (37, 51)])
    for labels, one in zip(found, (picture, picture[::-1].copy()), strict=True):
        assert np.array_equal(labels, ccnet.predict(tiny, one).labels)
    sizes = torch.tensor([[37, 51], [9, 8]])
    assert [labels.shape for labels in processor.post_process_semantic_segmentation(outputs, sizes)] == [
        (37, 51),
        (9, 8),
    ]
    small = processor.post_process_semantic_segmentation(outputs)
    assert torch.equal(torch.stack(small), logits.argmax(1))
    with pytest.raises(ccnet.ConfigError, match="2 pictures but 1 target_sizes"):
        processor.post_process_semantic_segmentation(outputs, [(37, 51)])


@pytest.fixture
def fitting(tiny, tmp_path):
    """The processor of a model that fits pictures into 24 x 31."""
    plan = ccnet.InferencePlan(mode="fit", crop=(24, 31))
    tiny.config = dataclasses.replace(tiny.config, inference=plan)
    tiny.save_pretrained(tmp_path / "fit")
    return AutoImageProcessor.from_pretrained(tmp_path / "fit")


def test_labels_of_a_model_that_fits_pictures_are_predicts_whatever_their_sizes(tiny, fitting, picture):
    pictures = [picture, picture[:, :9].copy(), picture[:1].copy()]
    inputs = fitting(pictures, return_tensors="pt")
    assert inputs["pixel_values"].shape == (3, 3, 24, 31)
    outputs = SimpleNamespace(logits=tiny(inputs["pixel_values"]).logits)
    found = fitting.post_process_semantic_segmentation(outputs, [one.shape[:2] for one in pictures])
    for labels, one in zip(found, pictures, strict=True):
        assert np.array_equal(labels, ccnet.predict(tiny, one).labels)


@pytest.mark.parametrize("size", [(37, 51), (80, 9), (24, 31), (1, 1)])
def test_maps_are_fitted_with_their_pictures(fitting, size):
    labels = np.random.default_rng(0).integers(0, 200, size)
    found = fitting(np.zeros((*size, 3), np.uint8), labels, return_tensors="pt")["labels"][0]
    factor = 30 / max(size[1] - 1, (size[0] - 1) * 31 / 24, 1)
    for y in range(24):
        for x in range(31):
            row, column = (
                int(np.floor((extent - 1) / 2 + (place - middle) / factor + 0.5))
                for place, extent, middle in zip((y, x), size, (11.5, 15), strict=True)
            )
            inside = 0 <= row < size[0] and 0 <= column < size[1]
            assert found[y, x] == (labels[row, column] if inside else 255)


def test_saved_processor_of_a_fit_is_the_file_of_the_weights_folder(fitting, tmp_path):
    fitting.save_pretrained(tmp_path)
    written, expected = (json.loads((f / "preprocessor_config.json").read_text()) for f in (tmp_path, tmp_path / "fit"))
    assert written == expected
    assert written["fit"] == {"height": 24, "width": 31}


def test_processor_of_no_folder_does_not_guess_how_logits_become_a_map(picture):
    outputs = SimpleNamespace(logits=torch.zeros(1, 2, 4, 4))
    with pytest.raises(ccnet.ConfigError, match="align_corners is not known"):
        CCNetImageProcessor().post_process_semantic_segmentation(outputs, [(8, 8)])


def test_saved_processor_is_the_file_of_the_weights_folder(processor, weights, tmp_path):
    processor.save_pretrained(tmp_path)
    written, expected = (json.loads((f / "preprocessor_config.json").read_text()) for f in (tmp_path, weights))
    assert written == expected
    again = AutoImageProcessor.from_pretrained(weights, do_resize=True, size={"height": 8, "width": 9})
    again.save_pretrained(tmp_path)
    loaded = AutoImageProcessor.from_pretrained(tmp_path)
    assert loaded(np.zeros((3, 4, 3), np.uint8))["pixel_values"][0].shape == (3, 8, 9)
