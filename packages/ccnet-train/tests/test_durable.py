import os
from pathlib import Path

from ccnet_train.durable import sync_tree

OPEN = Path("/proc/self/fd")


def test_every_file_and_folder_is_forced_to_the_disk(tmp_path, monkeypatch):
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "model").write_text("weights")
    (tmp_path / "state").write_text("state")
    forced, fsync = [], os.fsync

    def noted(handle):
        forced.append((OPEN / str(handle)).readlink())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    before = len(list(OPEN.iterdir()))
    sync_tree(tmp_path)
    assert sorted(forced) == sorted([tmp_path, *tmp_path.rglob("*")])
    assert len(list(OPEN.iterdir())) == before
