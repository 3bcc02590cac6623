"""Datasets of other distributions, found by entry point: the trainer imports none of them.

An entry point of the group `ccnet.datasets` gives a provider. This module is the trainer's side of that contract.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NotRequired, Protocol, TypedDict

import numpy as np

from ccnet_core.errors import nearest
from ccnet_train.errors import TrainError
from ccnet_train.recipe import DataSection
from ccnet_train.tasks import TASKS

SAMPLE_API_VERSION = 1
"""The version of the sample interface the trainer speaks."""

ENTRY_POINT_GROUP = "ccnet.datasets"

INSTALL = 'python -m pip install --upgrade "ccnet-train[data]"'


class Sample(TypedDict):
    """`image` (3, H, W) uint8 RGB 0-255, `label` (H, W) uint8 with 255 for no class, `id` for messages.

    The `image` of a clip is (T, 3, H, W), and its label that of the last frame.
    `replaces` is the error of the damaged sample that this one stands in for.
    """

    image: np.ndarray
    label: np.ndarray
    id: str
    replaces: NotRequired[str]


Augmentation = Callable[[Sample, np.random.Generator], Sample]
"""A pure function of (sample, generator)."""


class SampleDataset(Protocol):
    """One split of a dataset. `classes` and `palette` (red, green, blue) have one entry per class.

    `task` says what a sample is. `flip_pairs` are the classes that a mirror image swaps, such as left and right arm.
    One that is best read in an order of its own, as fetched files are, has `order(seed)`: `index_at(position)` of what
    it returns is the sample at a global position; every epoch holds each one once.
    """

    task: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_index: int
    flip_pairs: tuple[tuple[int, int], ...]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class Provider(Protocol):
    """What the entry point gives. Its errors are ValueErrors whose text holds the remedy."""

    name: str
    version: str
    api_version: int

    def datasets(self) -> tuple[str, ...]:
        """Return the names it can load."""
        ...

    def check(self, name: str, options: Mapping[str, Any]) -> list[str]:
        """Return a sentence for every fault of `options`, before any work."""
        ...

    def load(self, name: str, split: str, **options: Any) -> SampleDataset:
        """Return the "train" or "val" split."""
        ...

    def augmentation(self, spec: Mapping[str, Any] | None) -> Augmentation:
        """Return what `spec` describes; for None what leaves a sample as it is."""
        ...


def find_provider(name: str) -> Provider:
    """Return the provider of the dataset `name`.

    Raises TrainError if none is installed, none can be used (naming each fault and the command that mends it), or
    none knows `name` (naming the nearest).
    """
    known: list[str] = []
    faults: list[str] = []
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        provider, fault = _load(entry_point)
        if provider is None:
            faults.append(fault)
        elif name in provider.datasets():
            return provider
        else:
            known.extend(provider.datasets())
    raise TrainError(_not_found(name, known, faults))


def load_split(data: DataSection, split: str) -> SampleDataset:
    """Return the `split` that `data` describes: "train", "val" or another that the dataset has.

    Raises TrainError with the provider's remedy, here and where a sample is read, and for a split without pictures.
    """
    provider = find_provider(data.name)
    where = f"dataset {data.name!r}, split {split!r}"
    try:
        dataset = provider.load(data.name, split, **split_options(data, split))
        length = len(dataset)  # a stream has none
    except (ValueError, OSError) as error:
        raise TrainError(f"{where}: {error}") from error
    if dataset.task not in TASKS:
        raise TrainError(f"{where}: its task is {dataset.task!r}, and this trainer trains {' and '.join(TASKS)} only.")
    if length == 0:
        raise TrainError(f"{where}: it holds no pictures. Check data.root and the options of the dataset.")
    return _Split(dataset, where)


def check_data(data: DataSection, splits: Sequence[str] = ("train", "val")) -> None:
    """Raise TrainError with every fault of the options of `splits`, before any work."""
    provider = find_provider(data.name)
    found = [fault for split in splits for fault in provider.check(data.name, split_options(data, split))]
    if found:
        faults = " ".join(dict.fromkeys(found))
        raise TrainError(f"dataset {data.name!r}: {faults} (The recipe's keys: data.root, data.options.)")


def load_augmentation(data: DataSection, spec: Mapping[str, Any] | None, dataset: SampleDataset) -> Augmentation:
    """Return the augmentation that `spec` describes for `dataset`, whose `flip_pairs` go along unless it names others.

    Raises TrainError with the provider's remedy, also when used.
    """
    if spec is not None and dataset.flip_pairs:
        spec = {"flip_pairs": dataset.flip_pairs, **spec}
    try:
        return _Augment(find_provider(data.name).augmentation(spec))
    except ValueError as error:
        raise TrainError(f"augment: {error}") from error


def swapped_classes(spec: Mapping[str, Any] | None, dataset: SampleDataset) -> tuple[tuple[int, int], ...]:
    """Return the classes that a mirror image swaps in training: those that `spec` names, else those of `dataset`."""
    named = (spec or {}).get("flip_pairs")
    return dataset.flip_pairs if named is None else tuple((one, other) for one, other in named)


def split_options(data: DataSection, split: str) -> dict[str, Any]:
    """Return the keyword arguments for `split`: `root`, then the common options, then those of the split.

    A split other than "train" takes those of "val".
    """
    root = {} if data.root is None else {"root": data.root}
    return {**root, **data.options, **(data.train if split == "train" else data.val)}


class _Split:
    """A provider's split whose errors are TrainErrors that say which split it was."""

    def __init__(self, dataset: SampleDataset, where: str) -> None:
        self.dataset, self.where = dataset, where
        self.classes, self.palette, self.ignore_index = dataset.classes, dataset.palette, dataset.ignore_index
        self.flip_pairs, self.task = dataset.flip_pairs, dataset.task
        if hasattr(dataset, "order"):
            self.order = dataset.order

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int, /) -> Sample:
        try:
            return self.dataset[index]
        except (ValueError, OSError) as error:
            raise TrainError(f"{self.where}: {error}") from error


class _Augment:
    """A provider's augmentation whose errors are TrainErrors that name the sample."""

    def __init__(self, augment: Augmentation) -> None:
        self.augment = augment

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        try:
            return self.augment(sample, generator)
        except ValueError as error:
            raise TrainError(f"augment, sample {sample['id']!r}: {error}") from error


def _load(entry_point: EntryPoint) -> tuple[Provider | None, str]:
    distribution = entry_point.dist.name if entry_point.dist else entry_point.value
    try:
        provider: Provider = entry_point.load()
        version = provider.api_version
    except Exception as error:
        # A provider is foreign code: whatever it raises must not hide the providers that work.
        return None, f"{distribution} failed to load ({type(error).__name__}: {error})"
    if version == SAMPLE_API_VERSION:
        return provider, ""
    return None, f"{distribution} {provider.version} speaks version {version} of the sample interface"


def _not_found(name: str, known: Iterable[str], faults: list[str]) -> str:
    names = list(known)
    if faults:
        return (
            f"No usable package offers the dataset {name!r}: {'; '.join(faults)}. "
            f"This trainer speaks version {SAMPLE_API_VERSION}. Mend it with: {INSTALL}"
        )
    if not names:
        return f"No dataset package is installed, so there is no dataset {name!r}. Install one with: {INSTALL}"
    return f"There is no dataset {name!r}.{nearest(name, names)}"
