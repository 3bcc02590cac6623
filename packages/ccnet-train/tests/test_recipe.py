import dataclasses

import pytest
import yaml

from ccnet_core.backbone_config import BackboneSource
from ccnet_train import RecipeError, list_recipes, load_recipe
from ccnet_train.recipe import OhemSection, recipe_rows, to_yaml


def written(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def text(squares, tmp_path):
    return to_yaml(squares())


@pytest.mark.parametrize("name", list_recipes())
def test_every_built_in_recipe_reads_and_carries_its_own_name(name):
    assert load_recipe(name).name == name


def test_beacon_and_camvid_mini_are_built_in():
    assert {"beacon", "camvid-mini"} <= set(list_recipes())


def test_a_recipe_written_out_reads_back_equal(squares, tmp_path):
    recipe = squares("optimiser.lr=1e-5", "loss.class_weights=[0.5,1,2]")
    assert load_recipe(written(tmp_path, to_yaml(recipe))) == recipe


def test_a_recipe_cannot_be_changed(squares):
    with pytest.raises(dataclasses.FrozenInstanceError):
        squares().seed = 4


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("train.iterations=10", lambda r: r.train.iterations, 10),
        ("optimiser.lr=1e-3", lambda r: r.optimiser.lr, 0.001),
        ("optimiser.lr=1", lambda r: r.optimiser.lr, 1.0),
        ("loss.class_weights=[1,2.5,3]", lambda r: r.loss.class_weights, (1.0, 2.5, 3.0)),
        ("loss.class_weights=inverse_sqrt_frequency", lambda r: r.loss.class_weights, "inverse_sqrt_frequency"),
        ("loss.class_weights=null", lambda r: r.loss.class_weights, None),
        ("augment=null", lambda r: r.augment, None),
        ("augment.crop=[32,64]", lambda r: r.augment["crop"], [32, 64]),
        ("data.train.length=7", lambda r: r.data.train, {"length": 7}),
        ("data.root=/some where/a=b", lambda r: r.data.root, "/some where/a=b"),
        ("output=/tmp/my run #2", lambda r: r.output, "/tmp/my run #2"),
        ("data.root=null", lambda r: r.data.root, None),
        ("model.weights=a #1", lambda r: (r.model.weights, r.model.name), ("a #1", None)),
        ("model.recurrence=0", lambda r: r.model.recurrence, 0),
        ("model.attention=non_local", lambda r: r.model.attention, "non_local"),
        ("model.backbone_weights=r50 #1.pth", lambda r: r.model.backbone_weights, "r50 #1.pth"),
        ("model.backbone.hub=org/name", lambda r: r.model.backbone, BackboneSource(hub="org/name")),
        ("model.backbone={hub: a/b, out_stage: 2}", lambda r: r.model.backbone.out_stage, 2),
        ("model.freeze=[backbone.stem]", lambda r: r.model.freeze, ("backbone.stem",)),
        ("train.accumulation=2", lambda r: r.train.accumulation, 2),
        ("train.weight_average=0.999", lambda r: r.train.weight_average, 0.999),
        ("train.nonfinite=skip", lambda r: r.train.nonfinite, "skip"),
        ("optimiser.clip_gradient_norm=1", lambda r: r.optimiser.clip_gradient_norm, 1.0),
        ("optimiser.decay_norm_and_bias=false", lambda r: r.optimiser.decay_norm_and_bias, False),
        ("loss.ohem={}", lambda r: r.loss.ohem, OhemSection()),
        ("loss.ohem.min_kept=7", lambda r: r.loss.ohem, OhemSection(min_kept=7)),
        ("loss.ohem.threshold=null", lambda r: r.loss.ohem, OhemSection(threshold=None)),
        ("loss.category_consistent.weight=2", lambda r: r.loss.category_consistent.weight, 2.0),
    ],
)
def test_an_override_sets_a_typed_value(squares, override, key, value):
    found = key(squares(override))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.iteration=10", "unknown key 'iteration'.*'iterations'"),
        ("optimizer.lr=1", "unknown key 'optimizer'.*'optimiser'"),
        ("train.iterations=ten", "iterations.*whole number.*'ten'"),
        ("train.iterations=1.5", "iterations.*whole number.*1.5"),
        ("optimiser.name=adam", "'adam' is not one of 'sgd', 'adamw'"),
        ("train.iterations=0", "train.iterations must be 1 or more, got 0"),
        ("optimiser.lr=-1", "optimiser.lr must be 0 or more"),
        ("optimiser.lr=.nan", "lr: expected a number, got nan"),
        ("optimiser.lr=.inf", "lr: expected a number, got inf"),
        ("schedule.min_lr=.inf", "min_lr: expected a number, got inf"),
        ("optimiser.momentum=.inf", "momentum: expected a number, got inf"),
        ("optimiser.momentum=1", "optimiser.momentum must be below 1, got 1"),
        ("loss.class_weights=[0,0,0]", "loss.class_weights must be 0 or more and not all 0"),
        ("loss.class_weights=[1,-1,1]", r"loss.class_weights must .* got \[1.0, -1.0, 1.0\]"),
        ("loss.class_weights=[1,.nan,1]", "class_weights.*nan"),
        ("loss.class_weights=[1,.inf,1]", "class_weights.*inf"),
        ("output=", "output"),
        ("seed=-1", "seed must be from 0"),
        ("model.name=null", "give model.name.*or model.weights"),
        ("model.weights=x", "model.recurrence goes with model.name"),
        ("model.attention=crisscross", "attention: 'crisscross' is not one of 'criss_cross', 'non_local'"),
        ("model.backbone={hbu: a/b}", "backbone: unknown key 'hbu'.*'hub'"),
        ("model.frozen=[backbone]", "unknown key 'frozen'.*'freeze'"),
        ("model.freeze=backbone", "freeze: expected a list, got 'backbone'"),
        ("train.accumulation=0", "train.accumulation must be 1 or more"),
        ("train.nonfinite=ignore", "nonfinite: 'ignore' is not one of 'stop', 'skip'"),
        ("train.nonfinite_limit=0", "train.nonfinite_limit must be 1 or more"),
        ("train.weight_average=1", "train.weight_average must be from 0 to below 1, got 1.0; null turns it off"),
        ("train.weight_average=-0.1", "train.weight_average must be from 0"),
        ("train.compile=yes please", "compile: expected true or false"),
        ("optimiser.head_lr_multiplier=-1", "optimiser.head_lr_multiplier must be 0 or more"),
        ("schedule.milestones=[0, 5]", r"schedule.milestones must be 1 or more and rise, got \[0, 5\]"),
        ("schedule.milestones=[5, 5]", r"schedule.milestones must be 1 or more and rise, got \[5, 5\]"),
        ("schedule={milestones: [5], min_lr: 1e-4}", "schedule.min_lr goes with polynomial decay, not with milestones"),
        ("schedule.min_lr=0.1", "schedule.min_lr=0.1 is above optimiser.lr=0.001, so the learning rate would rise"),
        ("optimiser.clip_gradient_norm=0", "optimiser.clip_gradient_norm must be above 0, got 0.0; null does not clip"),
        ("loss.ohem.min_keep=7", "unknown key 'min_keep'.*'min_kept'"),
        ("loss.ohem.min_kept=-1", "loss.ohem.min_kept must be 0 or more"),
        ("loss.ohem.threshold=1.5", "loss.ohem.threshold must be from 0 to 1, got 1.5"),
        ("loss.ohem={threshold: null, rule: authors}", "threshold null goes with loss.ohem.rule mmseg"),
        ("loss.ohem.rule=paper", "rule: 'paper' is not one of 'mmseg', 'authors'"),
        ("loss.category_consistent.channels=0", "loss.category_consistent.channels must be 1 or more"),
        ("loss.category_consistent.weight=-1", "loss.category_consistent.weight must be 0 or more"),
        ("loss.category_consistent.distance_margin=0.1", r"distance_margin must be variance_margin \(0.5\) or more"),
        ("loss.per_picture=true", "loss.per_picture is for loss.ohem and loss.category_consistent"),
        ("recipe_version=2", "recipe_version is 2; this ccnet-train reads 1"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name(squares, override, message):
    with pytest.raises(RecipeError, match=message):
        squares("model.recurrence=1", override)


@pytest.mark.parametrize(
    ("key", "value"), [("backbone_weights", "y.pth"), ("attention", "non_local"), ("backbone", "{hub: a/b}")]
)
def test_what_makes_a_network_does_not_go_with_a_whole_one(squares, key, value):
    with pytest.raises(RecipeError, match=rf"model\.{key} goes with model\.name"):
        squares("model.weights=x", f"model.{key}={value}")


def test_the_rows_say_what_each_recipe_is():
    rows = {row.name: row[1:] for row in recipe_rows()}
    assert list(rows) == list_recipes()
    assert rows["beacon"] == ("beacon", 600, 16)
    assert rows["ccnet_r50-d8_4xb4-20k_voc12aug-512x512"] == ("voc12aug", 20000, 16)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(RecipeError, match=r"'beakon'.*'beacon'"):
        load_recipe("beakon")


def test_a_missing_section_is_named(text, tmp_path):
    mapping = yaml.safe_load(text)
    del mapping["optimiser"]
    with pytest.raises(RecipeError, match=r"mine\.yaml: the key 'optimiser' is missing"):
        load_recipe(written(tmp_path, yaml.safe_dump(mapping)))


def test_a_file_without_keys_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"mine\.yaml: a recipe holds keys and values"):
        load_recipe(written(tmp_path, "just text"))


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"mine\.yaml: cannot be read as text"):
        load_recipe(path)
