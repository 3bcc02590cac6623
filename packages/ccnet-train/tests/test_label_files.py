import numpy as np
import pytest
from PIL import Image

from ccnet_train import TrainError
from ccnet_train.label_files import CITYSCAPES_IDS, label_files

LABELS = np.array([[0, 18, 13], [5, 5, 0]], np.uint8)
GREY = [(index, index, index) for index in range(150)]


def test_indices_are_the_classes_in_the_palettes_colours(tmp_path):
    palette = [(10 * index, 0, 0) for index in range(19)]
    file = label_files("indices", tmp_path, ["class"] * 19, palette).write("city/frame_1", LABELS)
    assert file == tmp_path / "city/frame_1.png"
    image = Image.open(file)
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image), LABELS)
    np.testing.assert_array_equal(np.asarray(image.convert("RGB"))[0, 1], palette[18])


def test_cityscapes_gets_its_label_ids_in_one_folder(tmp_path):
    file = label_files("cityscapes", tmp_path, list(CITYSCAPES_IDS), GREY[:19]).write("bonn/bonn_000000_000019", LABELS)
    assert file == tmp_path / "bonn_000000_000019.png"
    image = Image.open(file)
    assert image.mode == "L"
    assert np.asarray(image).tolist() == [[7, 33, 26], [17, 17, 7]]


def test_ade20k_gets_classes_from_1(tmp_path):
    classes = [f"class {index}" for index in range(150)]
    file = label_files("ade20k", tmp_path, classes, GREY).write("ADE_test_00000001", np.array([[0, 149]], np.uint8))
    assert np.asarray(Image.open(file)).tolist() == [[1, 150]]


@pytest.mark.parametrize("form", ["cityscapes", "ade20k"])
def test_a_server_gets_no_labels_of_other_classes(tmp_path, form):
    with pytest.raises(TrainError, match=f"--labels {form}: the server takes its .* Give --labels indices"):
        label_files(form, tmp_path, list(CITYSCAPES_IDS)[::-1], GREY[:19])


@pytest.mark.parametrize("id", ["../secret", "/etc/passwd", "a/../../b", ""])
def test_a_picture_whose_name_leads_out_of_the_folder_is_refused(tmp_path, id):
    with pytest.raises(TrainError, match="cannot be written below"):
        label_files("indices", tmp_path, ["a"], GREY[:1]).write(id, LABELS)
