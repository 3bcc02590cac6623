"""What torchvision itself computes is not tested again: its own network is the oracle."""

import copy
import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from ccnet_core import ConfigError, PictureError, WeightsError
from ccnet_train import TrainError, detection
from ccnet_train.detection.config import load_config

pytestmark = pytest.mark.detection

CLASSES = ("ant", "bee", "cow")


def pictures(*sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]


def tiny(**changes):
    torch.manual_seed(0)
    config = dataclasses.replace(load_config("maskrcnn_tiny").with_classes(CLASSES), **changes)
    return detection.MaskRCNN.from_config(config)


def target(height, width, boxes=((8, 10, 40, 60),), classes=(1,)):
    masks = torch.zeros(len(boxes), height, width, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "classes": torch.tensor(classes, dtype=torch.int64),
        "masks": masks,
    }


NONE = target(64, 96, (), ())


def resnet18(**changes):
    """Our network and torchvision's own, at a size that a CPU computes in a second, without any pictures refused."""
    from torchvision.models.detection import mask_rcnn
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    torch.manual_seed(0)
    sizes = {"min_size": 96, "max_size": 160}
    config = load_config("maskrcnn_r18_fpn").with_classes(CLASSES)
    config = dataclasses.replace(config, score_threshold=0.0, max_detections=20, **sizes, **changes)
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5)
    theirs = mask_rcnn.MaskRCNN(backbone, 4, box_score_thresh=0.0, box_detections_per_img=20, **sizes).eval()
    for name, buffer in theirs.named_buffers():
        if name.endswith("running_var"):  # of a frozen norm, which random weights would make explode
            buffer.fill_(4.0)
    ours = detection.MaskRCNN(config).eval()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    return ours, theirs


@pytest.mark.parametrize("attention", ["criss_cross", "non_local"])
def test_with_fresh_attention_it_finds_what_torchvisions_own_network_finds_bit_for_bit(attention):
    ours, theirs = resnet18(attention=attention)
    images = pictures((70, 120), (96, 80))
    with torch.no_grad():
        expected = theirs([image / 255 for image in images])
        found = ours(images)
    for mine, other in zip(found, expected, strict=True):
        assert len(mine) == 20
        assert np.array_equal(mine.boxes, other["boxes"].numpy())
        assert np.array_equal(mine.classes, other["labels"].numpy() - 1)
        assert np.array_equal(mine.scores, other["scores"].numpy())
        assert np.array_equal(mine.masks, (other["masks"][:, 0] >= 0.5).numpy())
        assert 0 < mine.masks.mean() < 1


def test_trained_attention_changes_what_is_found():
    ours, _ = resnet18()
    images = pictures((70, 120))
    with torch.no_grad():
        before = ours(images)[0]
        ours.backbone.body.layer3.context.cca.gamma.fill_(5.0)
        after = ours(images)[0]
    assert not np.array_equal(before.scores, after.scores)


def test_names_in_its_state_dict_are_torchvisions_and_those_of_the_attention():
    ours, theirs = resnet18()
    added = [name for name in ours.state_dict() if name not in theirs.state_dict()]
    assert [name for name in theirs.state_dict() if name not in ours.state_dict()] == []
    assert added
    assert all(name.startswith("backbone.body.layer3.context.cca.") for name in added)
    without, _ = resnet18(recurrence=0)
    assert list(without.state_dict()) == list(theirs.state_dict())


def test_the_losses_are_torchvisions_five():
    ours, theirs = resnet18()
    images, targets = pictures((70, 120), (64, 96)), [target(70, 120), NONE]
    torch.manual_seed(1)  # proposals to train on are drawn
    losses = ours.train()(images, targets)
    torch.manual_seed(1)
    labelled = [{**one, "labels": one["classes"] + 1, "masks": one["masks"].byte()} for one in targets]
    expected = theirs.train()([image / 255 for image in images], labelled)
    assert losses == expected
    assert sorted(losses) == [
        *("loss_box_reg", "loss_classifier", "loss_mask", "loss_objectness", "loss_rpn_box_reg"),
    ]


