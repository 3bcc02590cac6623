"""Every built-in recipe, checked whole on a few small pictures in the official layout of its dataset."""

import json

import numpy as np
import pytest
from PIL import Image

from ccnet_train import list_recipes, load_recipe
from ccnet_train.dry_run import describe
from ccnet_train.run import load_parts

SIZE = (24, 48)
OBJECTS = ("coco-maskrcnn_r50", "shapes")
"""The recipes of networks that need torchvision."""


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
    """The roots of small datasets by name, each with few pictures for training and validation."""
    root = tmp_path_factory.mktemp("data")
    cityscapes(root / "cityscapes")
    ade20k(root / "ade20k")
    voc12aug(root / "voc12aug")
    camvid(root / "camvid")
    lip(root / "lip")
    coco(root / "coco")
    return {name: root / name for name in ("cityscapes", "ade20k", "voc12aug", "camvid", "lip", "coco")}


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def picture(path):
    save(path, np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8))


def label(path, *values):
    stripes = np.zeros(SIZE, np.uint8)
    for place, value in enumerate(values):
        stripes[:, place :: len(values)] = value
    save(path, stripes)


def cityscapes(root):
    for split in ("train", "val"):
        picture(root / f"leftImg8bit/{split}/ulm/ulm_000000_000019_leftImg8bit.png")
        label(root / f"gtFine/{split}/ulm/ulm_000000_000019_gtFine_labelIds.png", 7, 8, 26)


def ade20k(root):
    for split, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        picture(root / f"images/{split}/{name}.jpg")
        label(root / f"annotations/{split}/{name}.png", 0, 1, 150)


def voc12aug(root):
    for part, folder in (("train", "SegmentationClass"), ("aug", "SegmentationClassAug"), ("val", "SegmentationClass")):
        picture(root / f"JPEGImages/{part}.jpg")
        label(root / f"{folder}/{part}.png", 0, 20, 255)
        lists = root / "ImageSets/Segmentation"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{part}.txt").write_text(f"{part}\n")


def camvid(root):
    """Five frames that follow one another in each split: one clip."""
    for split, sequence, first, step in (("train", "0001TP", 6690, 30), ("val", "0016E5", 7959, 2)):
        for number in range(first, first + 5 * step, step):
            name = f"{sequence}_{number:0{6 if split == 'train' else 5}}"
            picture(root / f"{split}/{name}.png")
            label(root / f"{split}annot/{name}.png", 0, 3, 11)


def lip(root):
    for split in ("train", "val"):
        picture(root / f"{split}_images/1_2.jpg")
        label(root / f"{split}_segmentations/1_2.png", 0, 14, 15)
        (root / f"{split}_id.txt").write_text("1_2\n")


