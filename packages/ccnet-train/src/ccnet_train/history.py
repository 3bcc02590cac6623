"""`metrics.jsonl`: one JSON object per logged step and per evaluation."""

import json
from pathlib import Path

from ccnet_core import files

Record = dict[str, float]
"""`step`, `loss`, `lr` of a logged step, or `step`, `miou`, `macc`, `aacc` of an evaluation."""


class History:
    """The records of a run up to now, in memory and, where `write` is set, in the file at `path`.

    Opening drops what lies after step `until`, where the run continues, so that no step is recorded twice.
    """

    def __init__(self, path: Path, *, until: int, write: bool) -> None:
        self.path = path
        self.write = write
        self.records = [record for record in _read(path) if record["step"] <= until] if until else []
        if write:
            files.write_text(path, "".join(map(_line, self.records)))

    def add(self, record: Record) -> None:
        """Append `record`, also to the file."""
        self.records.append(record)
        if self.write:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(record))

    @property
    def best(self) -> Record | None:
        """The evaluation with the highest `miou`, the first of equals; None before any evaluation."""
        return max((record for record in self.records if "miou" in record), key=lambda r: r["miou"], default=None)


def _line(record: Record) -> str:
    return json.dumps(record) + "\n"


def _read(path: Path) -> list[Record]:
    records = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break  # a kill can leave half of the last line
    return records
