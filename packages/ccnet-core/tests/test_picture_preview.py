"""A preview keeps every so many pixels, whatever the rows in which they pass by."""

import io

import numpy as np
import pytest
from PIL import Image

from ccnet_core import picture_preview, render
from ccnet_core.config import default_palette
from ccnet_core.picture_preview import Preview
from ccnet_core.picture_rows import open_rows


@pytest.mark.parametrize("edge", [5, 17, 51, 2048])
@pytest.mark.parametrize("strip", [1, 4, 100])
def test_overlay_is_that_of_every_so_many_pixels(picture, tmp_path, monkeypatch, edge, strip):
    monkeypatch.setattr(picture_preview, "OVERLAY_EDGE", edge)
    np.save(tmp_path / "picture.npy", picture)
    labels = np.random.default_rng(0).integers(0, 4, picture.shape[:2]).astype(np.uint8)
    with open_rows(tmp_path / "picture.npy") as rows:
        preview = Preview(rows, default_palette(4))
        for start in range(0, 37, 7):  # rows come more than once, as windows overlap
            out = np.empty((3, min(16, 37 - start), 51), np.uint8)
            preview.read(start, out)
            np.testing.assert_array_equal(out.transpose(1, 2, 0), picture[start : start + 16])
    passed = list(preview.watch(labels[start : start + strip] for start in range(0, 37, strip)))
    np.testing.assert_array_equal(np.concatenate(passed), labels)
    step = -(-51 // edge)
    expected = render.overlay(picture[::step, ::step], labels[::step, ::step], default_palette(4))
    with Image.open(io.BytesIO(preview.png())) as image:
        assert max(image.size) <= edge
        np.testing.assert_array_equal(np.asarray(image), expected)
