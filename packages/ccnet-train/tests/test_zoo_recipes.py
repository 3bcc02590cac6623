import re

import pytest

from ccnet_core import zoo
from ccnet_train import load_recipe
from ccnet_train.zoo_recipes import list_zoo_recipes

SETTINGS = {
    # crop (height, width), base scale (width, height), pictures per step: mmsegmentation 1.2.2, configs/_base_/datasets
    # and the names of configs/ccnet
    "cityscapes-512x1024": ([512, 1024], [2048, 1024], 8),
    "cityscapes-769x769": ([769, 769], [2049, 1025], 8),
    "ade20k-512x512": ([512, 512], [2048, 512], 16),
    "voc12aug-512x512": ([512, 512], [2048, 512], 16),
}

every_model = pytest.mark.parametrize("name", list_zoo_recipes())


def test_the_sixteen_published_models_have_recipes():
    published = [name for name in zoo.list_models() if zoo.load_config(name).published is not None]
    assert set(published) - set(list_zoo_recipes()) == {"ccnet_r101-d8_authors"}
    assert len(list_zoo_recipes()) == 16


@every_model
def test_a_model_is_trained_on_what_its_name_says(name):
    thousands, setting = re.fullmatch(r"ccnet_r\d+-d8_4xb\d-(\d+)k_(.+)", name).groups()
    crop, base_scale, images = SETTINGS[setting]
    recipe, iterations = load_recipe(name), int(thousands) * 1000
    assert (recipe.name, recipe.model.name, recipe.output) == (name, name, f"runs/{name}")
    assert recipe.data.name == setting.split("-")[0]
    assert (recipe.augment["crop"], recipe.augment["base_scale"]) == (crop, base_scale)
    assert (recipe.train.iterations, recipe.train.images_per_step) == (iterations, images)
    assert recipe.evaluate.every == recipe.checkpoint.every == iterations / 10
    assert recipe.evaluate.resize == "plan"


@every_model
def test_a_model_is_trained_as_mmsegmentation_does(name):
    recipe = load_recipe(name)
    sgd, schedule, loss = recipe.optimiser, recipe.schedule, recipe.loss
    assert (sgd.name, sgd.lr, sgd.momentum, sgd.weight_decay) == ("sgd", 0.01, 0.9, 5e-4)
    assert (sgd.head_lr_multiplier, sgd.decay_norm_and_bias, sgd.clip_gradient_norm) == (1, True, None)
    assert (schedule.power, schedule.min_lr, schedule.warmup_iterations) == (0.9, 1e-4, 0)
    assert (loss.auxiliary_weight, loss.average, loss.class_weights, loss.ohem) == (0.4, "all", None, None)
    assert recipe.augment["ratio"] == [0.5, 2.0]
    assert (recipe.augment["max_class_share"], recipe.augment["flip"], recipe.augment["photometric"]) == (
        0.75,
        0.5,
        True,
    )
    assert recipe.train.sync_batch_norm


def test_changes_to_one_recipe_leave_the_others_alone():
    name = list_zoo_recipes()[0]
    assert load_recipe(name, ["checkpoint.every=7"]).evaluate.every == 4000
    assert load_recipe(name).checkpoint.every == 4000
