import pytest

import ccnet_core as ccnet
from ccnet_train.cli import main
from ccnet_train.evaluation_folder import read_subject
from ccnet_train.recipe import to_yaml


@pytest.fixture
def path(squares, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml(squares("data.val.length=2")))
    return str(path)


@pytest.fixture
def weights(tmp_path):
    model = ccnet.CCNet.from_config("ccnet_tiny", classes=("ground", "red", "green"))
    model.save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


def test_it_prints_a_table_and_where_the_rest_is(path, weights, tmp_path, capsys):
    assert main(["evaluate", path, "--weights", str(weights)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("mIoU ")
    assert [line.split()[0] for line in lines[3:6]] == ["ground", "red", "green"]
    assert lines[-1] == f"2 pictures: {tmp_path / 'evaluation' / 'weights-val'}"
    assert (tmp_path / "evaluation/weights-val/metrics.json").is_file()


def test_multi_scale_testing_has_a_folder_of_its_own(path, weights, tmp_path, capsys):
    assert main(["evaluate", path, "--weights", str(weights), "--tta"]) == 0
    assert read_subject(tmp_path / "evaluation/weights-val-tta").plan.flip


def test_the_recipe_says_how_to_predict(path, weights, tmp_path, capsys):
    words = ["evaluate.mode=slide", "evaluate.crop=[16,16]", "evaluate.stride=[8,8]", "--out", str(tmp_path / "out")]
    assert main(["evaluate", path, "--weights", str(weights), *words]) == 0
    plan = read_subject(tmp_path / "out").plan
    assert (plan.mode, plan.crop, plan.stride) == ("slide", (16, 16), (8, 8))


def test_a_finished_evaluation_is_told_again_and_fresh_starts_over(path, weights, tmp_path, capsys, monkeypatch):
    words = ["evaluate", path, "--weights", str(weights), "--out", str(tmp_path / "out")]
    main(words)
    first = capsys.readouterr().out
    predicted, predict = [], ccnet.predict
    monkeypatch.setattr(ccnet, "predict", lambda *a, **k: predicted.append(a) or predict(*a, **k))
    assert main(words) == 0
    assert (capsys.readouterr().out, predicted) == (first, [])
    assert main([*words, "--fresh"]) == 0
    assert (capsys.readouterr().out, len(predicted)) == (first, 2)


def test_a_report_is_written_when_asked_for(path, weights, tmp_path, capsys):
    assert main(["evaluate", path, "--weights", str(weights), "--report", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/report.html").is_file()


def test_without_any_truth_it_says_that_there_is_no_report(path, tmp_path, capsys, monkeypatch, evaluation_of):
    found = evaluation_of(("ground", "red", "green"), [[[0] * 3] * 3])
    monkeypatch.setattr("ccnet_train.evaluate_weights.evaluate_weights", lambda *a, **k: found)
    assert main(["evaluate", path, "--weights", "x", "--labels", "indices", "--report"]) == 0
    assert "no report" in capsys.readouterr().out
