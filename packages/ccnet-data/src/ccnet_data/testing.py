"""Conformance to the contract of `ccnet_data.sample`, for any implementer of a dataset to run."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .errors import DataError, enumerate_some
from .sample import API_VERSION, IGNORE_INDEX, Sample, SegmentationDataset

_AXES = {"image": 3, "label": 2}


def check_dataset(dataset: SegmentationDataset) -> None:
    """Raise DataError listing where `dataset` breaks the contract: its attributes, first and last sample, its end."""
    faults = [*_attribute_faults(dataset)]
    if len(dataset) == 0:
        faults.append("it holds no samples.")
    if faults:
        raise DataError(f"{type(dataset).__name__} breaks the contract: {' '.join(faults)}")
    for index in {0, len(dataset) - 1}:
        check_sample(dataset[index], dataset)
        _require_same(dataset[index], dataset[index], index)
    _require_end(dataset)


def check_sample(sample: Sample, dataset: SegmentationDataset) -> None:
    """Raise DataError listing where `sample` breaks the contract of `Sample`, given the classes of `dataset`."""
    faults = [*_key_faults(sample)]
    if not faults:
        faults = [*_value_faults(sample, len(dataset.classes))]
    if faults:
        raise DataError(f"Sample {_name_of(sample)} breaks the contract: {' '.join(faults)}")


def _attribute_faults(dataset: SegmentationDataset) -> Iterator[str]:
    missing = [
        name
        for name in ("api_version", "task", "classes", "palette", "ignore_index", "flip_pairs")
        if not hasattr(dataset, name)
    ]
    if missing:
        yield f"attributes are missing: {', '.join(missing)}."
        return
    count = len(dataset.classes)
    if dataset.api_version != API_VERSION:
        yield f"api_version is {dataset.api_version!r}, not {API_VERSION}."
    if dataset.task != "segmentation":
        yield f"task is {dataset.task!r}, not 'segmentation'."
    if dataset.ignore_index != IGNORE_INDEX:
        yield f"ignore_index is {dataset.ignore_index!r}, not {IGNORE_INDEX}."
    if not 1 <= count <= IGNORE_INDEX or len(set(dataset.classes)) != count:
        yield f"classes must be 1 to {IGNORE_INDEX} different names."
    if len(dataset.palette) != count or not all(_is_colour(colour) for colour in dataset.palette):
        yield f"palette must hold an RGB colour, 0-255, for each of the {count} classes."
    if not all(0 <= member < count for pair in dataset.flip_pairs for member in pair):
        yield f"flip_pairs must name classes 0 to {count - 1}."


def _is_colour(colour: Any) -> bool:
    return len(colour) == 3 and all(0 <= channel <= 255 for channel in colour)


def _key_faults(sample: object) -> Iterator[str]:
    if not isinstance(sample, dict):
        yield "it must be a dict with image, label and id."
        return
    if not isinstance(sample.get("id"), str) or not sample["id"]:
        yield "id must be a text that is not empty."
    for key, axes in _AXES.items():
        array = sample.get(key)
        if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != axes:
            yield f"{key} must be a uint8 array with {axes} axes, not {_description(array)}."
        elif not (array.flags.c_contiguous and array.flags.writeable):
            yield f"{key} must be C-contiguous and writable."


def _value_faults(sample: Sample, class_count: int) -> Iterator[str]:
    image, label = sample["image"], sample["label"]
    if image.shape != (3, *label.shape) or label.size == 0:
        yield f"image is {image.shape} and label {label.shape}, not (3, H, W) and (H, W)."
    outside = [int(value) for value in np.unique(label) if class_count <= value != IGNORE_INDEX]
    if outside:
        yield f"label values {enumerate_some(outside)} are outside the {class_count} classes and not {IGNORE_INDEX}."


def _name_of(sample: object) -> str:
    return repr(sample.get("id")) if isinstance(sample, dict) else f"of type {type(sample).__name__}"


def _description(value: object) -> str:
    return f"{value.dtype} with {value.ndim}" if isinstance(value, np.ndarray) else type(value).__name__


def _require_same(first: Sample, second: Sample, index: int) -> None:
    same = first["id"] == second["id"] and all(np.array_equal(first[key], second[key]) for key in ("image", "label"))
    if not same:
        raise DataError(f"Position {index} gave two different samples.")
    if np.shares_memory(first["image"], second["image"]) or np.shares_memory(first["label"], second["label"]):
        raise DataError(f"Position {index} gave the same memory twice; each sample belongs to its caller.")


def _require_end(dataset: SegmentationDataset) -> None:
    try:
        dataset[len(dataset)]
    except IndexError:
        return
    raise DataError("An index past the end must raise IndexError.")
