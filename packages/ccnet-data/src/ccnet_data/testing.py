"""Conformance to the contract of `ccnet_data.sample`, for any implementer of a dataset to run."""

import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .classes import read_classes
from .errors import DataError, enumerate_some
from .options import Reader, several, whole_number
from .sample import API_VERSION, IGNORE_INDEX, Sample, SegmentationDataset

_READERS: dict[str, Reader] = {
    "classes": read_classes,
    "palette": several(several(whole_number(0, 255), count=3)),
    "flip_pairs": several(several(whole_number(0, IGNORE_INDEX - 1), count=2)),
}

ORDER_SEED = 7
ORDER_LENGTH = 100_000
"""Positions of an epoch that are looked at."""

_ARRAYS: dict[str, dict[str, tuple[type[np.generic], int]]] = {
    # dtype and number of axes, by task
    "segmentation": {"image": (np.uint8, 3), "label": (np.uint8, 2)},
    "video": {"image": (np.uint8, 4), "label": (np.uint8, 2)},
    "instances": {
        "image": (np.uint8, 3),
        "boxes": (np.float32, 2),
        "masks": (np.bool_, 3),
        "classes": (np.int64, 1),
        "crowd": (np.bool_, 1),
    },
}


def check_dataset(dataset: SegmentationDataset) -> None:
    """Raise DataError listing where `dataset` breaks the contract.

    Looks at its attributes, its first and its last sample, its end, and at the same samples of a pickled copy, such as
    the processes of a data loader read; and at the order it offers, if it does.
    """
    faults = [*_attribute_faults(dataset)]
    if len(dataset) == 0:
        faults.append("it holds no samples.")
    if faults:
        raise DataError(f"{type(dataset).__name__} breaks the contract: {' '.join(faults)}")
    ends = {0, len(dataset) - 1}
    for index in ends:
        check_sample(dataset[index], dataset)
        _require_same(dataset[index], dataset[index], index)
    _require_end(dataset)
    copy = _pickled_copy(dataset)
    for index in ends:
        if not _are_equal(dataset[index], copy[index]):
            raise DataError(f"Position {index} of a pickled copy gave another sample.")
    if hasattr(dataset, "order"):
        _require_order(dataset, copy)


def check_sample(sample: Sample, dataset: SegmentationDataset) -> None:
    """Raise DataError listing where `sample` breaks the contract, given the task and the classes of `dataset`."""
    faults = [*_key_faults(sample, _ARRAYS[dataset.task])]
    if not faults:
        value_faults = _object_faults if dataset.task == "instances" else _label_faults
        faults = [*value_faults(sample, len(dataset.classes))]
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
    if dataset.api_version != API_VERSION:
        yield f"api_version is {dataset.api_version!r}, not {API_VERSION}."
    if dataset.task not in tuple(_ARRAYS):
        yield f"task is {dataset.task!r}, none of {', '.join(_ARRAYS)}."
    if dataset.ignore_index != IGNORE_INDEX:
        yield f"ignore_index is {dataset.ignore_index!r}, not {IGNORE_INDEX}."
    misread = [*_misread(dataset)]
    yield from misread or _class_faults(len(dataset.classes), dataset)


def _misread(dataset: SegmentationDataset) -> Iterator[str]:
    for name, read in _READERS.items():
        try:
            read(getattr(dataset, name))
        except DataError as fault:
            yield f"{name} {fault}"


def _class_faults(count: int, dataset: SegmentationDataset) -> Iterator[str]:
    if len(dataset.palette) != count:
        yield f"palette has {len(dataset.palette)} colours for {count} classes."
    if not all(member < count for pair in dataset.flip_pairs for member in pair):
        yield f"flip_pairs must name classes 0 to {count - 1}."


def _key_faults(sample: object, arrays: Mapping[str, tuple[type[np.generic], int]]) -> Iterator[str]:
    if not isinstance(sample, dict):
        yield f"it must be a dict with {', '.join(arrays)} and id."
        return
    if not isinstance(sample.get("id"), str) or not sample["id"]:
        yield "id must be a text that is not empty."
    for key, (dtype, axes) in arrays.items():
        array = sample.get(key)
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != axes:
            yield f"{key} must be a {np.dtype(dtype)} array with {axes} axes, not {_description(array)}."
        elif not (array.flags.c_contiguous and array.flags.writeable):
            yield f"{key} must be C-contiguous and writable."


