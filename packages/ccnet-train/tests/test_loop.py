import json
import pkgutil
import random
import shutil
import signal

import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core import CCNet
from ccnet_train import TrainError, checkpoint, evaluate, fit, loop
from ccnet_train.evaluate_weights import evaluate_weights
from ccnet_train.recipe import to_yaml


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_run_leaves_its_files_and_learns(squares, tmp_path):
    recipe = squares("train.iterations=60", "optimiser.lr=5e-3", "evaluate.every=20", "checkpoint.every=30")
    result = fit(recipe, quiet=True)
    folder = tmp_path / "run"
    names = {path.name for path in folder.iterdir()}
    expected = {"recipe.yaml", "metrics.jsonl", "checkpoints", "best", "last", "tensorboard", "preview.png"}
    assert names == expected
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step-000040", "step-000060"]
    assert list(result.history) == records(folder)
    assert result.best_miou > 0.8
    assert evaluate_weights(recipe, result.best_folder, out=tmp_path).scores.miou == result.best_miou
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


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_samples_that_were_replaced_are_counted_and_said(squares, tmp_path, workers, capsys):
    recipe = squares(
        "train.iterations=9", "log.every=3", "data.train.replaced=7", f"data.workers={workers}", "augment=null"
    )
    fit(recipe)
    counts = [line.get("replaced") for line in records(tmp_path / "run") if "loss" in line]
    assert counts == [1, 1, 1]  # 4 pictures a step: every 3 steps each of the 12 pictures comes once
    assert "step 3: 1 damaged samples replaced, among them: 7.png: not a readable picture\n" in capsys.readouterr().out


def test_a_run_killed_and_started_again_equals_one_that_was_not(squares, command, tmp_path):
    paths = {}
    for name in ("whole", "killed"):
        paths[name] = tmp_path / f"{name}.yaml"
        paths[name].write_text(to_yaml(squares(f"output={tmp_path / name}", "model.name=ccnet_small")))
    assert command("fit", paths["whole"]).returncode == 0
    killed = command(
        "fit", paths["killed"], FAKE_DIE_AT="31"
    )  # in step 8, after the evaluation of step 6, which is a checkpoint; one picture is read before
    assert killed.returncode == -signal.SIGKILL
    assert max(line["step"] for line in records(tmp_path / "killed")) == 7
    resumed = command("fit", paths["killed"])
    assert resumed.returncode == 0, resumed.stderr
    assert "steps 7 to 12" in resumed.stdout
    assert records(tmp_path / "killed") == records(tmp_path / "whole")
    weights = [tmp_path / name / "last" / "model.safetensors" for name in paths]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_workers_do_not_change_the_losses(squares):
    one = fit(squares("train.iterations=3"), quiet=True).history
    two = fit(squares("train.iterations=3", "data.workers=2"), fresh=True, quiet=True).history
    assert one == two


def test_a_finished_run_says_so_and_is_returned_as_it_is(squares, tmp_path, capsys, monkeypatch):
    first = fit(squares("train.iterations=2"), quiet=True)
    monkeypatch.setattr(loop, "load_parts", None)
    before = contents(tmp_path / "run")
    assert fit(squares("train.iterations=2")) == first
    assert contents(tmp_path / "run") == before
    assert "this run is finished (2 steps). Start over with --fresh." in capsys.readouterr().out


def test_a_changed_recipe_is_refused_and_fresh_starts_over(squares):
    fit(squares("train.iterations=2"), quiet=True)
    with pytest.raises(TrainError, match=r"train.iterations was 2, is 3"):
        fit(squares("train.iterations=3"), quiet=True)
    result = fit(squares("train.iterations=3"), fresh=True, quiet=True)
    assert [line["step"] for line in result.history] == [1, 2, 3, 3]


def test_best_keeps_the_highest_score_and_last_the_newest(squares, tmp_path, monkeypatch):
    evaluated = []
    measure = evaluate.evaluate

    def falling(network, *arguments, **options):
        evaluated.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        found = measure(network, *arguments, **options)
        object.__setattr__(found.scores, "miou", 0.9 - 0.1 * len(evaluated))
        return found

    monkeypatch.setattr(evaluate, "evaluate", falling)
    result = fit(squares("train.iterations=3", "evaluate.every=1"), quiet=True)
    assert result.best_miou == 0.8
    for folder, expected in ((result.best_folder, evaluated[0]), (result.last_folder, evaluated[2])):
        stored = CCNet.from_pretrained(folder).state_dict()
        assert all(torch.equal(stored[name], tensor) for name, tensor in expected.items())


