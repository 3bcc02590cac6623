"""The folder of an evaluation: what is measured, and the counts of every picture, complete or to be continued.

`best/` and `last/` of a run hold the same two files beside their weights.
"""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeVar

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
TRUTH_FILE = "coco_truth.json"
BOXES_FILE = "coco_boxes.json"
MASKS_FILE = "coco_masks.json"


class Counted(Protocol):
    """What is kept of a picture: a line of JSON."""

    @property
    def index(self) -> int:
        """Its number in its split."""
        ...

    def to_line(self) -> str:
        """Return the line, without its end."""
        ...


P = TypeVar("P", bound=Counted)


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
    if subject.task == "instances":
        raise TrainError(f"{folder}: an evaluation of objects, not of a class per pixel, so it cannot be compared.")
    pictures = _read_lines(path, PictureCounts.from_line)
    if len(pictures) != subject.pictures:
        raise TrainError(
            f"{folder}: {len(pictures)} of {subject.pictures} pictures are evaluated. Give the same command again."
        )
    try:
        return Evaluation(classes=subject.classes, pictures=tuple(pictures))
    except ValueError as error:
        raise TrainError(f"{path}: damaged ({error}). Evaluate once more, with --fresh.") from error


def write_evaluation(folder: Path, subject: Subject, pictures: Iterable[Counted]) -> None:
    """Write both files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / SUBJECT_FILE, json.dumps(strict.to_mapping(subject), indent=1) + "\n")
    files.write_text(folder / PICTURES_FILE, "".join(f"{picture.to_line()}\n" for picture in pictures))


def continue_evaluation(folder: Path, subject: Subject, read: Callable[[str], P]) -> list[P]:
    """Make `folder` ready for `subject`, and return the pictures that were counted before, made of lines by `read`.

    Raises TrainError if it holds an evaluation of something else.
    """
    known: dict[int, P] = {}
    if (folder / SUBJECT_FILE).is_file():
        changes = differences(read_subject(folder), subject)
        if changes:
            raise TrainError(
                f"{folder} holds another evaluation: {'; '.join(changes)}. Give another --out, or --fresh, which "
                "deletes it."
            )
        for path in (folder / PICTURES_FILE, *sorted(folder.glob(PARTS))):
            known |= {picture.index: picture for picture in _read_lines(path, read)}
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
    results = (TRUTH_FILE, BOXES_FILE, MASKS_FILE)
    for name in (PICTURES_FILE, METRICS_FILE, CONFUSION_FILE, REPORT_FILE, *results, SUBJECT_FILE):
        (folder / name).unlink(missing_ok=True)


def part_of(folder: Path, process: int) -> Path:
    """Return the file to which this process adds what it has counted."""
    return folder / PARTS.replace("*", str(process))


def append(part: Path, picture: Counted) -> None:
    """Add a line to the file of this process."""
    part.parent.mkdir(parents=True, exist_ok=True)  # a machine of its own may not see the main one's
    with part.open("a", encoding="utf-8") as file:
        file.write(picture.to_line() + "\n")


def remove_parts(folder: Path) -> None:
    """Remove what the processes have counted, which now stands in `pictures.jsonl`."""
    for path in folder.glob(PARTS):
        path.unlink()


def _read_lines(path: Path, read: Callable[[str], P]) -> list[P]:
    """Read the pictures of a file; of the last line a kill can leave a half. Raises TrainError for other damage."""
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    try:
        return [read(line.decode()) for line in lines[:-1]]
    except ValueError as error:
        raise TrainError(f"{path}: damaged ({error}). Evaluate once more, with --fresh.") from error
