"""torchvision's own network, as it loads its file of COCO, is the oracle. No file of COCO is needed: names and shapes
are the same whatever the numbers."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from ccnet_core import WeightsError
from ccnet_train import detection

pytestmark = pytest.mark.detection


def theirs(outputs=91, kind="resnet50", **options):
    """torchvision's network with the frozen batch norm and the epsilon that it has when it loads its file of COCO."""
    from torchvision.models.detection import mask_rcnn
    from torchvision.models.detection._utils import overwrite_eps
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    torch.manual_seed(0)
    backbone = resnet_fpn_backbone(backbone_name=kind, weights=None, trainable_layers=5)
    network = mask_rcnn.MaskRCNN(backbone, outputs, **options).eval()
    overwrite_eps(network, 0.0)
    for name, buffer in network.named_buffers():
        if name.endswith(("bn2.weight", "bn3.weight")):
            buffer.fill_(0.3)  # or random residual branches would grow from block to block
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return network


@pytest.mark.parametrize("attention", ["criss_cross", "non_local"])
def test_the_converted_network_finds_what_torchvisions_own_finds_bit_for_bit(attention):
    network = theirs(box_score_thresh=0.0, box_detections_per_img=10, min_size=160, max_size=256)
    with torch.no_grad():
        network.roi_heads.box_predictor.cls_score.weight *= 20  # for scores that differ
    model = detection.convert_torchvision(network.state_dict(), attention=attention, recurrence=1)
    small = dataclasses.replace(model.config, score_threshold=0.0, max_detections=10, min_size=160, max_size=256)
    ours = detection.MaskRCNN(small).eval()
    ours.load_state_dict(model.state_dict())
    image = torch.randint(0, 256, (3, 60, 90), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    with torch.no_grad():
        [expected], [found] = network([image / 255]), ours([image])
    assert len(found) == 10
    assert len(set(found.scores.tolist())) > 5
    assert np.array_equal(found.boxes, expected["boxes"].numpy())
    assert np.array_equal(found.classes + 1, expected["labels"].numpy())
    assert np.array_equal(found.scores, expected["scores"].numpy())
    assert np.array_equal(found.masks, (expected["masks"][:, 0] >= 0.5).numpy())


def test_a_file_for_coco_has_91_outputs_of_which_ten_are_unused():
    model = detection.convert_torchvision(theirs().state_dict())
    config = model.config
    assert model.roi_heads.box_predictor.cls_score.out_features == 91
    unused = [name for name in config.classes if name.startswith("unused")]
    assert unused == [f"unused {number}" for number in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
    assert (config.classes[0], config.classes[11], config.classes[89]) == ("person", "unused 12", "toothbrush")
    assert (config.name, config.backbone, config.norm, config.norm_epsilon) == (
        *("maskrcnn_r50_fpn", "resnet50", "frozen", 0.0),
    )
    assert not model.training


def test_the_80_classes_of_coco_come_out_of_the_91(tmp_path):
    network = theirs(kind="resnet18")
    detection.convert_torchvision(network.state_dict()).save_pretrained(tmp_path / "w")
    coco = detection.MaskRCNN.from_config("maskrcnn_tiny").config.classes
    loaded = detection.MaskRCNN.from_pretrained(tmp_path / "w", classes=coco)
    kept = [row for row in range(91) if row not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
    before, after = network.roi_heads.box_predictor.cls_score, loaded.roi_heads.box_predictor.cls_score
    assert torch.equal(after.weight, before.weight[kept])
    assert torch.equal(after.bias, before.bias[kept])


@pytest.mark.parametrize("old", [False, True])
def test_files_are_read_under_new_and_old_names(tmp_path, old):
    state = theirs(4, "resnet18").state_dict()
    stored = copy.copy(state)
    if old:  # as torchvision named them when it published its file of COCO
        for kind in ("weight", "bias"):
            stored[f"rpn.head.conv.{kind}"] = stored.pop(f"rpn.head.conv.0.0.{kind}")
            for number in range(4):
                name = f"roi_heads.mask_head.mask_fcn{number + 1}.{kind}"
                stored[name] = stored.pop(f"roi_heads.mask_head.{number}.0.{kind}")
        stored["backbone.body.bn1.num_batches_tracked"] = torch.tensor(7)
    torch.save(stored, tmp_path / "file.pth")
    model = detection.convert_torchvision(tmp_path / "file.pth")
    assert model.config.classes == ("class 0", "class 1", "class 2")
    assert model.config.name == "maskrcnn_r18_fpn"
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())


def test_a_network_of_another_form_is_refused(tmp_path):
    state = theirs(4, "resnet18").state_dict()
    for change, message in (
        ({"backbone.fpn.inner_blocks.0.1.weight": torch.ones(256)}, "inner_blocks.0.1.weight' has no place there"),
        ({"roi_heads.mask_head.3.0.bias": torch.ones(255)}, r"is \(255,\), needed is \(256,\)"),
        ({"backbone.body.bn1.weight": torch.full((64,), torch.nan)}, "'backbone.body.bn1.weight' has NaN"),
    ):
        with pytest.raises(WeightsError, match=f"the state dict: .*{message}"):
            detection.convert_torchvision({**state, **change})
    with pytest.raises(WeightsError, match="the state dict: no Mask R-CNN of torchvision with a ResNet"):
        detection.convert_torchvision({"x": torch.zeros(1)})
    del state["rpn.head.cls_logits.bias"]
    with pytest.raises(WeightsError, match=r"it lacks 'rpn\.head\.cls_logits\.bias'\. Give a file of this network"):
        detection.convert_torchvision(state)
