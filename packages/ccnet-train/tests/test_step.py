import json
import math

import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer

import ccnet_core as ccnet
from ccnet_train import TrainError, checkpoint, fit, step
from ccnet_train.losses import Objective
from ccnet_train.optimise import learning_rate
from ccnet_train.positions import index_at
from ccnet_train.step import lr_at


@pytest.fixture
def poisoned(monkeypatch):
    """Let the loss of some forward passes, counted from 1, be another number."""

    def poison(values):
        forward, calls = Objective.forward, []

        def changed(*arguments):
            calls.append(arguments)
            loss = forward(*arguments)
            return loss * values.get(len(calls), 1.0)

        monkeypatch.setattr(Objective, "forward", changed)

    return poison


def ids_of(recipe, positions):
    return [f"train-{index_at(position, seed=recipe.seed, samples=12)}" for position in positions]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_and_samples(squares, tmp_path, poisoned, value):
    poisoned({5: value})
    recipe = squares("checkpoint.every=2")
    with pytest.raises(TrainError, match=rf"step 5: the loss is {value}, with the samples ") as raised:
        fit(recipe, quiet=True)
    assert f"with the samples {', '.join(ids_of(recipe, range(16, 20)))}. " in str(raised.value)
    assert "train.nonfinite=skip" in str(raised.value)
    assert checkpoint.latest(tmp_path / "run" / "checkpoints").step == 4


def test_only_the_samples_of_the_micro_batch_that_met_it_are_named(squares, poisoned):
    poisoned({6: math.nan})
    recipe = squares("train.accumulation=2")
    with pytest.raises(TrainError) as raised:
        fit(recipe, quiet=True)
    assert f"step 3: the loss is nan, with the samples {', '.join(ids_of(recipe, (10, 11)))}. " in str(raised.value)


@pytest.mark.parametrize("due", ["evaluate.every=1", "checkpoint.every=1"])
def test_a_step_that_is_not_finite_is_never_saved(squares, tmp_path, poisoned, due):
    poisoned({1: math.inf})
    with pytest.raises(TrainError, match=r"step 1: the loss is inf"):
        fit(squares("log.every=5", due), quiet=True)
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


def test_a_step_that_is_left_out_changes_no_weight_statistic_momentum_or_average(squares, monkeypatch, poisoned):
    poisoned({3: math.nan})
    found = {}
    take = step.take_step

    def watched(run, iteration, *arguments):
        outcome = take(run, iteration, *arguments)
        state = {**run.network.state_dict(), **run.average.average}
        found[iteration] = {name: value.clone() for name, value in state.items()}
        found[iteration, "optimiser"] = [
            {name: value.clone() for name, value in entry.items()} for entry in run.optimiser.state.values()
        ]
        return outcome

    monkeypatch.setattr("ccnet_train.loop.take_step", watched)
    fit(squares("train.iterations=4", "train.nonfinite=skip", "train.weight_average=0.5"), quiet=True)
    for before, after in ((found[1], found[2]), *zip(found[1, "optimiser"], found[2, "optimiser"], strict=True)):
        assert all(torch.equal(before[name], value) for name, value in after.items())
    assert not all(torch.equal(found[2][name], value) for name, value in found[3].items())


def test_steps_that_were_left_out_are_counted_and_said(squares, poisoned, capsys):
    poisoned({2: math.nan, 3: math.inf, 5: math.nan})
    recipe = squares("train.iterations=6", "log.every=3", "train.nonfinite=skip", "train.nonfinite_limit=2")
    result = fit(recipe)
    logged = [line for line in result.history if "lr" in line]
    assert [(line["step"], "loss" in line, line.get("skipped")) for line in logged] == [(3, False, 2), (6, True, 1)]
    out = capsys.readouterr().out
    assert f"step 3: the loss is inf, with the samples {', '.join(ids_of(recipe, range(8, 12)))}: left out\n" in out


def test_too_many_in_a_row_stop_the_run(squares, poisoned):
    poisoned({2: math.nan, 3: math.nan, 5: math.nan, 6: math.nan, 7: math.nan})
    with pytest.raises(TrainError, match=r"step 7: the loss is nan.* 3 steps in a row, more than .*nonfinite_limit"):
        fit(squares("train.nonfinite=skip", "train.nonfinite_limit=2"), quiet=True)


def test_the_steps_in_a_row_are_counted_over_a_kill(squares, poisoned, tmp_path, monkeypatch):
    overrides = ("train.nonfinite=skip", "train.nonfinite_limit=2", "checkpoint.every=1")
    poisoned({2: math.nan, 3: math.nan})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ccnet_train.run.PositionBatches.__iter__", stopping_after(3))
        with pytest.raises(KeyboardInterrupt):
            fit(squares(*overrides), quiet=True)
    poisoned({1: math.nan})
    with pytest.raises(TrainError, match=r"step 4: the loss is nan.* 3 steps in a row"):
        fit(squares(*overrides), quiet=True)


