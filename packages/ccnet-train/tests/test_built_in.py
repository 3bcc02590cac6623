import pytest

from ccnet_core import zoo
from ccnet_train.built_in import list_recipes, read_recipe

FILES = {
    *("beacon", "beacon-video", "camvid", "camvid-mini", "camvid-r50", "camvid-video", "ccnet_r101-d8_authors"),
    *("coco-maskrcnn_r50", "figures", "lip", "shapes"),
}


def test_there_are_the_files_and_the_sixteen_models_in_order():
    names = list_recipes()
    assert set(names) >= FILES
    published = {name for name in zoo.list_models() if zoo.load_config(name).published is not None}
    assert published <= set(names)
    assert len(names) == len(FILES) + 16
    assert names == sorted(names)


@pytest.mark.parametrize("name", ["beacon", "ccnet_r101-d8_authors", "ccnet_r50-d8_4xb2-40k_cityscapes-769x769"])
def test_a_recipe_is_read_by_its_name(name):
    assert read_recipe(name)["name"] == name


def test_what_is_read_may_be_changed():
    name = "ccnet_r50-d8_4xb2-40k_cityscapes-769x769"
    read_recipe(name)["augment"]["crop"] = None
    assert read_recipe(name)["augment"]["crop"] == [769, 769]
