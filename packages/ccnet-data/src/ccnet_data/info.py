"""What is known of a dataset and what is there of it, as `ccnet-data info` prints it."""

import shutil
from collections.abc import Iterator, Mapping, Sequence

from . import registry
from .description import Description
from .errors import DataError, nearest, reading
from .options import build
from .sample import IGNORE_INDEX, Colour, SegmentationDataset
from .source import Source


def info_lines(name: str, split: str, options: Mapping[str, object]) -> list[str]:
    """Return the lines about the dataset `name`: the published facts, what `options` point at, the classes.

    A published dataset needs no options. Raises DataError for an unknown split, and when there are options and the
    dataset is not there.
    """
    kind = registry.source_named(name)
    known = kind.description
    source = build(kind, options) if known is not None and options else None
    if source is not None:
        known = source.described()
    if known is None:
        dataset = registry.load(name, split, **options)
        return [
            f"{name}, split {split}: {len(dataset)} samples, task {dataset.task}",
            *_first_sample(dataset),
            *_classes(dataset.classes, dataset.palette, dataset.flip_pairs),
        ]
    if not options and split not in known.sizes:
        raise DataError(f"There is no split {split!r}.{nearest(split, known.sizes)}")
    here = [] if source is None else _here(source, known, split)
    return [*_facts(name, known), *here, *_classes(known.classes, known.palette, known.flip_pairs)]


def _facts(name: str, known: Description) -> Iterator[str]:
    yield f"{name}: {known.title}"
    yield f"page: {known.page}"
    yield f"terms: {known.terms}"
    yield f"published: {', '.join(f'{split} {size}' for split, size in known.sizes.items())}"
    yield f"root holds these, there or in {known.unpacked}/:" if known.unpacked else "root holds these:"
    yield from (f"    {line}" for line in known.tree.splitlines())


def _here(source: Source, known: Description, split: str) -> Iterator[str]:
    with reading():
        present = source.splits()
    if not present or split not in known.sizes:
        source.open(split)  # says what was expected and found, or names the nearest split
    for each, published in known.sizes.items():
        if each not in present:
            yield f"{each}: not there"
            continue
        with reading():
            dataset, faults = source.partial(each)
        hint = f", faults: {len(faults)} (`ccnet-data verify` lists them)" if faults else ""
        yield f"{each}: {len(dataset)} samples of {published} published{hint}"
        if each == split and len(dataset):
            yield from _first_sample(dataset)


def _first_sample(dataset: SegmentationDataset) -> Iterator[str]:
    first = dataset[0]
    *frames, _, height, width = first["image"].shape
    clip = f"{frames[0]} frames of " if frames else ""
    yield f"first sample: {first['id']}, {clip}{width}x{height} (width x height)"


def _classes(names: Sequence[str], palette: Sequence[Colour], flip_pairs: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Yield the classes in as many columns as the terminal has room for, each read from top to bottom."""
    yield f"classes: {len(names)}, ignored pixels have label {IGNORE_INDEX}"
    cells = [
        f"{number:4d}  #{bytes(colour).hex()}  {name}"
        for number, (name, colour) in enumerate(zip(names, palette, strict=True))
    ]
    width = max(map(len, cells)) + 2
    columns = max(1, shutil.get_terminal_size().columns // width)
    rows = -(-len(cells) // columns)
    for row in range(rows):
        yield "".join(cell.ljust(width) for cell in cells[row::rows]).rstrip()
    for one, other in flip_pairs:
        yield f"swapped in a mirror image: {names[one]}, {names[other]}"
