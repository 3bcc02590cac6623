import dataclasses

import pytest
import yaml

from ccnet_train import RecipeError, list_recipes, load_recipe
from ccnet_train.recipe import to_yaml


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
        ("recipe_version=2", "recipe_version is 2; this ccnet-train reads 1"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name(squares, override, message):
    with pytest.raises(RecipeError, match=message):
        squares("model.recurrence=1", override)


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
