"""`metrics.jsonl`: one JSON object per logged step and per evaluation."""

import json
from pathlib import Path

from ccnet_core import files
from ccnet_train.errors import TrainError
from ccnet_train.tasks import task_scored_in

Record = dict[str, float]
"""`step`, `loss`, `lr` of a logged step, or `step` and the numbers of an evaluation: `miou`, `macc`, `aacc`.

A logged step also has `replaced`, the number of damaged samples since the one before, if there were any.
"""


class History:
    """The records of a run up to now, in memory and, where `write` is set, in the file at `path`.

    Opening drops what lies after step `until`, where the run continues, so that no step is recorded twice. Raises
    TrainError for a damaged line, unless it is the last one, of which a kill can leave a half.
    """

    def __init__(self, path: Path, *, until: int, write: bool) -> None:
        self.path = path
        self.write = write
        self.records = [record for record in read_records(path) if record["step"] <= until] if until else []
        if write:
            files.write_text(path, "".join(map(_line, self.records)))

    def add(self, step: int, **values: float) -> None:
        """Append the `values` of `step`, also to the file."""
        self.records.append({"step": step, **values})
        if self.write:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(self.records[-1]))

    @property
    def best(self) -> Record | None:
        """The evaluation with the highest score of its task, the first of equals; None before any evaluation."""
        scored = [(record[task.score], record) for record in self.records if (task := task_scored_in(record))]
        return max(scored, key=lambda pair: pair[0], default=(0, None))[1]


def _line(record: Record) -> str:
    return json.dumps(record) + "\n"


def read_records(path: Path) -> list[Record]:
    """Return what the file at `path` holds, nothing if it is not there. Raises TrainError as :class:`History` does."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(_record(line))
        except ValueError as error:
            if number < len(lines):
                raise TrainError(
                    f"{path}, line {number}: damaged ({error}). Restore the file, or start over with --fresh."
                ) from error
    return records


def _record(line: bytes) -> Record:
    content = json.loads(line.decode("utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("step"), int):
        raise ValueError("it holds no step")
    if not all(isinstance(value, int | float) for value in content.values()):
        raise ValueError("it holds something that is no number")
    return content
