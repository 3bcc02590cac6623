"""What the page asks of a network, answered as data that a browser draws. Nothing here knows of Gradio."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ccnet_core import render
from ccnet_core.attention_map import as_seen, attention_maps, attention_steps
from ccnet_core.config import TTA_SCALES
from ccnet_core.demo.upload import read_upload
from ccnet_core.errors import ConfigError
from ccnet_core.model import CCNet
from ccnet_core.outputs import areas
from ccnet_core.predict import PlanOptions, Segmenter, predict
from ccnet_core.render import Array
from ccnet_core.text import one_line

WINDOW, STEP = (512, 512), (341, 341)
"""Of sliding windows, where the model's plan has none."""

LOSSLESS = 2**18
"""Pixels up to which the picture is shown as it is, and not as JPEG."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """`segmenter` labels pictures of at most `largest` pixels; what they look at is asked of `model`."""

    model: CCNet
    segmenter: Segmenter
    largest: int

    def ways(self) -> dict[str, PlanOptions]:
        """Return how a picture can be segmented, by the words on the page; the first is the model's own."""
        plan = self.model.config.inference
        crop, stride = (plan.crop, plan.stride) if plan.crop and plan.stride else (WINDOW, STEP)
        ways: dict[str, PlanOptions] = {
            "whole picture": {"mode": "whole"},
            f"windows of {crop[1]}x{crop[0]}": {"mode": "slide", "crop": crop, "stride": stride},
            "six scales + mirror images": {"scales": TTA_SCALES, "flip": True},
        }
        if plan.mode == "fit" and plan.crop:
            ways[f"fitted into {plan.crop[1]}x{plan.crop[0]}"] = {"mode": "fit"}
        return dict(sorted(ways.items(), key=lambda way: way[1].get("mode") != plan.mode))

    def segment(self, path: str, way: str) -> dict[str, Any]:
        """Return what view.js draws of the picture in a file. Raises CCNetError."""
        picture = read_upload(path, self.largest)
        labels = predict(self.segmenter, picture, **self.ways()[way]).labels
        config, pixels = self.model.config, picture.permute(1, 2, 0).numpy()
        return {
            "name": Path(path).stem,
            "picture": _shown(pixels),
            "indices": _url(render.png(_indices(labels)), "png"),
            "labels": _url(render.png(render.label_png(labels, config.palette)), "png"),
            "classes": [
                {"name": one_line(area["name"]), "colour": list(colour), "share": area["share"]}
                for area, colour in zip(areas(labels, config.classes)["classes"], config.palette, strict=True)
            ],
        }

    def attention(self) -> int:
        """Return how many steps can be followed, at most two. 0: the network has no criss-cross attention."""
        try:
            return min(2, len(attention_steps(self.model)))
        except ConfigError:
            return 0

    def attend(self, path: str, point: tuple[int, int]) -> list[Array]:
        """Return the picture in a file under what `point` = (x, y) looks at, one for each step. Raises CCNetError."""
        picture = read_upload(path, self.largest)
        maps = attention_maps(self.model, picture, points=[point])[0]
        shown, [place] = as_seen(self.model, picture, [point])
        return render.attention_panels(shown.permute(1, 2, 0).numpy(), place, maps)[1:]


def _indices(labels: NDArray[np.integer]) -> Array:
    """Write the classes (H, W) as colours (H, W, 3): red the low byte, green the high one."""
    coded = np.zeros((*labels.shape, 3), np.uint8)
    coded[..., 0], coded[..., 1] = labels & 255, labels >> 8
    return coded


def _shown(picture: Array) -> str:
    if picture.shape[0] * picture.shape[1] <= LOSSLESS:
        return _url(render.png(picture), "png")
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=90)
    return _url(buffer.getvalue(), "jpeg")


def _url(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