def coco(root):
    """A picture with one person, whose outline is a square, in each split."""
    person = {"id": 1, "image_id": 9, "category_id": 1, "bbox": [4, 4, 16, 16], "area": 256, "iscrowd": 0}
    square = {**person, "segmentation": [[4, 4, 20, 4, 20, 20, 4, 20]]}
    listed = {"id": 9, "file_name": "000000000009.jpg", "height": SIZE[0], "width": SIZE[1]}
    (root / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        picture(root / f"{split}2017/000000000009.jpg")
        content = {"images": [listed], "annotations": [square], "categories": [{"id": 1, "name": "person"}]}
        (root / f"annotations/instances_{split}2017.json").write_text(json.dumps(content))


def recipe_of(name, trees, tmp_path, *overrides):
    recipe = load_recipe(name)
    place = [f"data.root={trees[recipe.data.name]}"] if recipe.data.name in trees else []
    return load_recipe(name, [f"output={tmp_path / 'run'}", *place, *overrides])


# The parquet files of camvid-mini are real ones; test_camvid_mini.py trains on them.
@pytest.mark.parametrize("name", [name for name in list_recipes() if name not in ("camvid-mini", *OBJECTS)])
def test_every_recipe_survives_a_dry_run(name, trees, tmp_path):
    recipe = recipe_of(name, trees, tmp_path)
    network, data, steps, memory = describe(recipe, processes=2).splitlines()
    assert f"network  {recipe.model.name}, " in network
    assert f"data     {recipe.data.name}, " in data
    assert f"steps    {recipe.train.iterations} of {recipe.train.images_per_step} pictures (2 x " in steps
    assert memory.startswith("memory   about ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in list_recipes() if "4xb" in name and "r50" in name])
def test_a_published_models_crops_classes_and_upsampling_are_its_own(name, trees, tmp_path):
    recipe = recipe_of(name, trees, tmp_path)
    parts = load_parts(recipe, 1)
    config = parts.network.config
    assert parts.samples[0]["image"].shape == (3, *config.published.crop)
    assert config.align_corners == ("769x769" in name)
    assert config.published is not None, "the dataset's classes are not those of the published model"


@pytest.mark.parametrize("name", ["lip", "figures"])
def test_people_are_warped_whole_for_training_and_fitted_whole_for_evaluation(name, trees, tmp_path):
    recipe = recipe_of(name, trees, tmp_path)
    parts = load_parts(recipe, 1)
    size, plan = tuple(recipe.augment["size"]), parts.network.config.inference
    assert parts.samples[0]["image"].shape == (3, *size)
    assert (plan.mode, plan.crop, plan.flip) == ("fit", size, True)
    assert parts.network.config.flip_pairs == parts.train.flip_pairs == ((14, 15), (16, 17), (18, 19))


@pytest.mark.detection
@pytest.mark.parametrize("name", OBJECTS)
def test_every_recipe_of_objects_survives_a_dry_run(name, trees, tmp_path):
    recipe = recipe_of(name, trees, tmp_path)
    network, data, steps, _ = describe(recipe, processes=2).splitlines()
    assert f"network  {recipe.model.name}, " in network
    assert f"data     {recipe.data.name}, " in data
    assert f"{recipe.train.iterations} of {recipe.train.images_per_step} pictures (2 x " in steps


@pytest.mark.parametrize("name", ["ccnet_r101-d8_authors"])
def test_ohem_is_the_authors(name, trees, tmp_path):
    recipe = recipe_of(name, trees, tmp_path)
    assert recipe.loss.ohem.rule == "authors"
    assert load_parts(recipe, 1).samples[0]["image"].shape == (3, 769, 769)


def test_the_command_prints_the_resolved_recipe_and_the_run(run, trees, tmp_path):
    done = run("-m", "ccnet_train", "fit", "camvid", f"data.root={trees['camvid']}", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "\nnetwork  ccnet_small, " in done.stdout
    assert f"root: {trees['camvid']}" in done.stdout


@pytest.mark.parametrize(("frames", "shape"), [(5, (5, 3, 180, 240)), (3, (3, 3, 180, 240)), (1, (3, 180, 240))])
def test_a_recipe_of_clips_trains_networks_of_any_length_on_the_same_frames(trees, tmp_path, frames, shape):
    parts = load_parts(recipe_of("camvid-video", trees, tmp_path, f"model.frames={frames}"), 1)
    assert (len(parts.train), len(parts.val)) == (1, 1)
    assert parts.samples[0]["image"].shape == shape
    assert parts.val[0]["image"].shape == (5, 3, *SIZE)
    whole = load_parts(recipe_of("camvid-video", trees, tmp_path), 1).samples[0]
    np.testing.assert_array_equal(parts.samples[0]["image"], whole["image"][-frames:].reshape(shape))
    np.testing.assert_array_equal(parts.samples[0]["label"], whole["label"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.frames=9"], "takes clips of 9 frames, and those of the data have 5"),
        (["model.frames=null"], "data are clips of 5 frames, and the network takes pictures"),
        (["data.options.frames=1"], "takes clips of 5 frames, and the data are pictures"),
        (["data.options.frames=6"], "the split 'train' has no 6 frames that follow one another"),
    ],
)
def test_a_network_and_clips_that_do_not_fit_are_refused_before_the_run(trees, tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message):
        describe(recipe_of("camvid-video", trees, tmp_path, *overrides))
