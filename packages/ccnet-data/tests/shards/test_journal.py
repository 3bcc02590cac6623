import json

import pytest

from ccnet_data.errors import DataError
from ccnet_data.shards.journal import JOURNAL_FILE, open_journal
from ccnet_data.shards.manifest import Shard, shard_name

FILES = [shard_name("train", number, 2) for number in range(2)]
COMMAND = {"dataset": "beacon", "options": {"length": 3}, "encoding": "raw", "shards": {"train": 2}}
SHARD = Shard(file=FILES[0], rows=3, bytes=100, sha256="0" * 64)


def begin(folder, *shards):
    with open_journal(folder, COMMAND, FILES) as journal:
        for shard in shards:
            (folder / shard.file).write_bytes(b"")
            journal.add(shard)
        return journal.shards


def test_what_was_finished_is_known_to_the_next_run(tmp_path):
    assert begin(tmp_path / "new" / "out", SHARD) == {}
    assert begin(tmp_path / "new" / "out") == {FILES[0]: SHARD}


@pytest.mark.parametrize("kept", range(1, 400, 7))
def test_a_line_that_was_cut_off_is_as_if_not_written(tmp_path, kept):
    begin(tmp_path, SHARD)
    place = tmp_path / JOURNAL_FILE
    whole = place.read_bytes()
    place.write_bytes(whole[:kept])
    assert begin(tmp_path) in ({}, {FILES[0]: SHARD})
    begin(tmp_path, SHARD)
    assert begin(tmp_path) == {FILES[0]: SHARD}
    assert place.read_bytes().startswith(json.dumps(COMMAND).encode() + b"\n")


def test_another_command_is_refused_with_what_differs(tmp_path):
    begin(tmp_path, SHARD)
    other = COMMAND | {"encoding": "png", "shards": {"train": 1}}
    message = (
        r"holds a conversion begun with encoding=raw and not png; shards={'train': 2} and not {'train': 1}\. "
        "Finish that one, or choose another folder"
    )
    with pytest.raises(DataError, match=message), open_journal(tmp_path, other, [shard_name("train", 0, 1)]):
        pass


def test_a_folder_with_anything_else_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "thesis.tex").write_bytes(b"words")
    with pytest.raises(DataError, match=r"already holds thesis\.tex; choose a new or an empty folder"):
        begin(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_something_else_that_came_later_is_refused(tmp_path):
    begin(tmp_path, SHARD)
    (tmp_path / "train-00000-of-00003.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"already holds train-00000-of-00003\.parquet"):
        begin(tmp_path)


def test_half_written_shards_are_removed(tmp_path):
    begin(tmp_path, SHARD)
    (tmp_path / f".{FILES[1]}.part-0123456789ab").write_bytes(b"half")
    begin(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [JOURNAL_FILE, FILES[0]]


def test_two_conversions_at_once_are_refused(tmp_path):
    with (
        open_journal(tmp_path, COMMAND, FILES),
        pytest.raises(DataError, match="another process converts into this folder now"),
        open_journal(tmp_path, COMMAND, FILES),
    ):
        pass


@pytest.mark.parametrize("line", [b"{\n", b"\xff\n", b"1\n", b'{"file": "../a"}\n'])
def test_a_damaged_journal_is_told(tmp_path, line):
    begin(tmp_path, SHARD)
    with (tmp_path / JOURNAL_FILE).open("ab") as stream:
        stream.write(line)
    with pytest.raises(DataError, match=r"conversion\.jsonl: "):
        begin(tmp_path)
