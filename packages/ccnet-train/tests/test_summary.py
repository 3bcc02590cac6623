import shlex
from pathlib import Path

import pytest

from ccnet_train.run_folder import RunFolder
from ccnet_train.summary import summary

BEST = {"step": 40, "miou": 0.98765, "macc": 0.9, "aacc": 0.9}


def test_it_says_what_came_out_where_it_is_and_how_to_use_it():
    assert summary(RunFolder(Path("runs/a")), BEST, "02:31, steps 1 to 60").splitlines() == [
        "best  mIoU 0.9877 at step 40: runs/a/best",
        "last  runs/a/last",
        "time  02:31, steps 1 to 60",
        "next  ccnet predict PICTURE --model runs/a/best",
    ]


def test_a_run_that_did_not_train_now_has_no_time():
    assert "time" not in summary(RunFolder(Path("runs/a")), BEST, None)


@pytest.mark.parametrize("folder", ["my runs/a", "runs/it's", "$HOME/a"])
def test_its_command_works_in_a_shell(folder):
    command = summary(RunFolder(Path(folder)), BEST, None).splitlines()[-1].removeprefix("next  ")
    assert shlex.split(command) == ["ccnet", "predict", "PICTURE", "--model", f"{folder}/best"]
