"""All that is wrong with the files of a dataset, found by reading every sample."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from .errors import DataError, OutsideClassesError, SizeMismatchError, nearest, reading
from .findings import (
    COUNT,
    DUPLICATE_ACROSS,
    DUPLICATE_WITHIN,
    INCOMPLETE,
    MISSING_SPLIT,
    OUTSIDE,
    SIZE,
    UNREADABLE,
    UNREADABLE_SPLIT,
    Finding,
    SplitReport,
)
from .options import raise_faults
from .sample import SegmentationDataset
from .source import Source
from .workers import every_sample

_KINDS: dict[type[DataError], str] = {SizeMismatchError: SIZE, OutsideClassesError: OUTSIDE}


class _Picture(NamedTuple):
    """What is kept of a sample that could be read."""

    id: str
    digest: bytes


_Seen = dict[bytes, tuple[str, str]]
"""The split and the id of the first sample that showed the picture of a digest."""


def verify(source: Source, splits: Sequence[str] = (), workers: int | None = None) -> list[SplitReport]:
    """Read every sample of `splits`, or of all that are there or were published, and return all that is wrong.

    `workers` processes share the work; see `every_sample`. Raises DataError where there is nothing to look at.
    """
    seen: _Seen = {}
    with reading():
        present = source.splits()
    reports = [_report(source, split, split in present, seen, workers) for split in _wanted(source, present, splits)]
    closed = [fault for report in reports for fault in report.faults if fault.kind == UNREADABLE_SPLIT]
    if closed and len(closed) == len(reports):
        raise DataError(closed[0].text)
    return reports


def _wanted(source: Source, present: Sequence[str], chosen: Sequence[str]) -> Sequence[str]:
    described = source.described()
    published = () if described is None else described.sizes
    known = tuple(dict.fromkeys((*present, *published)))
    unknown = next((split for split in chosen if split not in known), None)
    if unknown is not None:
        raise DataError(f"There is no split {unknown!r}.{nearest(unknown, known)}")
    if not present:
        raise_faults(source.faults(None))
    return tuple(dict.fromkeys(chosen)) or known


def _report(source: Source, split: str, present: bool, seen: _Seen, workers: int | None) -> SplitReport:
    try:
        with reading():
            dataset, lonely = source.partial(split)
    except DataError as error:
        missing = f"{split}: this published split is not there. {error} Or choose others with --split."
        fault = _finding(UNREADABLE_SPLIT, str(error)) if present else _finding(MISSING_SPLIT, missing)
        return SplitReport(split=split, samples=0, faults=(fault,))
    faults = [*_count_faults(source, split, dataset), *(_finding(INCOMPLETE, text) for text in lonely)]
    notes: list[Finding] = []
    for found in every_sample(dataset, _examine, workers, split):
        if isinstance(found, Finding):
            faults.append(found)
        elif found.digest not in seen:
            seen[found.digest] = split, found.id
        else:
            twin = _twin(found.id, split, *seen[found.digest])
            (faults if twin.kind == DUPLICATE_ACROSS else notes).append(twin)
    return SplitReport(split=split, samples=len(dataset), faults=tuple(faults), notes=tuple(notes))


def _count_faults(source: Source, split: str, dataset: SegmentationDataset) -> list[Finding]:
    described = source.described()
    if described is None:
        return []
    published = described.sizes.get(split, len(dataset))
    if len(dataset) == published:
        return []
    text = f"{split}: holds {len(dataset)} whole samples, but {published} are published; fetch the dataset again."
    return [_finding(COUNT, text)]


def _examine(dataset: SegmentationDataset, index: int) -> _Picture | Finding:
    try:
        sample = dataset[index]
    except DataError as error:
        return _finding(_KINDS.get(type(error), UNREADABLE), str(error))
    image = sample["image"]
    digest = hashlib.blake2b(str(image.shape).encode(), digest_size=16)
    digest.update(image.data)
    return _Picture(sample["id"], digest.digest())


def _twin(id: str, split: str, other_split: str, other: str) -> Finding:
    if split == other_split:
        text = f"{split} {id}: shows the same picture as {other} of this split."
        return Finding(DUPLICATE_WITHIN, id, text)
    text = f"{split} {id}: shows the same picture as {other_split} {other}; leave one out, or scores tell too much."
    return Finding(DUPLICATE_ACROSS, id, text)


def _finding(kind: str, text: str) -> Finding:
    """Return a finding whose sentence begins, as all of this package about a file do, with what it is about."""
    return Finding(kind, text.partition(": ")[0], text)
