"""What each command of `ccnet-data` does and prints. It returns an exit code, or None for 0."""

import json
from argparse import Namespace
from collections.abc import Sequence
from time import perf_counter

from . import registry
from .findings import as_json, as_lines
from .frequency import class_frequency
from .info import info_lines
from .option_text import parse_options
from .options import build, describe
from .prepare import prepare_voc12aug
from .preview import save_preview
from .sample import SegmentationDataset
from .shards.convert import convert
from .shards.plan import Format
from .source import Source
from .verify import verify


def list_datasets(_: Namespace) -> None:
    """Print every dataset with its options, and at the end those that all have."""
    shared = describe(Source)
    for name, source in registry.SOURCES.items():
        print(f"{name}: {(source.__doc__ or '').splitlines()[0]}")
        _print_options([option for option in describe(source) if option not in shared])
    print("and for every dataset:")
    _print_options(shared)


def _print_options(described: Sequence[tuple[str, str]]) -> None:
    for usage, meaning in described:
        print(f"    {usage:<23} {meaning}")


def info(given: Namespace) -> None:
    """Print what is known of a dataset and what is there of it."""
    print("\n".join(info_lines(given.name, given.split, _options(given))))


def prepare(given: Namespace) -> None:
    """Make what a dataset needs beside its own archive, and print where it is."""
    print(prepare_voc12aug(given.root, given.sbd))


def convert_dataset(given: Namespace) -> None:
    """Write a dataset to shards, and print what is there now."""
    form = Format(encoding=given.encoding, quality=given.quality, shard_size=given.shard_size)
    manifest, was_complete = convert(
        given.name, _options(given), given.out, splits=given.split, form=form, workers=given.workers
    )
    for split, shards in manifest.splits.items():
        rows, size = sum(shard.rows for shard in shards), sum(shard.bytes for shard in shards)
        print(f"{given.out}, {split}: {rows} samples in {len(shards)} shards, {size / 1e6:.1f} MB")
    if was_complete:
        print(f"{given.out} was complete already; nothing was written")


def verify_files(given: Namespace) -> int:
    """Print all that is wrong with the files of a dataset; the exit code is 1 if anything is."""
    started = perf_counter()
    reports = verify(build(registry.source_named(given.name), _options(given)), given.split, given.workers)
    seconds = perf_counter() - started
    print(as_json(given.name, reports) if given.json else "\n".join(as_lines(given.name, reports, seconds)))
    return int(any(report.faults for report in reports))


def stats(given: Namespace) -> None:
    """Print how often each class occurs."""
    dataset = _load(given)
    counted = class_frequency(dataset, given.workers)
    columns = (counted.pixels, counted.share, counted.weights, counted.pictures)
    rows = list(zip(dataset.classes, *(column.tolist() for column in columns), strict=True))
    if given.json:
        keys = ("class", "pixels", "share", "weight", "pictures")
        classes = [dict(zip(keys, row, strict=True)) for row in rows]
        print(json.dumps({"dataset": given.name, "split": given.split, "samples": len(dataset), "classes": classes}))
        return
    print(f"{'pixels':>14}  {'share':>8}  {'weight':>8}  {'pictures':>8}  class")
    for name, pixels, share, weight, pictures in rows:
        print(f"{pixels:14d}  {share:8.4%}  {weight:8.3f}  {pictures:8d}  {name}")


def preview(given: Namespace) -> None:
    """Write a contact sheet and print where it is."""
    save_preview(_load(given), given.out, count=given.count, seed=given.seed)
    print(given.out)


def _load(given: Namespace) -> SegmentationDataset:
    return registry.load(given.name, given.split, **_options(given))


def _options(given: Namespace) -> dict[str, object]:
    root = [] if given.root is None else [f"root={json.dumps(given.root)}"]
    return parse_options([*root, *given.options])