def test_every_parameter_gets_a_gradient_also_from_pictures_without_objects():
    for targets in ([target(64, 96)], [NONE]):
        model = tiny()
        sum(model(pictures((64, 96)), targets).values()).backward()
        assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_it_learns_to_find_a_square():
    model = tiny(recurrence=1)
    images = [torch.full((3, 64, 96), 90, dtype=torch.uint8) for _ in range(2)]
    boxes = [(10, 12, 40, 42), (50, 20, 80, 50)]
    for image, (left, top, right, bottom) in zip(images, boxes, strict=True):
        image[:, top:bottom, left:right] = torch.tensor([220, 40, 40], dtype=torch.uint8)[:, None, None]
    targets = [target(64, 96, (box,), (2,)) for box in boxes]
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(60):
        optimiser.zero_grad()
        sum(model(images, targets).values()).backward()
        optimiser.step()
    for found, box, one in zip(model.eval()(images), boxes, targets, strict=True):
        assert found.classes[0] == 2
        assert found.scores[0] > 0.5
        assert np.abs(found.boxes[0] - box).max() < 4
        truth = one["masks"][0].numpy()
        assert (found.masks[0] & truth).sum() / (found.masks[0] | truth).sum() > 0.8


def test_bytes_and_floats_are_the_same_picture():
    model, [image] = tiny(score_threshold=0.0).eval(), pictures((64, 96))
    [one], [other] = model([image]), model([image.float()])
    assert np.array_equal(one.scores, other.scores)
    assert np.array_equal(one.boxes, other.boxes)


def test_detections_are_in_pixels_of_the_picture_the_best_first():
    model = tiny(score_threshold=0.0)
    for found, size in zip(model.eval()(pictures((40, 60), (200, 150))), ((40, 60), (200, 150)), strict=True):
        assert len(found) == 100
        assert found.masks.shape == (100, *size)
        assert found.masks.dtype == np.bool_
        assert (found.boxes.dtype, found.classes.dtype, found.scores.dtype) == (np.float32, np.int64, np.float32)
        assert (np.diff(found.scores) <= 0).all()
        assert set(found.classes.tolist()) <= {0, 1, 2}
        assert found.boxes.min() >= 0
        assert (found.boxes.max(0) <= np.array((size[1], size[0]) * 2) + 1e-3).all()  # torchvision rounds so
        assert found.boxes[:, 2:].max() > 0.9 * min(size)


def test_each_mask_is_packed_before_the_next_is_made(monkeypatch):
    from ccnet_train.detection import network

    done = []
    paste, pack = network.paste_masks_in_image, network.PackedMask.pack
    monkeypatch.setattr(network, "paste_masks_in_image", lambda *given: done.append("make") or paste(*given))
    monkeypatch.setattr(network.PackedMask, "pack", lambda mask: done.append("pack") or pack(mask))
    [found] = tiny(score_threshold=0.0).eval().find(pictures((40, 60)))
    assert done == ["make", "pack"] * len(found)
    assert len(found) == 100


def test_nothing_above_the_threshold_is_no_detection():
    [found] = tiny(score_threshold=0.99).eval()(pictures((40, 60)))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.masks.shape == (0, 40, 60)


def without_regression(model):
    """Let `model` keep every anchor and every proposal as it is: in whole pixels, all of which float32 has."""
    for layer in (model.rpn.head.bbox_pred, model.roi_heads.box_predictor.bbox_pred):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return model


def cut_anchors(sizes, height, width):
    """Return all anchors of 1:1 in a picture, cut to it: left, top, right, bottom."""
    found = set()
    for level, size in enumerate(sizes):
        stride = 4 * 2**level
        for y in range(0, height + stride, stride):
            for x in range(0, width + stride, stride):
                left, top, right, bottom = x - size // 2, y - size // 2, x + size // 2, y + size // 2
                found.add((max(left, 0), max(top, 0), min(right, width), min(bottom, height)))
    return found