def stopping_after(steps):
    def positions(batches):
        for iteration in range(steps):
            yield list(range(iteration * 4, (iteration + 1) * 4))
        raise KeyboardInterrupt

    return positions


def gradients(monkeypatch, kept):
    """Keep the gradients of every step as the optimiser meets them."""
    original = AcceleratedOptimizer.step

    def noted(optimiser, *arguments):
        kept.append([p.grad.clone() for group in optimiser.param_groups for p in group["params"]])
        return original(optimiser, *arguments)

    monkeypatch.setattr(AcceleratedOptimizer, "step", noted)


def norm(tensors):
    return math.sqrt(sum(float(tensor.double().square().sum()) for tensor in tensors))


def test_the_norm_of_all_gradients_is_clipped_and_logged(squares, monkeypatch):
    free, clipped = [], []
    with monkeypatch.context() as patch:
        gradients(patch, free)
        unlogged = fit(squares("train.iterations=1"), quiet=True).history[0]
    with monkeypatch.context() as patch:
        gradients(patch, clipped)
        logged = fit(squares("train.iterations=1", "optimiser.clip_gradient_norm=0.01"), fresh=True, quiet=True)
    assert "gradient_norm" not in unlogged
    assert logged.history[0]["gradient_norm"] == pytest.approx(norm(free[0]), rel=1e-5)
    assert norm(clipped[0]) == pytest.approx(0.01, rel=1e-3)
    for one, other in zip(free[0], clipped[0], strict=True):
        torch.testing.assert_close(one * (0.01 / norm(free[0])), other, rtol=1e-3, atol=1e-9)


def steep(objective, network, output, *rest):
    """Return a loss of 0 whose slope is not finite."""
    return (output.logits - output.logits.detach()).abs().sqrt().sum()


def test_a_gradient_that_is_not_finite_where_it_is_clipped_stops_the_run(squares, tmp_path, monkeypatch):
    monkeypatch.setattr(Objective, "forward", steep)
    with pytest.raises(TrainError, match=r"step 1: the loss is 0.0, the norm of its gradient nan"):
        fit(squares("optimiser.clip_gradient_norm=1", "checkpoint.every=1"), quiet=True)


def test_a_norm_that_is_not_finite_is_no_number_of_the_history(squares, tmp_path, monkeypatch):
    monkeypatch.setattr(Objective, "forward", steep)
    monkeypatch.setattr("ccnet_train.step._usable", lambda run, norm: True)  # as with a loss scaler
    with pytest.raises(TrainError, match="weights are not finite"):
        fit(squares("optimiser.clip_gradient_norm=1", "checkpoint.every=1"), quiet=True)
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text()).keys() == {"step", "loss", "lr"}


def test_weights_that_are_not_finite_are_never_saved(squares, tmp_path, monkeypatch):
    monkeypatch.setattr(Objective, "forward", steep)
    with pytest.raises(TrainError, match=r"weights are not finite after step 1.*clip_gradient_norm"):
        fit(squares("checkpoint.every=1", "log.every=1"), quiet=True)
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


FROZEN = ("train.freeze_batch_norm=true", "optimiser.name=sgd", "optimiser.lr=0.1", "train.iterations=3")


def test_a_step_in_parts_has_the_gradient_of_the_whole(squares, monkeypatch):
    kept = {}
    for parts in (1, 2, 4):
        with monkeypatch.context() as patch:
            gradients(patch, kept.setdefault(parts, []))
            history = fit(squares(f"train.accumulation={parts}", *FROZEN), fresh=True, quiet=True).history
            kept[parts, "loss"] = [line["loss"] for line in history if "loss" in line]
    for parts in (2, 4):
        assert kept[parts, "loss"] == pytest.approx(kept[1, "loss"], rel=1e-5)
        for one, other in zip(kept[1][0], kept[parts][0], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_pictures_come_in_the_memory_format_of_the_network(squares, monkeypatch):
    seen = []
    forward = ccnet.CCNet.forward

    def noted(network, images, **options):
        seen.append(images.is_contiguous(memory_format=torch.channels_last))
        return forward(network, images, **options)

    for last in ("false", "true"):
        with monkeypatch.context() as patch:
            patch.setattr(ccnet.CCNet, "forward", noted)
            fit(squares("train.iterations=1", f"train.channels_last={last}"), fresh=True, quiet=True)
        assert seen[0] is (last == "true")
        seen.clear()


def test_the_learning_rate_is_that_of_the_iteration(squares):
    recipe = squares("schedule.warmup_iterations=3")
    expected = learning_rate(5, iterations=12, lr=recipe.optimiser.lr, schedule=recipe.schedule)
    assert lr_at(recipe, 5) == expected
