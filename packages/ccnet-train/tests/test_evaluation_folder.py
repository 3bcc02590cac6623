import dataclasses
import json

import numpy as np
import pytest

from ccnet_core.config import InferencePlan
from ccnet_train import TrainError
from ccnet_train.evaluation import PictureCounts
from ccnet_train.evaluation_folder import (
    clear,
    continue_evaluation,
    part_of,
    read_evaluation,
    read_subject,
    write_evaluation,
)
from ccnet_train.subject import Subject

SUBJECT = Subject(
    weights="runs/a/best",
    digest="0f",
    model="ccnet_tiny",
    data="squares",
    options={"length": 3},
    split="val",
    pictures=3,
    plan=InferencePlan(mode="slide", crop=(8, 8), stride=(4, 4), scales=(0.5, 1.0), flip=True),
    precision="no",
    classes=("a", "b"),
    palette=((1, 2, 3), (4, 5, 6)),
)
PICTURES = [PictureCounts(index=index, id=f"é{index}", cells=np.array([[0, 1, index + 1]])) for index in range(3)]


def lines(pictures):
    return [picture.to_line() for picture in pictures]


def add(folder, process, *pictures, ending="\n"):
    with part_of(folder, process).open("a") as file:
        file.write("\n".join(lines(pictures)) + ending)


def test_what_is_written_is_read_back(tmp_path):
    write_evaluation(tmp_path / "new", SUBJECT, PICTURES)
    assert read_subject(tmp_path / "new") == SUBJECT
    found = read_evaluation(tmp_path / "new")
    assert (found.classes, found.ids) == (("a", "b"), ("é0", "é1", "é2"))
    assert found.confusion.tolist() == [[0, 6], [0, 0]]


def test_a_folder_without_an_evaluation_is_refused(tmp_path):
    with pytest.raises(TrainError, match=r"holds no evaluation .* ccnet-train evaluate"):
        read_evaluation(tmp_path)


def test_an_evaluation_that_is_not_finished_is_refused(tmp_path):
    write_evaluation(tmp_path, SUBJECT, PICTURES[:2])
    with pytest.raises(TrainError, match=r"2 of 3 pictures are evaluated. Give the same command again"):
        read_evaluation(tmp_path)


def test_one_that_was_stopped_goes_on_from_what_every_process_had_counted(tmp_path):
    assert continue_evaluation(tmp_path, SUBJECT, PictureCounts.from_line) == []
    add(tmp_path, 0, PICTURES[2])
    add(tmp_path, 1, PICTURES[0])
    assert lines(continue_evaluation(tmp_path, SUBJECT, PictureCounts.from_line)) == lines([PICTURES[0], PICTURES[2]])
    assert not list(tmp_path.glob("*.part.*"))
    add(tmp_path, 7, PICTURES[1])
    assert lines(continue_evaluation(tmp_path, SUBJECT, PictureCounts.from_line)) == lines(PICTURES)
    assert read_evaluation(tmp_path).ids == ("é0", "é1", "é2")


def test_half_a_last_line_is_counted_once_more(tmp_path):
    continue_evaluation(tmp_path, SUBJECT, PictureCounts.from_line)
    add(tmp_path, 0, PICTURES[0], PICTURES[1], ending="")
    assert lines(continue_evaluation(tmp_path, SUBJECT, PictureCounts.from_line)) == lines(PICTURES[:1])


@pytest.mark.parametrize(
    "change", [{"digest": "1e"}, {"split": "test"}, {"plan": InferencePlan()}, {"labels": "ade20k"}]
)
def test_another_evaluation_in_the_folder_is_named_and_stays(tmp_path, change):
    write_evaluation(tmp_path, SUBJECT, PICTURES)
    with pytest.raises(TrainError, match=rf"holds another evaluation: {next(iter(change))} was .* --fresh"):
        continue_evaluation(tmp_path, dataclasses.replace(SUBJECT, **change), PictureCounts.from_line)
    assert read_evaluation(tmp_path).ids == ("é0", "é1", "é2")


def test_weights_may_lie_elsewhere(tmp_path):
    write_evaluation(tmp_path, SUBJECT, PICTURES)
    moved = dataclasses.replace(SUBJECT, weights="moved")
    assert len(continue_evaluation(tmp_path, moved, PictureCounts.from_line)) == 3


def test_damage_is_told_with_the_file(tmp_path):
    write_evaluation(tmp_path, SUBJECT, PICTURES)
    (tmp_path / "pictures.jsonl").write_text("nonsense\n" * 3)
    with pytest.raises(TrainError, match=r"pictures.jsonl: damaged .* --fresh"):
        read_evaluation(tmp_path)
    (tmp_path / "evaluation.json").write_text(json.dumps({"format_version": 9}))
    with pytest.raises(TrainError, match=r"evaluation.json: not an evaluation in format 1"):
        read_evaluation(tmp_path)
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(TrainError, match=r"evaluation.json: cannot be read"):
        read_subject(tmp_path)


def test_counts_of_other_classes_are_damage(tmp_path):
    write_evaluation(tmp_path, dataclasses.replace(SUBJECT, classes=("a",), palette=((1, 2, 3),)), PICTURES)
    with pytest.raises(TrainError, match=r"pictures.jsonl: damaged \(é0: counts of a class"):
        read_evaluation(tmp_path)


def test_an_evaluation_of_objects_is_no_counts_of_pixels(tmp_path):
    write_evaluation(tmp_path, dataclasses.replace(SUBJECT, task="instances"), PICTURES)
    with pytest.raises(TrainError, match=r"an evaluation of objects.* cannot be compared"):
        read_evaluation(tmp_path)


def test_clearing_leaves_what_is_not_of_an_evaluation(tmp_path):
    for name in ("labels/a.png", "mine.txt", "report.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    clear(tmp_path)
    assert (tmp_path / "labels/a.png").exists()  # not known to be an evaluation's
    write_evaluation(tmp_path, SUBJECT, PICTURES)
    add(tmp_path, 0, PICTURES[0])
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