def seed_all(seed):
    torch.manual_seed(seed), random.seed(seed), np.random.seed(seed)


def draw_all():
    return float(torch.rand(())), random.random(), np.random.random()


def test_the_callers_random_state_and_settings_survive(squares, tmp_path):
    for seed in (7, 8):  # the second run loads the generators that the first one stored after step 1
        seed_all(seed)
        expected = draw_all()
        seed_all(seed)
        fit(squares("train.iterations=2", "checkpoint.every=1"), quiet=True)
        assert draw_all() == expected
        shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-000002")


class Killed(BaseException):
    pass


def kill_at(monkeypatch, place, call):
    """Raise Killed instead of the `call`th call of `place`."""
    path, name = place.rsplit(".", 1)
    owner = pkgutil.resolve_name(path)
    original, calls = getattr(owner, name), []

    def counted(*arguments, **options):
        calls.append(name)
        if len(calls) == call:
            raise Killed
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, counted)


@pytest.mark.parametrize(
    ("place", "call", "resumed"),
    [
        ("ccnet_train.preview.write_preview", 2, 2),
        ("ccnet_train.checkpoint.write_state", 2, 2),
        ("ccnet_train.manifest.write", 2, 2),
        ("ccnet_train.checkpoint.sync", 2, 4),  # from here on the checkpoint is there
        ("ccnet_train.kept_weights.settle", 2, 4),
        ("ccnet_train.kept_weights.files.replace_folder", 6, 4),  # last/ is settled, best/ is not
        ("ccnet_train.loop.take_step", 5, 4),
    ],
)
def test_after_any_kill_best_holds_the_step_that_the_history_reports(
    squares, tmp_path, monkeypatch, place, call, resumed
):
    """Every evaluation is better than the one before; the kill comes while that of step 4 is saved, or after."""
    measure, evaluated = evaluate.evaluate, {}

    def rising(network, *arguments, **options):
        step = 2 * len(evaluated) + 2
        evaluated[step] = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        found = measure(network, *arguments, **options)
        object.__setattr__(found.scores, "miou", step / 10)
        return found

    overrides = ("train.iterations=6", "evaluate.every=2", "checkpoint.every=5")
    monkeypatch.setattr(evaluate, "evaluate", rising)
    for killed in ((place, call), ("ccnet_train.loop.take_step", 1)):
        with monkeypatch.context() as patch:
            kill_at(patch, *killed)
            with pytest.raises(Killed):
                fit(squares(*overrides), quiet=True)
    assert records(tmp_path / "run")[-1]["miou"] == resumed / 10
    stored = CCNet.from_pretrained(tmp_path / "run" / "best").state_dict()
    assert all(torch.equal(stored[name], tensor) for name, tensor in evaluated[resumed].items())


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_missing_weights_folder_comes_back_from_the_checkpoint(squares, tmp_path, name):
    fit(squares("train.iterations=2"), quiet=True)
    weights = (tmp_path / "run" / name / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "run" / name)
    fit(squares("train.iterations=2"), quiet=True)
    assert (tmp_path / "run" / name / "model.safetensors").read_bytes() == weights


def damage(tmp_path, step, name):
    path = tmp_path / "run" / "checkpoints" / f"step-{step:06}" / name
    path.write_bytes(path.read_bytes()[:-1])


def test_a_damaged_checkpoint_is_named_and_the_run_goes_back_to_the_one_before(squares, tmp_path, capsys):
    recipe = squares("evaluate.every=4", "checkpoint.every=4")
    whole = fit(recipe, quiet=True)
    stored = {name: (tmp_path / "run" / name / "model.safetensors").read_bytes() for name in ("best", "last")}
    damage(tmp_path, 12, "state.pt")
    assert fit(recipe) == whole
    out = capsys.readouterr().out
    assert "step-000012 is damaged (state.pt is not what was written): going back to step 8\n" in out
    assert "steps 9 to 12" in out
    for name, content in stored.items():
        assert (tmp_path / "run" / name / "model.safetensors").read_bytes() == content


