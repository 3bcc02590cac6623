"""The model card of a weights folder: metadata for the Hub, then text for people."""

import json
from collections.abc import Mapping, Sequence

from ccnet_core import zoo
from ccnet_core.card_metadata import dataset_title, metadata, metric_title
from ccnet_core.classes import Labelled
from ccnet_core.config import CCNetConfig, HeadConfig, InferencePlan
from ccnet_core.text import markdown

ATTENTION_NAMES = {"criss_cross": "criss-cross attention", "non_local": "non-local attention"}
"""What a reader calls `HeadConfig.attention`."""

PAPER = "https://arxiv.org/abs/1811.11721"
CE2P = "https://arxiv.org/abs/1809.05996"
CITATION = """\
@inproceedings{huang2019ccnet,
  title = {CCNet: Criss-Cross Attention for Semantic Segmentation},
  author = {Huang, Zilong and Wang, Xinggang and Huang, Lichao and Huang, Chang
            and Wei, Yunchao and Liu, Wenyu},
  booktitle = {IEEE/CVF International Conference on Computer Vision (ICCV)},
  year = {2019},
  note = {arXiv:1811.11721}
}"""


def model_card(
    config: CCNetConfig,
    *,
    metrics: Mapping[str, float],
    datasets: Sequence[str],
    license: str | None = None,
    has_picture: bool = False,
    repository: str | None = None,
) -> str:
    """Return README.md for a folder with `config`, which holds picture.png.

    `metrics` are from 0 to 1, measured on the first of `datasets`, which name the training data; `license` is that of
    the weights by its identifier on the Hub. `has_picture` says that picture.png shows a prediction, not only the
    legend. `repository` is "org/name". Raises ConfigError for values that the metadata cannot hold.
    """
    caption = "A picture, the prediction laid over it, and its classes" if has_picture else "The colours of the classes"
    more = _clips(config.head) + _parsing(config)
    limits = f"Every pixel gets one of these {config.num_classes} classes, also where it shows none of them."
    return f"""---
{metadata(config, metrics, datasets, license)}---
# {markdown(config.name)}

A semantic segmentation network {_attention(config.head)} for {config.num_classes} classes.{more}

![{caption}](picture.png)

## Use
With the Python package `ccnet-core`:
```python
import ccnet_core as ccnet

model = ccnet.CCNet.from_pretrained({json.dumps(repository or "this folder or its Hub name")})
labels = ccnet.predict(model, "picture.jpg").labels  # (height, width), one class per pixel
```

## Input and inference
{_input(config)}

{_inference(config.inference)}{_mirror(config)}

{closing_sections(config, metrics, datasets, license, limits=limits)}"""


def _attention(head: HeadConfig) -> str:
    if head.recurrence == 0:
        return "without attention"
    steps = "1 step" if head.recurrence == 1 else f"{head.recurrence} steps"
    return f"with {ATTENTION_NAMES[head.attention]} ({steps})"


def _clips(head: HeadConfig) -> str:
    if head.frames == 1:
        return ""
    return (
        f"\n\nIt labels a frame of a video from this frame and the {head.frames - 1} before it; a picture is a clip of "
        "one frame. `ccnet.ClipPredictor` and `ccnet predict` follow a video."
    )


def _parsing(config: CCNetConfig) -> str:
    if config.parsing is None:
        return ""
    return (
        f"\n\nIts head is that of [CE2P]({CE2P}) for parsing humans: detail of the backbone's first stage and edges "
        "between parts decide beside the context that attention gives."
    )


def _input(config: CCNetConfig) -> str:
    pixels = config.pixels
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (pixels.mean, pixels.std))
    return (
        f"RGB pictures of any size, bytes from 0 to 255. The model normalises them itself: mean {mean}, standard "
        f"deviation {std}, in the order {pixels.channel_order.upper()}."
    )


def _inference(plan: InferencePlan) -> str:
    text = "Prediction sees the whole picture at once."
    if plan.mode == "slide" and plan.crop and plan.stride:
        crop, stride = (f"{height} x {width}" for height, width in (plan.crop, plan.stride))
        text = f"Prediction slides windows of {crop} pixels at a stride of {stride} (height x width)."
    if plan.mode == "fit" and plan.crop:
        height, width = plan.crop
        text = f"Prediction fits the whole picture into {height} x {width} pixels (height x width), black around it."
    if plan.resize == "plan" and plan.base_scale:
        scale = "{} x {}".format(*plan.base_scale)
        text += (
            f" For its metrics a picture is first fitted into {scale} (long edge x short edge), which `ccnet.predict` "
            "does with `plan=model.config.inference`."
        )
    return text


def _mirror(config: CCNetConfig) -> str:
    if not config.flip_pairs:
        return ""
    pairs = "; ".join(" and ".join(markdown(config.classes[index]) for index in pair) for pair in config.flip_pairs)
    return f" In a mirror image, which `flip=True` averages in, these classes change places: {pairs}."


def closing_sections(
    config: Labelled, metrics: Mapping[str, float], datasets: Sequence[str], license: str | None, *, limits: str
) -> str:
    """Return what every card ends with, from the metrics on; `limits` is a sentence on what the network cannot say."""
    return f"""## Metrics
{metrics_section(metrics, datasets)}

## Training data and its terms
{terms_section(datasets)}

## Licence of the weights
{licence_section(license)}

## Limits
{limits}
The metrics hold for pictures like those of the training data; on other cameras, places or light, measure before you
rely on it.

## Citation
Criss-cross attention is from [CCNet]({PAPER}):
```bibtex
{CITATION}
```

## Classes
{classes_section(config)}
"""


def metrics_section(metrics: Mapping[str, float], datasets: Sequence[str]) -> str:
    """Return the measured values as a table, or a sentence that says there is none."""
    if not metrics:
        return "No metric was recorded."
    measured = f"Measured on {markdown(dataset_title(datasets[0]))}, from 0 to 1." if datasets else "From 0 to 1."
    rows = [f"| {markdown(metric_title(name))} | {float(value):.4f} |" for name, value in metrics.items()]
    return "\n".join([measured, "", "| metric | value |", "|---|---|", *rows])


def terms_section(datasets: Sequence[str]) -> str:
    """Return a line for each dataset, with its terms as far as they are known."""
    if not datasets:
        return "Not recorded. Weights carry the terms of their data: state them here before you publish this folder."
    return "\n".join(f"- {_terms_of(name)}" for name in datasets)


def licence_section(license: str | None) -> str:
    """Return the licence of the weights, or that it is not stated."""
    return (
        f"`{license}`"
        if license
        else "Not stated. Before you publish this folder, add `license:` to the lines at the top."
    )


def _terms_of(dataset: str) -> str:
    known = zoo.find_terms(dataset)
    if known is None:
        return f"{markdown(dataset)}. State the terms of the data here before you publish this folder."
    title = f"[{known.title}]({known.page})" if known.page else known.title
    return f"{title}. {known.terms}" + (f" ([source]({known.source}))" if known.source else "")


def classes_section(config: Labelled) -> str:
    """Return a table of the classes and their colours."""
    rows = [
        f"| {index} | {markdown(name)} | `#{red:02x}{green:02x}{blue:02x}` |"
        for index, (name, (red, green, blue)) in enumerate(zip(config.classes, config.palette, strict=True))
    ]
    return "\n".join(["| label | class | colour |", "|---|---|---|", *rows])
