import json

import pytest

from ccnet_train import TrainError
from ccnet_train.history import History


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def filled(path):
    history = History(path, until=0, write=True)
    for step in range(1, 5):
        history.add(step, loss=1 / step, lr=0.1)
        if step % 2 == 0:
            history.add(step, miou=step / 10, macc=0.5, aacc=0.5)
    return history


def test_every_record_is_a_line_at_once(path):
    history = filled(path)
    assert lines(path) == history.records
    assert [record["step"] for record in lines(path)] == [1, 2, 2, 3, 4, 4]


def test_opening_drops_what_lies_after_the_step_to_continue_from(path):
    filled(path)
    history = History(path, until=2, write=True)
    assert [record["step"] for record in lines(path)] == [1, 2, 2]
    assert history.records == lines(path)


def test_numbers_come_back_exactly(path):
    filled(path)
    assert lines(path)[3]["loss"] == 1 / 3


DAMAGED = [b'{"step": 4, "lo', b"3", b'{"loss": 1}', b'{"step": 4, "loss": "x"}', b"\xff"]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_last_line_is_dropped(path, line):
    filled(path)
    path.write_bytes(path.read_bytes() + line)
    assert len(History(path, until=4, write=True).records) == len(lines(path)) == 6


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_before_the_last_is_refused_and_the_file_left(path, line):
    filled(path)
    before = path.read_bytes().split(b"\n", 1)
    damaged = b"\n".join([before[0], line, before[1]])
    path.write_bytes(damaged)
    with pytest.raises(TrainError, match=r"metrics\.jsonl, line 2: damaged .*--fresh"):
        History(path, until=4, write=True)
    assert path.read_bytes() == damaged


def test_a_new_run_starts_empty(path):
    filled(path)
    assert History(path, until=0, write=True).records == lines(path) == []


def test_the_best_is_the_first_of_the_highest(path):
    history = filled(path)
    history.add(6, miou=0.4, macc=0.5, aacc=0.5)
    assert history.best["step"] == 4
    assert History(path, until=1, write=False).best is None


def test_a_process_that_does_not_write_leaves_the_file(path):
    filled(path)
    before = path.read_text()
    History(path, until=2, write=False).add(9, loss=1.0, lr=0.1)
    assert path.read_text() == before
