import dataclasses

import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.config import TTA_SCALES, InferencePlan
from ccnet_train import TrainError
from ccnet_train.datasets import load_split
from ccnet_train.recipe import EvaluateSection
from ccnet_train.subject import (
    class_differences,
    differences,
    plan_by,
    refuse_other_classes,
    subject_of,
    weights_digest,
)


@pytest.fixture
def model():
    return ccnet.CCNet.from_config("ccnet_tiny", classes=("ground", "red", "green"))


def with_plan(model, **plan):
    model.config = dataclasses.replace(model.config, inference=InferencePlan(**plan))
    return model


def test_without_options_the_models_mode_is_kept_and_the_rest_is_one_view_at_its_own_size(model):
    published = {"mode": "slide", "crop": (9, 9), "stride": (6, 6), "base_scale": (80, 40)}
    with_plan(model, **published, resize="plan", scales=(1.0, 2.0), flip=True)
    plan_by(EvaluateSection(every=1), model)
    assert model.config.inference == InferencePlan(**published)


def test_options_of_the_recipe_count_and_tta_adds_the_published_views(model):
    with_plan(model, base_scale=(80, 40))
    section = EvaluateSection(every=1, mode="slide", crop=(9, 9), stride=(6, 6), resize="plan")
    plan_by(section, model, tta=True)
    assert model.config.inference == InferencePlan(
        mode="slide", crop=(9, 9), stride=(6, 6), base_scale=(80, 40), resize="plan", scales=TTA_SCALES, flip=True
    )


def test_a_fit_is_the_models_own_or_the_recipes(model):
    plan_by(EvaluateSection(every=1, mode="fit", crop=(48, 32)), model)
    assert model.config.inference == InferencePlan(mode="fit", crop=(48, 32))
    plan_by(EvaluateSection(every=1, flip=True), model)
    assert model.config.inference == InferencePlan(mode="fit", crop=(48, 32), flip=True)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (EvaluateSection(every=1, resize="plan"), "evaluate: resize='plan' needs base_scale"),
        (EvaluateSection(every=1, crop=(8, 8)), "evaluate: crop and stride belong to mode='slide'"),
        (EvaluateSection(every=1, mode="fit"), "evaluate: mode 'fit' needs crop"),
        (EvaluateSection(every=1, scales=(0.0,)), "evaluate: scales must be numbers above 0"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(model, section, message):
    with pytest.raises(TrainError, match=message):
        plan_by(section, model)


def test_the_digest_is_of_every_tensor_and_its_name(model):
    before = weights_digest(model)
    assert weights_digest(ccnet.CCNet.from_config("ccnet_tiny", num_classes=3)) != before
    with torch.no_grad():
        model.head.classify.conv.bias[0] += 1e-6
    assert weights_digest(model) != before


def test_what_differs_is_named_but_not_where_the_weights_lie(squares, model):
    recipe = squares()
    dataset = load_split(recipe.data, "val")
    subject = subject_of(recipe, model, dataset, weights="a", split="val", precision="no")
    assert subject.options == {"length": 5}
    assert subject.pictures == 5
    assert differences(subject, dataclasses.replace(subject, weights="b")) == []
    other = dataclasses.replace(subject, split="test", plan=InferencePlan(flip=True))
    split, plan = differences(subject, other)
    assert split == "split was 'val', is 'test'"
    assert plan.startswith("plan was ")


def test_the_place_of_the_data_is_no_difference(squares, model):
    subjects = []
    for root in ("a", "b"):
        recipe = squares(f"data.root={root}")
        dataset = load_split(recipe.data, "val")
        subjects.append(subject_of(recipe, model, dataset, weights="w", split="val", precision="no"))
    assert differences(*subjects) == []


def test_weights_for_other_classes_are_refused(squares, model):
    dataset = load_split(squares().data, "val")
    refuse_other_classes(model, dataset, weights="right", data="squares")
    five = ccnet.CCNet.from_config("ccnet_tiny", num_classes=5)
    with pytest.raises(TrainError, match="five has other classes than the dataset 'squares': 5 classes instead of 3"):
        refuse_other_classes(five, dataset, weights="five", data="squares")
    other = ccnet.CCNet.from_config("ccnet_tiny", classes=("ground", "green", "red"))
    with pytest.raises(TrainError, match="class 1 is 'green' instead of 'red', class 2 is 'red' instead of 'green'"):
        refuse_other_classes(other, dataset, weights="other", data="squares")


def test_many_different_classes_are_counted():
    assert class_differences("abcdef", "uvwxyf").endswith("class 2 is 'c' instead of 'w' and 2 more")
    assert class_differences("ab", ("a", "b")) == ""
