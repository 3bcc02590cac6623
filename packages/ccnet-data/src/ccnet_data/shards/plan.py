"""What a conversion writes, known before it begins: which samples go into which shard."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import registry
from ..errors import DataError
from ..options import build
from ..sample import SegmentationDataset
from ..source import REPLACE
from .columns import Columns
from .manifest import JPEG, TASKS, Manifest, Shard, is_split_name, shard_name
from .write import stored_size

MEASURED = 16
"""Samples of a split that are encoded to know about how large all are."""
MEGABYTE = 10**6


@dataclass(frozen=True, kw_only=True)
class Format:
    """How samples are stored: `encoding`, `quality` of JPEG, 1 to 100, and about `shard_size` bytes in a shard."""

    encoding: str = "png"
    quality: int | None = None
    shard_size: int = 256 * MEGABYTE

    def __post_init__(self) -> None:
        if self.encoding == JPEG and self.quality is None:
            object.__setattr__(self, "quality", 90)
        if self.encoding != JPEG and self.quality is not None:
            raise DataError(f"quality is that of jpeg; leave it out for {self.encoding}.")


@dataclass(frozen=True, kw_only=True)
class Part:
    """The samples of one shard: positions of `rows` in `dataset`."""

    file: str
    dataset: SegmentationDataset
    columns: Columns
    rows: range


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The shards of each split, and in `command` all that decides about their bytes, as JSON."""

    command: dict[str, Any]
    form: Format
    parts: dict[str, tuple[Part, ...]]

    def manifest(self, shards: Mapping[str, Shard]) -> Manifest:
        """Return the manifest of the `shards`, by the names of their files."""
        first = next(iter(self.parts.values()))[0].dataset
        return Manifest(
            dataset=self.command["dataset"],
            encoding=self.form.encoding,
            quality=self.form.quality,
            task=first.task,
            classes=tuple(first.classes),
            palette=tuple(first.palette),
            flip_pairs=tuple(first.flip_pairs),
            splits={split: tuple(shards[part.file] for part in parts) for split, parts in self.parts.items()},
        )


def make_plan(name: str, options: Mapping[str, Any], splits: Sequence[str], form: Format) -> Plan:
    """Return how the `splits` of the dataset `name`, or all that are there, are divided into shards.

    The same dataset and format give the same plan. Raises DataError for what has no place in shards.
    """
    source = build(registry.source_named(name), options)
    if source.on_error == REPLACE:
        raise DataError("A converted dataset holds no sample twice for a damaged one; leave out on_error=replace.")
    datasets = {split: registry.load(name, split, **options) for split in dict.fromkeys(splits or source.splits())}
    _refuse_unfit(name, datasets)
    parts = {split: _parts(split, dataset, form) for split, dataset in datasets.items()}
    command = {
        "dataset": name,
        "options": _as_json(source),
        **dataclasses.asdict(form),
        "samples": {split: len(dataset) for split, dataset in datasets.items()},
        "shards": {split: len(each) for split, each in parts.items()},
    }
    return Plan(command=command, form=form, parts=parts)


def _refuse_unfit(name: str, datasets: Mapping[str, SegmentationDataset]) -> None:
    if not datasets:
        raise DataError(f"{name}: there is no split to convert.")
    facts = {(each.task, *map(tuple, (each.classes, each.palette, each.flip_pairs))) for each in datasets.values()}
    if len(facts) > 1:
        raise DataError(f"{name}: the splits differ in classes or colours; convert each to a folder of its own.")
    for split, dataset in datasets.items():
        if dataset.task not in TASKS:
            raise DataError(
                f"{name}: shards have no columns for the task {dataset.task!r}, only for {', '.join(TASKS)}."
            )
        if not is_split_name(split):
            raise DataError(f"{name}: the split {split!r} cannot name files; use letters, digits, _ and inner dots.")
        if not len(dataset):
            raise DataError(f"{name}: the split {split!r} holds no samples; choose others with --split.")


def _parts(split: str, dataset: SegmentationDataset, form: Format) -> tuple[Part, ...]:
    columns = Columns(
        encoding=form.encoding, quality=form.quality, task=dataset.task, classes=len(tuple(dataset.classes))
    )
    samples = len(dataset)
    measured = sorted({samples * place // MEASURED for place in range(MEASURED)})
    size = sum(stored_size(columns.row(dataset[index])) for index in measured) * samples // len(measured)
    count = min(samples, -(-size // form.shard_size))
    bounds = [samples * number // count for number in range(count + 1)]
    return tuple(
        Part(
            file=shard_name(split, number, count),
            dataset=dataset,
            columns=columns,
            rows=range(bounds[number], bounds[number + 1]),
        )
        for number in range(count)
    )


def _as_json(source: object) -> dict[str, Any]:
    """Return the options of `source` as they come back from JSON, files and folders by their full names."""
    assert dataclasses.is_dataclass(source)
    given = {field.name: getattr(source, field.name) for field in dataclasses.fields(source)}
    values: dict[str, Any] = json.loads(json.dumps(given, default=lambda path: str(path.resolve())))
    return values
