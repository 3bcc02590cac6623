import sys

import pytest

from ccnet_train import TrainError, detection


def test_without_torchvision_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(TrainError, match=r'python -m pip install "ccnet-train\[detection\]"'):
        detection.MaskRCNN  # noqa: B018


def test_a_torchvision_of_another_torch_is_told(monkeypatch, tmp_path):
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TrainError, match=r"nms does not exist.*from the same index"):
        detection.require_torchvision()


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'YOLO'"):
        detection.YOLO  # noqa: B018
