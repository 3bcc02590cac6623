import pytest

from ccnet_train import TrainError
from ccnet_train.cli import main
from ccnet_train.recipe import to_yaml

# integration/test_train_push.py pushes with the real client.


@pytest.fixture
def path(squares, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml(squares("train.iterations=1")))
    return str(path)


@pytest.fixture
def done(monkeypatch):
    """Note the order in which a run is trained and pushed."""
    order = []

    def fit(recipe, **options):
        order.append("fit")
        return "result"

    def push(recipe, result, repository):
        order.append((result, repository))
        return "https://hub/commit"

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("ccnet_train.loop.fit", fit)
    monkeypatch.setattr("ccnet_train.publish.push", push)
    return order


def test_a_push_is_announced_before_the_run_and_made_after_it(path, done, capsys):
    assert main(["fit", path, "--push", "org/name"]) == 0
    assert done == ["fit", ("result", "org/name")]
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == "after the run its best weights go to org/name"
    assert last == "pushed https://hub/commit"


def test_without_push_nothing_is_pushed(path, done, capsys):
    assert main(["fit", path]) == 0
    assert done == ["fit"]
    assert capsys.readouterr().out == ""


def test_only_the_main_process_pushes(path, done, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert main(["fit", path, "--push", "org/name"]) == 0
    assert done == ["fit"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("words", [[], ["--dry-run"]])
def test_a_place_that_cannot_be_stops_before_the_run(path, done, capsys, words):
    assert main(["fit", path, "--push", "name", *words]) == 2
    assert done == []
    assert capsys.readouterr() == ("", "error: name: expected a Hub name of the form org/name.\n")


def test_a_dry_run_pushes_nothing(path, done, capsys):
    assert main(["fit", path, "--push", "org/name", "--dry-run"]) == 0
    assert done == []
    assert "org/name" in capsys.readouterr().out.splitlines()[0]


def test_a_push_that_fails_is_one_line_and_exit_code_2(path, done, capsys, monkeypatch):
    def refuse(recipe, result, repository):
        raise TrainError("org/name: not pushed.")

    monkeypatch.setattr("ccnet_train.publish.push", refuse)
    assert main(["fit", path, "--push", "org/name"]) == 2
    assert capsys.readouterr().err == "error: org/name: not pushed.\n"
