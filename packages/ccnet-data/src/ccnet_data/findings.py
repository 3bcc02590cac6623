"""What `ccnet-data verify` finds, for people and for programs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

MISSING_SPLIT, UNREADABLE_SPLIT, COUNT = "missing split", "unreadable split", "count differs"
INCOMPLETE, UNREADABLE, SIZE, OUTSIDE = "incomplete", "unreadable", "size mismatch", "outside classes"
DUPLICATE_ACROSS, DUPLICATE_WITHIN = "duplicate across splits", "duplicate within split"
"""The kinds. Incomplete is a file without its partner, an annotation that fits nothing, or a damaged shard."""


class Finding(NamedTuple):
    """One thing found: its kind, the file or sample it is about, and a sentence that names it and the remedy."""

    kind: str
    where: str
    text: str


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """What was found in a split of `samples` samples.

    `notes` are no faults: pictures that come twice within the split, as they do in published datasets.
    """

    split: str
    samples: int
    faults: tuple[Finding, ...]
    notes: tuple[Finding, ...] = ()


def as_lines(name: str, reports: Sequence[SplitReport], seconds: float) -> Iterator[str]:
    """Yield a line for each split and each finding, and one for the whole."""
    for report in reports:
        noted = f", {_count(report.notes, 'note')}" if report.notes else ""
        yield f"{name}, {report.split}: {report.samples} samples, {_count(report.faults, 'fault')}{noted}"
        yield from (f"  {fault.kind}: {fault.text}" for fault in report.faults)
        yield from (f"  note, {note.kind}: {note.text}" for note in report.notes)
    samples = sum(report.samples for report in reports)
    faults = [fault for report in reports for fault in report.faults]
    yield f"{samples} samples in {seconds:.1f} s ({samples / seconds:.0f} per second): {_count(faults, 'fault')}"


def as_json(name: str, reports: Sequence[SplitReport]) -> str:
    """Return one JSON object: dataset, splits {name: {samples, faults, notes}}, total {samples, faults}."""
    splits = {
        report.split: {
            "samples": report.samples,
            "faults": [fault._asdict() for fault in report.faults],
            "notes": [note._asdict() for note in report.notes],
        }
        for report in reports
    }
    total = {
        "samples": sum(report.samples for report in reports),
        "faults": sum(len(report.faults) for report in reports),
    }
    return json.dumps({"dataset": name, "splits": splits, "total": total}, indent=2)


def _count(findings: Sequence[Finding], noun: str) -> str:
    return f"{len(findings) or 'no'} {noun}{'' if len(findings) == 1 else 's'}"
