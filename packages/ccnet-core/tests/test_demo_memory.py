import os
from pathlib import Path

import pytest
import torch

from ccnet_core.demo.memory import give_back, keep_little


def test_the_users_own_choice_is_kept(monkeypatch):
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "7")
    keep_little()
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "7"
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    keep_little()
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "32"
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY")


def test_gaps_between_what_is_kept_are_given_back():
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("how much memory a process holds cannot be asked here")

    def resident():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS:"))

    blocks = [torch.ones(25_000) for _ in range(1000)]  # of 100 kB, too small for a mapping of their own
    del blocks[:-1]  # the last keeps the heap from shrinking
    before = resident()
    give_back()
    assert before - resident() > 50_000
