"""The folder of an evaluation: what is measured, and the counts of every picture, complete or to be continued.

`best/` and `last/` of a run hold the same two files beside their weights.
"""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from ccnet_core import files, strict
from ccnet_train.errors import TrainError
from ccnet_train.evaluation import Evaluation, PictureCounts
from ccnet_train.subject import FORMAT_VERSION, Subject, differences

SUBJECT_FILE = "evaluation.json"
PICTURES_FILE = "pictures.jsonl"
PARTS = "pictures-*.part.jsonl"
"""What the processes of an evaluation that is not finished have counted, one file each."""

METRICS_FILE = "metrics.json"
CONFUSION_FILE = "confusion.png"
REPORT_FILE = "report.html"
LABELS_FOLDER = "labels"


def read_subject(folder: Path) -> Subject:
    """Read `evaluation.json`. Raises TrainError that names the file and what to do."""
    path = folder / SUBJECT_FILE
    if not path.is_file():
        raise TrainError(f"{folder}: holds no evaluation ({SUBJECT_FILE} is missing). Make one: ccnet-train evaluate")
    content = strict.read_json(path, error=TrainError)
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
        raise TrainError(f"{path}: not an evaluation in format {FORMAT_VERSION}. Evaluate once more, with --fresh.")
    return strict.from_mapping(Subject, content, where=str(path), error=TrainError)


def read_evaluation(folder: Path) -> Evaluation:
    """Read a finished evaluation. Raises TrainError if there is none, it is damaged or not finished."""
    subject, path = read_subject(folder), folder / PICTURES_FILE
    pictures = _read_lines(path)
    if len(pictures) != subject.pictures:
        raise TrainError(
            f"{folder}: {len(pictures)} of {subject.pictures} pictures are evaluated. Give the same command again."
        )
    try:
        return Evaluation(classes=subject.classes, pictures=tuple(pictures))
    except ValueError as error:
        raise TrainError(f"{path}: damaged ({error}). Evaluate once more, with --fresh.") from error


def write_evaluation(folder: Path, subject: Subject, pictures: Iterable[PictureCounts]) -> None:
    """Write both files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / SUBJECT_FILE, json.dumps(strict.to_mapping(subject), indent=1) + "\n")
    files.write_text(folder / PICTURES_FILE, "".join(f"{picture.to_line()}\n" for picture in pictures))


def continue_evaluation(folder: Path, subject: Subject) -> list[PictureCounts]:
    """Make `folder` ready for `subject`, and return the pictures that were counted before.

    Raises TrainError if it holds an evaluation of something else.
    """
    known: dict[int, PictureCounts] = {}
    if (folder / SUBJECT_FILE).is_file():
        changes = differences(read_subject(folder), subject)
        if changes:
            raise TrainError(
                f"{folder} holds another evaluation: {'; '.join(changes)}. Give another --out, or --fresh, which "
                "deletes it."
            )
        for path in (folder / PICTURES_FILE, *sorted(folder.glob(PARTS))):
            known |= {picture.index: picture for picture in _read_lines(path)}
    pictures = [known[index] for index in sorted(known)]
    write_evaluation(folder, subject, pictures)
    remove_parts(folder)
    return pictures


def clear(folder: Path) -> None:
    """Delete the evaluation in `folder`, if it holds one, and nothing else."""
    if not (folder / SUBJECT_FILE).is_file():
        return
    shutil.rmtree(folder / LABELS_FOLDER, ignore_errors=True)
    remove_parts(folder)
    for name in (PICTURES_FILE, METRICS_FILE, CONFUSION_FILE, REPORT_FILE, SUBJECT_FILE):
        (folder / name).unlink(missing_ok=True)


def part_of(folder: Path, process: int) -> Path:
    """Return the file to which this process adds what it has counted."""
    return folder / PARTS.replace("*", str(process))


def remove_parts(folder: Path) -> None:
    """Remove what the processes have counted, which now stands in `pictures.jsonl`."""
    for path in folder.glob(PARTS):
        path.unlink()


def _read_lines(path: Path) -> list[PictureCounts]:
    """Read the pictures of a file; of the last line a kill can leave a half. Raises TrainError for other damage."""
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    try:
        return [PictureCounts.from_line(line.decode()) for line in lines[:-1]]
    except ValueError as error:
        raise TrainError(f"{path}: damaged ({error}). Evaluate once more, with --fresh.") from error
