import json

import pytest
from PIL import Image

from ccnet_train.cli import main
from ccnet_train.commands.compare import CAUTION


@pytest.fixture
def folders(compared_run):
    return [str(compared_run(f"r{seed}", seed=seed)) for seed in range(2)]


def test_it_prints_runs_group_and_caution(folders, capsys):
    assert main(["compare", *folders]) == 0
    out = capsys.readouterr().out
    assert "95 % interval, paired" in out
    assert "mean mIoU" in out
    assert out.endswith(f"{CAUTION}\n")
    assert "minus" not in out


def test_classes_picture_and_numbers_are_there_when_asked_for(folders, tmp_path, capsys):
    picture, numbers = tmp_path / "compare.png", tmp_path / "compare.json"
    assert main(["compare", *folders, "--classes", "--out", str(picture), "--json", str(numbers)]) == 0
    assert f"{folders[1]} minus {folders[0]}" in capsys.readouterr().out
    with Image.open(picture) as opened:
        assert opened.format == "PNG"
    assert len(json.loads(numbers.read_text())["runs"]) == 2


def test_runs_that_repeat_nothing_have_no_group_table(compared_run, folders, capsys):
    assert main(["compare", folders[0], str(compared_run("x", "optimiser.lr=0.5"))]) == 0
    assert "deviation" not in capsys.readouterr().out


def test_one_run_is_an_error_that_says_what_to_give(folders, capsys):
    assert main(["compare", folders[0]]) == 2
    assert capsys.readouterr().err == (
        "error: A comparison needs two runs or more. Give RUN RUN ..., folders of runs or of evaluations.\n"
    )


def test_its_help_says_what_the_intervals_do_not_hold(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    assert " ".join(CAUTION.split()) in " ".join(capsys.readouterr().out.split())