def test_going_back_takes_last_back_too(squares, tmp_path, monkeypatch):
    recipe = squares("evaluate.every=4", "checkpoint.every=2", "checkpoint.keep=3")
    fit(recipe, quiet=True)
    older = tmp_path / "run" / "checkpoints" / "step-000010" / "last" / "model.safetensors"
    expected = older.read_bytes()
    damage(tmp_path, 12, "manifest.json")
    kill_at(monkeypatch, "ccnet_train.loop.take_step", 1)
    with pytest.raises(Killed):
        fit(recipe, quiet=True)
    assert (tmp_path / "run" / "last" / "model.safetensors").read_bytes() == expected
    assert max(line["step"] for line in records(tmp_path / "run")) == 10


def test_a_run_whose_checkpoints_are_all_damaged_is_refused(squares, tmp_path):
    fit(squares("checkpoint.every=6"), quiet=True)
    for step in (6, 12):
        damage(tmp_path, step, "state.pt")
    before = contents(tmp_path / "run")
    with pytest.raises(TrainError, match=r"step-000012 is damaged .*step-000006 is damaged .*--fresh"):
        fit(squares("checkpoint.every=6"), quiet=True)
    assert contents(tmp_path / "run") == before


def test_a_run_whose_checkpoints_were_removed_is_not_started_over(squares, tmp_path):
    fit(squares("train.iterations=2"), quiet=True)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(TrainError, match=r"best is there, but no checkpoint .*--fresh"):
        fit(squares("train.iterations=2"), quiet=True)


def test_a_change_that_is_allowed_continues_with_the_new_values(squares, tmp_path, capsys):
    fit(squares("train.iterations=2"), quiet=True)
    result = fit(squares("train.iterations=3", "optimiser.weight_decay=0.5", "optimiser.lr=0.5"), allow_change=True)
    out = capsys.readouterr().out
    assert "--allow-change: train.iterations was 2, is 3\n" in out
    assert "steps 3 to 3" in out
    assert [line["step"] for line in result.history] == [1, 2, 2, 3, 3]
    state = checkpoint.read_state(checkpoint.latest(tmp_path / "run" / "checkpoints"))
    assert "param_groups" not in state["optimiser"]
    fit(squares("train.iterations=3", "optimiser.weight_decay=0.5", "optimiser.lr=0.5"), quiet=True)


@pytest.mark.parametrize("change", ["model.name=ccnet_small", "optimiser.name=sgd"])
def test_a_change_that_the_state_does_not_fit_is_one_line(squares, change):
    fit(squares("train.iterations=1"), quiet=True)
    with pytest.raises(TrainError, match=r"saved state does not fit the recipe .*--fresh") as raised:
        fit(squares("train.iterations=2", change), allow_change=True, quiet=True)
    assert "\n" not in str(raised.value)
    fit(squares("train.iterations=1"), quiet=True)  # the recipe of that run still is what the folder says


@pytest.mark.parametrize(
    "override",
    [
        "model.name=ccnet_tny",
        "loss.class_weights=[1,1]",
        "augment={flop: 1}",
        "data.val.broken=0",
        "model.weights=OWN",
    ],
)
def test_fresh_deletes_nothing_before_all_is_checked(squares, tmp_path, override):
    fit(squares("train.iterations=1"), quiet=True)
    before = contents(tmp_path / "run")
    with pytest.raises(ValueError):  # noqa: PT011
        fit(squares(override.replace("OWN", str(tmp_path / "run" / "best"))), fresh=True, quiet=True)
    assert contents(tmp_path / "run") == before


def test_fresh_deletes_nothing_before_the_class_weights_are_counted(squares, tmp_path):
    fit(squares("train.iterations=1"), quiet=True)
    recipe = squares("loss.class_weights=inverse_sqrt_frequency", "data.train.broken=4")
    with pytest.raises(TrainError, match=r"4.png: not a readable picture"):
        fit(recipe, fresh=True, quiet=True)
    assert (tmp_path / "run" / "best").is_dir()


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
