"""The model card of a weights folder: YAML metadata that the Hub reads, then text for people."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ccnet_core.config import CCNetConfig

METRIC_NAMES = {"miou": "mean_iou", "macc": "mean_accuracy", "aacc": "overall_accuracy"}
"""Our metric names to those of the Hub."""

ATTENTION_NAMES = {"criss_cross": "criss-cross attention", "non_local": "non-local attention"}
"""What a reader calls `HeadConfig.attention`."""


def model_card(config: CCNetConfig, metrics: Mapping[str, float], datasets: Sequence[str]) -> str:
    """Return README.md for a folder with `config`. `metrics` are from 0 to 1, `datasets` name the training data."""
    metadata = yaml.safe_dump(_metadata(config, metrics, datasets), sort_keys=False, allow_unicode=True)
    figures = "\n".join(f"| {name} | {value:.4f} |" for name, value in metrics.items())
    table = f"\n| metric | value |\n|---|---|\n{figures}\n" if metrics else "\nNo metric was recorded.\n"
    return f"""---
{metadata}---
# {config.name}

A semantic segmentation network with {ATTENTION_NAMES[config.head.attention]} ({config.head.recurrence} steps) and
{config.num_classes} classes: {", ".join(config.classes)}.

```python
import ccnet_core as ccnet

model = ccnet.CCNet.from_pretrained("this folder or its Hub name")
labels = ccnet.predict(model, "picture.jpg").labels  # (height, width), one class per pixel
```

The model takes RGB pixels from 0 to 255 and normalises them itself.
{table}
Weights carry the terms of the data they were trained on: before you publish this folder, state them here and add
`license:` to the lines at the top.
"""


def _metadata(config: CCNetConfig, metrics: Mapping[str, float], datasets: Sequence[str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "library_name": "ccnet-core",
        "pipeline_tag": "image-segmentation",
        "tags": ["semantic-segmentation", "criss-cross-attention", "ccnet"],
    }
    if datasets:
        metadata["datasets"] = list(datasets)
    if metrics and datasets:
        metadata["model-index"] = [{"name": config.name, "results": [_result(metrics, datasets[0])]}]
    return metadata


def _result(metrics: Mapping[str, float], dataset: str) -> dict[str, Any]:
    return {
        "task": {"type": "image-segmentation", "name": "Semantic segmentation"},
        "dataset": {"type": dataset, "name": dataset},
        "metrics": [
            {"type": METRIC_NAMES.get(name, name), "value": round(value, 6)} for name, value in metrics.items()
        ],
    }
