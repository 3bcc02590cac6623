"""The model card of a Mask R-CNN: metadata for the Hub, then text for people."""

import json
from collections.abc import Mapping, Sequence

from ccnet_core.card import ATTENTION_NAMES, closing_sections
from ccnet_core.card_metadata import metadata
from ccnet_core.config import BackboneConfig
from ccnet_core.text import markdown
from ccnet_train.detection.config import DetectorConfig

MASK_RCNN = "https://arxiv.org/abs/1703.06870"


def model_card(
    config: DetectorConfig,
    *,
    metrics: Mapping[str, float],
    datasets: Sequence[str],
    license: str | None = None,
    has_picture: bool = False,
    repository: str | None = None,
) -> str:
    """Return README.md for a folder with `config`; the arguments are those of :func:`ccnet_core.card.model_card`."""
    caption = "A picture, and what is found in it" if has_picture else "The colours of the classes"
    limits = f"Only objects of these {config.num_classes} classes are found, and not all of them."
    return f"""---
{metadata(config, metrics, datasets, license)}---
# {markdown(config.name)}

A [Mask R-CNN]({MASK_RCNN}) {_attention(config)}: it finds the objects of {config.num_classes} classes in a picture,
each with a box, a score and a mask.

![{caption}](picture.png)

## Use
With the Python package `ccnet-train` and its extra (`python -m pip install "ccnet-train[detection]"`):
```python
from ccnet_train.detection import MaskRCNN, predict_instances

model = MaskRCNN.from_pretrained({json.dumps(repository or "this folder or its Hub name")})
found = predict_instances(model, "picture.jpg")  # boxes (N, 4), classes (N,), scores (N,), masks (N, height, width)
```
On the command line `ccnet predict picture.jpg --model ...` writes a picture of what is found, and with `--save json`
the boxes and masks in the form of COCO's results.

## Input and inference
RGB pictures of any size, bytes from 0 to 255. The model resizes them itself, the short edge to {config.min_size} pixels
and the long one to at most {config.max_size}, and normalises them. It gives at most {config.max_detections} objects
of a picture, with scores above {config.score_threshold:g}.

## Network
{_backbone(config)}

{closing_sections(config, metrics, datasets, license, limits=limits)}"""


def _attention(config: DetectorConfig) -> str:
    if config.recurrence == 0:
        return "without attention"
    steps = "1 step" if config.recurrence == 1 else f"{config.recurrence} steps"
    return f"with {ATTENTION_NAMES[config.attention]} ({steps}) in its backbone"


def _backbone(config: DetectorConfig) -> str:
    own = isinstance(config.backbone, BackboneConfig)
    name = "A ResNet of ccnet-core" if own else str(config.backbone).replace("resnet", "ResNet-")
    place = f" Its attention stands before the last block of `{config.stage}`." if config.recurrence else ""
    return f"{name} with a feature pyramid of {config.channels} channels.{place}"
