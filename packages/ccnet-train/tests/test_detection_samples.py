import numpy as np
import torch

from ccnet_train.detection.samples import collate_instances, target_of


def sample(boxes, *, crowd=(), empty=(), size=(20, 30), id="a"):
    masks = np.zeros((len(boxes), *size), bool)
    for number, (left, top, right, bottom) in enumerate(boxes):
        masks[number, top:bottom, left:right] = number not in empty
    return {
        "image": np.zeros((3, *size), np.uint8),
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "masks": masks,
        "classes": np.arange(len(boxes)),
        "crowd": np.isin(np.arange(len(boxes)), crowd),
        "id": id,
    }


def test_crowds_and_objects_without_width_height_or_pixels_are_not_learned_from():
    boxes = [(0, 0, 4, 4), (2, 2, 9, 9), (5, 5, 5, 9), (5, 5, 9, 5), (1, 1, 3, 3), (7, 2, 12, 6)]
    target = target_of(sample(boxes, crowd=[1], empty=[4]))
    assert target["classes"].tolist() == [0, 5]
    assert target["boxes"].tolist() == [[0, 0, 4, 4], [7, 2, 12, 6]]
    assert target["masks"].sum((1, 2)).tolist() == [16, 20]


def test_a_picture_may_have_nothing_to_learn_from():
    target = target_of(sample([(0, 0, 4, 4)], crowd=[0]))
    assert (target["boxes"].shape, target["classes"].shape, target["masks"].shape) == ((0, 4), (0,), (0, 20, 30))
    assert (target["boxes"].dtype, target["classes"].dtype) == (torch.float32, torch.int64)


def test_pictures_of_a_batch_keep_their_sizes_and_names():
    replaced = {**sample([], size=(8, 9), id="b"), "replaces": "c.png: cut short"}
    batch = collate_instances([sample([(0, 0, 4, 4)]), replaced])
    assert [tuple(image.shape) for image in batch.images] == [(3, 20, 30), (3, 8, 9)]
    assert [len(target["boxes"]) for target in batch.labels] == [1, 0]
    assert (batch.ids, batch.replaced) == (("a", "b"), ("c.png: cut short",))
