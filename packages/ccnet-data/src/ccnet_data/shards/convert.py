"""A dataset to a folder of shards, in several processes; what was killed goes on where it was."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DataError
from ..sample import Sample
from ..workers import Advance, every_job
from .folder import ShardFolder, digest
from .journal import JOURNAL_FILE, open_journal
from .manifest import MANIFEST_FILE, Manifest, Shard, write_manifest
from .plan import Format, Part, Plan, make_plan
from .write import write_shard


class Conversion(NamedTuple):
    """The manifest that was written, or that of an earlier run if `was_complete`."""

    manifest: Manifest
    was_complete: bool


def convert(
    name: str,
    options: Mapping[str, Any],
    out: Path,
    *,
    splits: Sequence[str] = (),
    form: Format | None = None,
    workers: int | None = None,
) -> Conversion:
    """Write the `splits` of the dataset `name`, or all that are there, to shards and a manifest in `out`.

    The bytes depend on neither the number of `workers` (see `every_sample`) nor on how often a run was killed: the same
    command keeps the shards that are whole by their hash and writes the others. Raises DataError for a damaged sample,
    for an `out` that holds anything else or another command's shards, and for a disk that is full.
    """
    plan = make_plan(name, options, splits, form or Format())
    if (out / MANIFEST_FILE).exists():
        return Conversion(_complete(plan, out), was_complete=True)
    files = [part.file for parts in plan.parts.values() for part in parts]
    with open_journal(out, plan.command, files) as journal:
        todo = [_Task(part, out, journal.shards.get(part.file)) for parts in plan.parts.values() for part in parts]
        total = sum(len(task.part.rows) for task in todo)
        shards = {}
        for shard in every_job(todo, _carry_out, workers, total, name):
            shards[shard.file] = shard
            if journal.shards.get(shard.file) != shard:
                journal.add(shard)
        manifest = plan.manifest(shards)
        write_manifest(manifest, out)
    (out / JOURNAL_FILE).unlink()
    return Conversion(manifest, was_complete=False)


@dataclass(frozen=True)
class _Task:
    part: Part
    out: Path
    recorded: Shard | None


def _carry_out(task: _Task, advance: Advance) -> Shard:
    """Return the shard that is there, if it is the recorded one, or write it."""
    place = task.out / task.part.file
    if task.recorded is not None and _is_whole(place, task.recorded):
        advance(task.recorded.rows)
        return task.recorded
    try:
        return write_shard(_samples(task.part, advance), task.part.columns, place)
    except OSError as error:
        raise DataError(
            f"{place}: cannot be written ({error.strerror or error}); whole shards are kept, the same command goes on."
        ) from error


def _is_whole(place: Path, recorded: Shard) -> bool:
    return place.is_file() and place.stat().st_size == recorded.bytes and digest(place) == recorded.sha256


def _samples(part: Part, advance: Advance) -> Iterator[Sample]:
    for index in part.rows:
        yield part.dataset[index]
        advance(1)


def _complete(plan: Plan, out: Path) -> Manifest:
    """Return the manifest in `out` if it is of the same dataset. Raises DataError if not, or if shards are missing."""
    folder = ShardFolder(folder=out)
    manifest = folder.manifest()
    shards = {shard.file: shard for each in manifest.splits.values() for shard in each}
    same_files = shards.keys() == {part.file for parts in plan.parts.values() for part in parts}
    rows = {split: sum(shard.rows for shard in each) for split, each in manifest.splits.items()}
    if not same_files or rows != plan.command["samples"] or plan.manifest(shards) != manifest:
        raise DataError(f"{out}: is complete, but of another dataset or with other options; choose another folder.")
    for fault in folder.absent(tuple(shards.values())):
        raise DataError(fault)
    # A run that was killed between its last two steps.
    (out / JOURNAL_FILE).unlink(missing_ok=True)
    return manifest