def test_under_autocast_boxes_keep_the_precision_of_float32(monkeypatch):
    monkeypatch.setattr("ccnet_train.detection.network.ASPECT_RATIOS", (1.0,))
    sizes = (6, 10, 18, 34, 66)
    model = without_regression(tiny(anchor_sizes=sizes, min_size=576, max_size=700, score_threshold=0.0)).eval()
    with torch.autocast("cpu", torch.bfloat16):
        [found] = model(pictures((576, 699)))
    assert len(found) == 100
    assert {tuple(box) for box in found.boxes.tolist()} <= cut_anchors(sizes, 576, 699)


def test_under_autocast_it_learns_from_boxes_of_full_precision():
    model, boxes = tiny(min_size=576, max_size=700).train(), ((333, 401, 517, 555),)
    learned = []
    encode = model.roi_heads.box_coder.encode
    model.roi_heads.box_coder.encode = lambda truth, proposals: learned.append(truth) or encode(truth, proposals)
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(pictures((576, 699)), [target(576, 699, boxes)])
    assert all(torch.equal(row, torch.tensor(boxes[0]).float()) for row in learned[0][0])
    assert all(loss.dtype == torch.float32 for loss in losses.values())


@pytest.mark.parametrize("name", ["maskrcnn_tiny", "maskrcnn_r18_fpn"])
def test_what_is_found_does_not_depend_on_the_size_of_the_picture_before(name):
    config = dataclasses.replace(load_config(name).with_classes(CLASSES), score_threshold=0.0, min_size=96)
    torch.manual_seed(0)
    fresh = detection.MaskRCNN(dataclasses.replace(config, max_size=256)).eval()
    used = copy.deepcopy(fresh)
    picture = pictures((96, 128))
    with torch.no_grad():
        used(pictures((20, 256)))  # padded to 32 rows: a map of stride 4 has 8 of them, 20 / 2.5
        [expected], [found] = fresh(picture), used(picture)
    assert np.array_equal(found.boxes, expected.boxes)
    assert np.array_equal(found.masks, expected.masks)


def test_wrong_pictures_and_targets_are_refused():
    model = tiny()
    with pytest.raises(PictureError, match="Picture 0: expected a tensor"):
        model([torch.zeros(1, 5, 5)])
    with pytest.raises(TrainError, match="Training needs a target for each of 1 pictures, got none"):
        model(pictures((64, 96)))


def test_a_backbone_of_torchvision_is_read_from_a_file(tmp_path):
    from torchvision.models import resnet18 as make

    torch.manual_seed(3)
    resnet = make()
    path = tmp_path / "resnet18.pth"
    torch.save(resnet.state_dict(), path)
    model = detection.MaskRCNN.from_config("maskrcnn_r18_fpn", classes=CLASSES, backbone_weights=path)
    body, theirs = model.backbone.body.state_dict(), resnet.state_dict()
    names = [name for name in body if ".context." not in name]
    assert len(names) == 100
    assert all(torch.equal(body[name], theirs[name]) for name in names)


def test_a_file_of_another_network_is_refused(tmp_path):
    path = tmp_path / "file.pth"
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
    with pytest.raises(WeightsError, match=r"file.pth: does not fit the backbone of maskrcnn_r18_fpn: it lacks 'bn1"):
        detection.MaskRCNN.from_config("maskrcnn_r18_fpn", backbone_weights=path)


def test_what_is_no_configuration_is_refused():
    with pytest.raises(ConfigError, match="There is no Mask R-CNN 'maskrcnn'"):
        detection.MaskRCNN.from_config("maskrcnn")
    with pytest.raises(ConfigError, match="expected a DetectorConfig, got 'maskrcnn_tiny'"):
        detection.MaskRCNN("maskrcnn_tiny")
    with pytest.raises(ConfigError, match="expected a name or a DetectorConfig, got None"):
        detection.MaskRCNN.from_config(None)


def test_the_package_does_not_import_torchvision_by_itself():
    program = "import sys, ccnet_train.detection, ccnet_train.cli; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_cocos_names_are_those_of_torchvision():
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

    theirs = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    assert [name for name in theirs if name not in ("__background__", "N/A")] == list(
        load_config("maskrcnn_tiny").classes
    )
