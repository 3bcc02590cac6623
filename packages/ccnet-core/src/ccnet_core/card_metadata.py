"""What the Hub reads of a model card: YAML at its top.

https://huggingface.co/docs/hub/model-cards says which keys there are.
"""

import math
import numbers
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ccnet_core import zoo
from ccnet_core.checks import require
from ccnet_core.text import one_line

METRICS = {
    "miou": ("mean_iou", "Mean IoU"),
    "macc": ("mean_accuracy", "Mean accuracy"),
    "aacc": ("overall_accuracy", "Overall accuracy"),
    "box_ap": ("box_ap", "Box AP (IoU 0.50 to 0.95)"),
    "box_ap50": ("box_ap50", "Box AP (IoU 0.50)"),
    "box_ap75": ("box_ap75", "Box AP (IoU 0.75)"),
    **{f"box_ap_{size}": (f"box_ap_{size}", f"Box AP ({size} objects)") for size in ("small", "medium", "large")},
    "mask_ap": ("mask_ap", "Mask AP (IoU 0.50 to 0.95)"),
    "mask_ap50": ("mask_ap50", "Mask AP (IoU 0.50)"),
    "mask_ap75": ("mask_ap75", "Mask AP (IoU 0.75)"),
    **{f"mask_ap_{size}": (f"mask_ap_{size}", f"Mask AP ({size} objects)") for size in ("small", "medium", "large")},
}
"""Our names of metrics to their type on the Hub and what a reader calls them."""

TASKS = {"instances": ("Instance segmentation", "ccnet-train")}
"""What a reader calls a task, and the package of its networks; all others are :data:`SEGMENTATION`."""

SEGMENTATION = ("Semantic segmentation", "ccnet-core")


class Described(Protocol):
    """A configuration of which a card can be written."""

    @property
    def name(self) -> str:
        """What the model is called."""
        ...

    @property
    def task(self) -> str:
        """What it does."""
        ...


LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")
"""The form of a licence on the Hub, such as apache-2.0; https://huggingface.co/docs/hub/repositories-licenses."""


def metadata(config: Described, metrics: Mapping[str, float], datasets: Sequence[str], license: str | None) -> str:
    """Return the YAML between the lines of dashes. Raises ConfigError for values that it cannot hold."""
    _require_metadata(metrics, datasets, license)
    fields = _fields(config, metrics, datasets, license)
    # Not folded: a line that ends in dashes could be taken for the end of the metadata.
    import yaml  # imported here: only a card that is written needs it

    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=sys.maxsize)


def _require_metadata(metrics: Mapping[str, float], datasets: Sequence[str], license: str | None) -> None:
    listed = isinstance(datasets, Sequence) and not isinstance(datasets, str)
    named = listed and all(isinstance(name, str) for name in datasets)
    require(named, f"datasets must be names in a list, got {datasets!r}")
    named = isinstance(metrics, Mapping) and all(isinstance(name, str) for name in metrics)
    require(named and all(map(_is_number, metrics.values())), f"metrics must be numbers by name, got {metrics!r}")
    percent = {name: value for name, value in metrics.items() if name in METRICS and 1 < value < math.inf}
    require(not percent, f"metrics go from 0 to 1, got {percent}: divide percentages by 100")
    known = license is None or (isinstance(license, str) and LICENCE.fullmatch(license))
    require(known, f"license must be an identifier of the Hub, such as 'apache-2.0' or 'other', got {license!r}")


def _is_number(value: object) -> bool:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)  # numpy's numbers too
    return number and not (isinstance(value, int) and abs(value) > sys.float_info.max)


def _fields(
    config: Described, metrics: Mapping[str, float], datasets: Sequence[str], license: str | None
) -> dict[str, Any]:
    task, library = TASKS.get(config.task, SEGMENTATION)
    fields: dict[str, Any] = {
        "library_name": library,
        "pipeline_tag": "image-segmentation",
        "tags": [task.lower().replace(" ", "-"), "criss-cross-attention", "ccnet"],
    }
    if license:
        fields["license"] = license
    if datasets:
        fields["datasets"] = [_hub_name(name) for name in datasets]
    finite = {name: value for name, value in metrics.items() if math.isfinite(value)}  # JSON holds no others
    if finite and datasets:
        fields["model-index"] = [{"name": one_line(config.name), "results": [_result(task, finite, datasets[0])]}]
    return fields


def _hub_name(dataset: str) -> str:
    terms = zoo.find_terms(dataset)
    return one_line(dataset) if terms is None or terms.hub is None else terms.hub


def dataset_title(dataset: str) -> str:
    """Return what a reader calls `dataset`, in one line."""
    terms = zoo.find_terms(dataset)
    return one_line(dataset) if terms is None else terms.title


def _result(task: str, metrics: Mapping[str, float], dataset: str) -> dict[str, Any]:
    return {
        "task": {"type": "image-segmentation", "name": task},
        "dataset": {"type": _hub_name(dataset), "name": dataset_title(dataset)},
        "metrics": [_metric(name, value) for name, value in metrics.items()],
    }


def _metric(name: str, value: float) -> dict[str, Any]:
    kind = METRICS[name][0] if name in METRICS else one_line(name)
    return {"type": kind, "value": round(float(value), 6), "name": metric_title(name)}


def metric_title(name: str) -> str:
    """Return what a reader calls the metric `name`, in one line."""
    return METRICS[name][1] if name in METRICS else one_line(name)
