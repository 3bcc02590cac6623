import json
import signal

import pytest
import torch

import ccnet_core as ccnet
from ccnet_core import CCNet
from ccnet_train import TrainError, fit, loop
from ccnet_train.evaluate import evaluate_weights
from ccnet_train.recipe import to_yaml


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_its_files_and_learns(squares, tmp_path):
    recipe = squares("train.iterations=60", "optimiser.lr=5e-3", "evaluate.every=20", "checkpoint.every=30")
    result = fit(recipe, quiet=True)
    folder = tmp_path / "run"
    names = {path.name for path in folder.iterdir()}
    expected = {"recipe.yaml", "metrics.jsonl", "checkpoints", "best", "last", "tensorboard", "preview.png"}
    assert names == expected
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step-000030", "step-000060"]
    assert list(result.history) == records(folder)
    assert result.best_miou > 0.8
    scores, _ = evaluate_weights(recipe, result.best_folder)
    assert scores.miou == result.best_miou
    assert CCNet.from_pretrained(result.last_folder).config.classes == ("ground", "red", "green")


def test_the_lines_of_metrics_have_exactly_the_promised_keys(squares, tmp_path):
    fit(squares("train.iterations=5", "evaluate.every=2", "log.every=2"), quiet=True)
    lines = records(tmp_path / "run")
    assert [(line["step"], set(line) - {"step"}) for line in lines] == [
        (2, {"loss", "lr"}),
        (2, {"miou", "macc", "aacc"}),
        (4, {"loss", "lr"}),
        (4, {"miou", "macc", "aacc"}),
        (5, {"loss", "lr"}),
        (5, {"miou", "macc", "aacc"}),
    ]


def test_a_run_killed_and_started_again_equals_one_that_was_not(squares, command, tmp_path):
    paths = {}
    for name in ("whole", "killed"):
        paths[name] = tmp_path / f"{name}.yaml"
        paths[name].write_text(to_yaml(squares(f"output={tmp_path / name}", "model.name=ccnet_small")))
    assert command("fit", paths["whole"]).returncode == 0
    killed = command("fit", paths["killed"], FAKE_DIE_AT="30")  # in step 8, after the checkpoint of step 5
    assert killed.returncode == -signal.SIGKILL
    assert max(line["step"] for line in records(tmp_path / "killed")) == 7
    resumed = command("fit", paths["killed"])
    assert resumed.returncode == 0, resumed.stderr
    assert "steps 6 to 12" in resumed.stdout
    assert records(tmp_path / "killed") == records(tmp_path / "whole")
    weights = [tmp_path / name / "last" / "model.safetensors" for name in paths]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_workers_do_not_change_the_losses(squares):
    one = fit(squares("train.iterations=3"), quiet=True).history
    two = fit(squares("train.iterations=3", "data.workers=2"), fresh=True, quiet=True).history
    assert one == two


def test_a_finished_run_says_so_and_is_returned_as_it_is(squares, tmp_path, capsys, monkeypatch):
    first = fit(squares("train.iterations=2"), quiet=True)
    monkeypatch.setattr(loop, "build_run", None)
    assert fit(squares("train.iterations=2")) == first
    assert "this run is finished (2 steps). Start over with --fresh." in capsys.readouterr().out


def test_a_changed_recipe_is_refused_and_fresh_starts_over(squares):
    fit(squares("train.iterations=2"), quiet=True)
    with pytest.raises(TrainError, match=r"train.iterations was 2, is 3"):
        fit(squares("train.iterations=3"), quiet=True)
    result = fit(squares("train.iterations=3"), fresh=True, quiet=True)
    assert [line["step"] for line in result.history] == [1, 2, 3, 3]


def test_best_keeps_the_highest_score_and_last_the_newest(squares, tmp_path, monkeypatch):
    evaluated = []
    evaluate = loop.evaluate

    def falling(network, *arguments, **options):
        evaluated.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        scores = evaluate(network, *arguments, **options)
        object.__setattr__(scores, "miou", 0.9 - 0.1 * len(evaluated))
        return scores

    monkeypatch.setattr(loop, "evaluate", falling)
    result = fit(squares("train.iterations=3", "evaluate.every=1"), quiet=True)
    assert result.best_miou == 0.8
    for folder, expected in ((result.best_folder, evaluated[0]), (result.last_folder, evaluated[2])):
        stored = CCNet.from_pretrained(folder).state_dict()
        assert all(torch.equal(stored[name], tensor) for name, tensor in expected.items())


def test_a_loss_that_is_not_finite_stops_the_run(squares, monkeypatch):
    monkeypatch.setattr(loop, "training_loss", lambda network, output, *rest: output.logits.sum() * float("nan"))
    with pytest.raises(TrainError, match=r"loss is nan at step 1. Lower optimiser.lr"):
        fit(squares(), quiet=True)


def test_the_callers_random_state_and_settings_survive(squares):
    torch.manual_seed(7)
    expected = torch.rand(())
    torch.manual_seed(7)
    fit(squares("train.iterations=2"), quiet=True)
    assert torch.rand(()) == expected


def test_the_auxiliary_head_is_trained(squares, tmp_path):
    overrides = ("train.iterations=1", "model.name=ccnet_small", "optimiser.name=sgd", "optimiser.lr=0.1")
    trained = []
    for weight in ("0", "0.4"):
        result = fit(squares(*overrides, f"loss.auxiliary_weight={weight}"), fresh=True, quiet=True)
        trained.append(ccnet.CCNet.from_pretrained(result.last_folder).auxiliary_head.classify.conv.weight)
    assert not torch.equal(*trained)


def test_a_quiet_run_prints_nothing(squares, capfd):
    fit(squares("train.iterations=1"), quiet=True)
    assert capfd.readouterr() == ("", "")
