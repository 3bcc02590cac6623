import pytest
import torch

import ccnet_core as ccnet
from ccnet_train import TrainError, checkpoint, fit
from ccnet_train.evaluation_folder import read_evaluation, read_subject
from ccnet_train.subject import weights_digest


def state_of(result):
    return checkpoint.read_state(checkpoint.latest(result.last_folder.parent / "checkpoints"))


def test_the_weights_that_are_evaluated_and_saved_are_the_average_where_there_is_one(squares):
    result = fit(squares("train.iterations=4", "train.weight_average=0.5"), quiet=True)
    state, saved = state_of(result), ccnet.CCNet.from_pretrained(result.last_folder)
    for name, parameter in saved.named_parameters():
        assert torch.equal(parameter, state["average"]["average"][name]), name
    assert not all(torch.equal(value, state["network"][name]) for name, value in state["average"]["average"].items())
    assert not any(value.requires_grad for value in state["network"].values())


def test_without_an_average_they_are_those_of_the_state(squares):
    result = fit(squares("train.iterations=2"), quiet=True)
    state, saved = state_of(result), ccnet.CCNet.from_pretrained(result.last_folder)
    assert "average" not in state
    for name, value in saved.state_dict().items():
        assert torch.equal(value, state["network"][name]), name


def test_every_checkpoint_has_the_best_and_the_last_weights_of_its_time(squares, tmp_path):
    fit(squares("evaluate.every=4", "checkpoint.every=2", "checkpoint.keep=6"), quiet=True)
    found = {
        path.name: sorted(child.name for child in path.iterdir()) for path in (tmp_path / "run/checkpoints").iterdir()
    }
    without, with_both = ["manifest.json", "state.pt"], ["best", "last", "manifest.json", "state.pt"]
    steps = {f"step-{step:06}": without if step < 4 else with_both for step in range(2, 13, 2)}
    assert found == steps
    weights = [tmp_path / "run/checkpoints" / f"step-{step:06}" / "last/model.safetensors" for step in (4, 6, 8)]
    assert weights[0].samefile(weights[1])
    assert weights[1].read_bytes() != weights[2].read_bytes()


@pytest.mark.parametrize("change", [("train.weight_average=0.5",), ("model.freeze=[backbone.stem]",)])
def test_a_run_goes_on_where_a_part_of_the_state_is_new(squares, change):
    fit(squares("train.iterations=2"), quiet=True)
    result = fit(squares("train.iterations=4", *change), allow_change=True, quiet=True)
    assert [line["step"] for line in result.history if "loss" in line] == [1, 2, 3, 4]


def test_an_average_that_is_switched_on_begins_with_the_weights_of_that_step(squares):
    before = state_of(fit(squares("train.iterations=2"), quiet=True))["network"]
    state = state_of(fit(squares("train.iterations=3", "train.weight_average=0.9"), allow_change=True, quiet=True))
    for name, value in state["average"]["average"].items():
        expected = 0.1 * before[name] + 0.9 * state["network"][name]  # the first update: (1 + 0) / (10 + 0)
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-6, msg=name)


def test_the_history_is_on_the_disk_before_the_checkpoint_that_continues_it(squares, monkeypatch):
    order = []
    for place in ("ccnet_train.saving.sync", "ccnet_train.manifest.write"):
        monkeypatch.setattr(place, lambda path: order.append(path.name))
    monkeypatch.setattr("ccnet_train.manifest.damage", lambda path: "")
    fit(squares("train.iterations=1"), quiet=True)
    assert order == ["metrics.jsonl", ".step-000001"]


def test_best_and_last_hold_the_counts_of_their_evaluation(squares):
    result = fit(squares("train.iterations=4", "evaluate.every=2"), quiet=True)
    last = [line for line in result.history if "miou" in line][-1]
    for folder, miou in ((result.best_folder, result.best_miou), (result.last_folder, last["miou"])):
        assert read_evaluation(folder).scores.miou == miou
    subject = read_subject(result.last_folder)
    assert (subject.weights, subject.data, subject.split, subject.pictures) == ("step 4", "squares", "val", 5)
    assert subject.digest == weights_digest(ccnet.CCNet.from_pretrained(result.last_folder))


def test_a_run_is_evaluated_and_saved_with_the_recipes_plan(squares):
    result = fit(squares("train.iterations=1", "evaluate.scales=[0.5,1.0]", "evaluate.flip=true"), quiet=True)
    plan = ccnet.CCNet.from_pretrained(result.best_folder).config.inference
    assert (plan.scales, plan.flip) == ((0.5, 1.0), True)
    assert read_subject(result.best_folder).plan == plan


def test_a_validation_split_without_truth_stops_the_run(squares):
    with pytest.raises(TrainError, match="No pixel of the validation split has a class"):
        fit(squares("data.val.length=1", "data.val.unlabelled=true"), quiet=True)
