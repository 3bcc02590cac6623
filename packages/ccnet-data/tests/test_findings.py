import json

import pytest

from ccnet_data.findings import Finding, SplitReport, as_json, as_lines

FAULTS = (
    Finding("unreadable", "a.png", "a.png: the file is empty."),
    Finding("size mismatch", "b.png", "b.png: is larger."),
)
NOTE = Finding("duplicate within split", "c", "train c: shows the same picture as d of this split.")


@pytest.fixture
def reports():
    return [
        SplitReport(split="train", samples=5, faults=FAULTS, notes=(NOTE,)),
        SplitReport(split="val", samples=3, faults=()),
        SplitReport(split="test", samples=2, faults=FAULTS[:1]),
    ]


def test_people_read_one_line_per_split_and_finding_and_the_speed(reports):
    assert list(as_lines("folder", reports, 2.0)) == [
        "folder, train: 5 samples, 2 faults, 1 note",
        "  unreadable: a.png: the file is empty.",
        "  size mismatch: b.png: is larger.",
        "  note, duplicate within split: train c: shows the same picture as d of this split.",
        "folder, val: 3 samples, no faults",
        "folder, test: 2 samples, 1 fault",
        "  unreadable: a.png: the file is empty.",
        "10 samples in 2.0 s (5 per second): 3 faults",
    ]


def test_programs_read_one_object(reports):
    found = json.loads(as_json("folder", reports))
    assert (found["dataset"], found["total"]) == ("folder", {"samples": 10, "faults": 3})
    assert {split: (each["samples"], len(each["faults"])) for split, each in found["splits"].items()} == {
        "train": (5, 2),
        "val": (3, 0),
        "test": (2, 1),
    }
    assert found["splits"]["train"]["notes"] == [{"kind": NOTE.kind, "where": "c", "text": NOTE.text}]
    assert found["splits"]["test"]["faults"] == [
        {"kind": "unreadable", "where": "a.png", "text": "a.png: the file is empty."}
    ]
