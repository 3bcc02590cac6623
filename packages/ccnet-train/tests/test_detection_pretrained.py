import dataclasses
import json
import logging

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import ccnet_core as ccnet
from ccnet_core.errors import OtherKindError
from ccnet_train import detection
from ccnet_train.detection.config import load_config

pytestmark = pytest.mark.detection

CLASSES = ("ant", "bee", "cow")


def tiny(classes=CLASSES):
    torch.manual_seed(0)
    config = dataclasses.replace(load_config("maskrcnn_tiny").with_classes(classes), score_threshold=0.0)
    return detection.MaskRCNN.from_config(config).eval()


@pytest.fixture
def picture():
    return torch.randint(0, 256, (3, 64, 96), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


@pytest.fixture
def folder(tmp_path):
    tiny().save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


def test_a_saved_network_comes_back_the_same(folder, picture):
    loaded = detection.MaskRCNN.from_pretrained(folder)
    assert isinstance(loaded, detection.MaskRCNN)
    assert not loaded.training
    assert loaded.config == tiny().config
    one, other = (detection.predict_instances(model, picture) for model in (tiny(), loaded))
    assert len(one) == 100
    assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("boxes", "scores", "masks"))


def test_the_folder_has_four_files_and_says_what_it_is(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        *("README.md", "config.json", "model.safetensors", "picture.png"),
    ]
    content = json.loads((folder / "config.json").read_text())
    assert (content["model_type"], content["architectures"]) == ("ccnet-instances", ["MaskRCNN"])
    assert content["id2label"] == {"0": "ant", "1": "bee", "2": "cow"}


def test_a_network_that_trains_is_saved_with_its_training_mode_kept(tmp_path, picture):
    model = tiny().train()
    model.save_pretrained(tmp_path / "weights", picture=picture)
    assert model.training
    assert model.backbone.training


def test_ccnet_says_what_such_a_folder_is(folder):
    with pytest.raises(OtherKindError, match=r"holds a Mask R-CNN, which finds objects\. Use it with `ccnet predict`"):
        ccnet.CCNet.from_pretrained(folder)


def test_a_folder_for_segmentation_is_told_too(tmp_path):
    ccnet.CCNet.from_config("ccnet_tiny").save_pretrained(tmp_path / "weights")
    with pytest.raises(OtherKindError, match="holds a network for semantic segmentation"):
        detection.MaskRCNN.from_pretrained(tmp_path / "weights")


def spoil(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("rpn.head.cls_logits.bias"), r"missing: rpn\.head\.cls_logits\.bias"),
        (lambda state: state.update(more=torch.zeros(1)), "more"),
        (lambda state: state.update({"rpn.head.cls_logits.bias": torch.zeros(4)}), r"rpn\.head\.cls_logits\.bias"),
        (lambda state: state["rpn.head.cls_logits.bias"].fill_(torch.nan), "with NaN"),
    ],
)
def test_tensors_are_read_strictly(folder, change, message):
    spoil(folder, change)
    with pytest.raises(ccnet.WeightsError, match=message):
        detection.MaskRCNN.from_pretrained(folder)


def test_a_wrong_key_of_the_configuration_is_named(folder):
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "min_sise": 1}))
    with pytest.raises(ccnet.WeightsError, match=r"config.json: unknown key 'min_sise'\. Did you mean 'min_size'"):
        detection.MaskRCNN.from_pretrained(folder)


def test_classes_of_the_same_name_keep_what_is_known_of_them(folder, picture, caplog):
    with caplog.at_level(logging.WARNING):
        loaded = detection.MaskRCNN.from_pretrained(folder, classes=["cow", "new", "ant"])
    assert "1 of" not in caplog.text
    assert f"{folder}: 2 of its 3 classes are kept. These start at random: new." in caplog.text
    assert loaded.config.classes == ("cow", "new", "ant")
    before, after = tiny().roi_heads, loaded.roi_heads
    for name, each in (("cls_score", 1), ("bbox_pred", 4)):
        old, new = getattr(before.box_predictor, name), getattr(after.box_predictor, name)
        assert new.out_features == 4 * each
        for row, was in ((0, 0), (1, 3), (3, 1)):
            here, there = (slice(place * each, (place + 1) * each) for place in (row, was))
            assert torch.equal(new.weight[here], old.weight[there])
            assert torch.equal(new.bias[here], old.bias[there])
    old, new = before.mask_predictor.mask_fcn_logits.weight, after.mask_predictor.mask_fcn_logits.weight
    assert torch.equal(new[[0, 1, 3]], old[[0, 3, 1]])
    assert torch.equal(after.mask_predictor.conv5_mask.weight, before.mask_predictor.conv5_mask.weight)


def test_the_classes_that_are_kept_are_found_as_before(folder, picture):
    loaded = detection.MaskRCNN.from_pretrained(folder, classes=["cow", "bee", "ant"])
    with torch.no_grad():
        before, after = tiny()([picture])[0], loaded([picture])[0]
    assert [CLASSES[label] for label in before.classes] == [CLASSES[::-1][label] for label in after.classes]
    assert np.array_equal(before.masks, after.masks)
    assert np.allclose(before.scores, after.scores, atol=1e-6)


def test_the_card_shows_what_is_found_and_how_to_use_it(tmp_path, picture):
    tiny().save_pretrained(
        tmp_path / "w", metrics={"box_ap": 0.38, "mask_ap": 0.35}, datasets=["coco"], license="mit", picture=picture
    )
    card = (tmp_path / "w/README.md").read_text()
    assert "from ccnet_train.detection import MaskRCNN, predict_instances" in card
    assert "with criss-cross attention (2 steps) in its backbone" in card
    assert "Mask AP (IoU 0.50 to 0.95) | 0.3500" in card
    assert "instance-segmentation" in card.split("---")[1]
    from PIL import Image

    with Image.open(tmp_path / "w/picture.png") as image:
        assert image.width >= 576


def test_a_device_that_is_not_here_is_refused(folder):
    with pytest.raises(ccnet.CCNetError, match="There is no device 'cuda:99' here"):
        detection.MaskRCNN.from_pretrained(folder, device="cuda:99")