def _label_faults(sample: Mapping[str, Any], class_count: int) -> Iterator[str]:
    image, label = sample["image"], sample["label"]
    if image.shape[-3:] != (3, *label.shape) or image.size == 0:
        clip = "T, " * (image.ndim == 4)
        yield f"image is {image.shape} and label {label.shape}, not ({clip}3, H, W) and (H, W)."
    outside = [int(value) for value in np.unique(label) if class_count <= value != IGNORE_INDEX]
    if outside:
        yield f"label values {enumerate_some(outside)} are outside the {class_count} classes and not {IGNORE_INDEX}."


def _object_faults(sample: Mapping[str, Any], class_count: int) -> Iterator[str]:
    image, boxes, masks, classes = sample["image"], sample["boxes"], sample["masks"], sample["classes"]
    channels, height, width = image.shape
    if channels != 3 or image.size == 0:
        yield f"image is {image.shape}, not (3, H, W)."
    if {len(sample[key]) for key in ("boxes", "masks", "crowd")} != {len(classes)}:
        yield "boxes, masks, classes and crowd must have one entry per object."
    areas = sample.get("areas", np.zeros(len(classes)))
    if not isinstance(areas, np.ndarray) or areas.dtype != np.float64 or areas.shape != classes.shape:
        yield f"areas must be float64 {classes.shape}, if there are any."
    if masks.shape[1:] != (height, width):
        yield f"masks are {masks.shape[1:]}, the image {(height, width)}."
    if boxes.shape[1] != 4 or not _are_within(boxes, height, width):
        yield "boxes must be left < right and top < bottom within the image, as left, top, right, bottom."
    if not ((classes >= 0) & (classes < class_count)).all():
        yield f"classes must be 0 to {class_count - 1}."


def _are_within(boxes: NDArray[np.float32], height: int, width: int) -> bool:
    left, top, right, bottom = boxes.T
    columns = (left >= 0) & (left < right) & (right <= width)
    return bool((columns & (top >= 0) & (top < bottom) & (bottom <= height)).all())


def _name_of(sample: object) -> str:
    return repr(sample.get("id")) if isinstance(sample, dict) else f"of type {type(sample).__name__}"


def _description(value: object) -> str:
    return f"{value.dtype} with {value.ndim}" if isinstance(value, np.ndarray) else type(value).__name__


def _require_same(first: Mapping[str, Any], second: Mapping[str, Any], index: int) -> None:
    if not _are_equal(first, second):
        raise DataError(f"Position {index} gave two different samples.")
    if any(np.shares_memory(first[key], second[key]) for key in _arrays(first)):
        raise DataError(f"Position {index} gave the same memory twice; each sample belongs to its caller.")


def _are_equal(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    if first.keys() != second.keys() or first["id"] != second["id"]:
        return False
    return all(np.array_equal(first[key], second[key]) for key in _arrays(first))


def _arrays(sample: Mapping[str, Any]) -> list[str]:
    return [key for key, value in sample.items() if isinstance(value, np.ndarray)]


def _pickled_copy(dataset: SegmentationDataset) -> SegmentationDataset:
    try:
        copy: SegmentationDataset = pickle.loads(pickle.dumps(dataset))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise DataError(
            f"{type(dataset).__name__} cannot be pickled ({error}), so no other process can read it; hold no lambdas, "
            "open files or locks in it, and define its class at the top of a module."
        ) from error
    return copy


def _require_order(dataset: Any, copy: Any) -> None:
    order, other = dataset.order(ORDER_SEED), copy.order(ORDER_SEED)
    for epoch in range(2):
        positions = range(epoch * len(dataset), epoch * len(dataset) + min(len(dataset), ORDER_LENGTH))
        indices = [order.index_at(position) for position in positions]
        if len(set(indices)) < len(indices) or not all(0 <= index < len(dataset) for index in indices):
            raise DataError(f"The order of epoch {epoch} holds an index twice, or one that is no sample.")
        if [other.index_at(position) for position in positions] != indices:
            raise DataError("The order of a pickled copy is another one.")


def _require_end(dataset: SegmentationDataset) -> None:
    try:
        dataset[len(dataset)]
    except IndexError:
        return
    raise DataError("An index past the end must raise IndexError.")
