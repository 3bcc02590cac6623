import numpy as np
import pytest

import ccnet_core as ccnet
from ccnet_train import TrainError
from ccnet_train.evaluate import class_differences, evaluate, evaluate_weights, table
from ccnet_train.launch import open_accelerator
from ccnet_train.metrics import ConfusionMatrix, Scores


class Pictures:
    """Three pictures of different sizes, labelled with what `model` predicts except in the first row."""

    classes = ("a", "b", "c")
    ignore_index = 255

    def __init__(self, model):
        rng = np.random.default_rng(0)
        self.samples = []
        for index in range(3):
            image = rng.integers(0, 256, (3, 24 + 8 * index, 40), np.uint8)
            label = ccnet.predict(model, image.transpose(1, 2, 0)).labels.copy()
            label[0] = (label[0] + 1) % 3
            image.setflags(write=False)  # as arrays from files often are
            self.samples.append({"image": image, "label": label, "id": str(index)})

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


@pytest.fixture
def model():
    return ccnet.CCNet.from_config("ccnet_tiny", num_classes=3).eval()


def test_the_scores_are_those_of_all_pixels_at_their_own_size(model):
    dataset = Pictures(model)
    with open_accelerator() as accelerator:
        scores = evaluate(model, dataset, accelerator, show=False)
    assert scores.aacc == pytest.approx(1 - 3 / (24 + 32 + 40))
    matrix = ConfusionMatrix(3)
    for sample in dataset.samples:
        matrix.add(sample["label"], ccnet.predict(model, sample["image"].transpose(1, 2, 0).copy()).labels)
    assert repr(scores) == repr(matrix.scores())  # as text, because nan differs from itself


def test_a_split_without_a_labelled_pixel_is_refused(model):
    dataset = Pictures(model)
    for sample in dataset.samples:
        sample["label"][:] = 255
    with open_accelerator() as accelerator, pytest.raises(TrainError, match="No pixel of the validation split"):
        evaluate(model, dataset, accelerator, show=False)


def test_weights_for_other_classes_are_refused(squares, tmp_path):
    ccnet.CCNet.from_config("ccnet_tiny", num_classes=5).save_pretrained(tmp_path / "five")
    with pytest.raises(TrainError, match=r"five has other classes than .* 'squares': 5 classes instead of 3"):
        evaluate_weights(squares(), tmp_path / "five")


def test_weights_for_classes_of_other_names_are_refused(squares, tmp_path):
    ccnet.CCNet.from_config("ccnet_tiny", classes=("ground", "green", "red")).save_pretrained(tmp_path / "other")
    with pytest.raises(TrainError, match="class 1 is 'green' instead of 'red', class 2 is 'red' instead of 'green'"):
        evaluate_weights(squares(), tmp_path / "other")


def test_many_different_classes_are_counted():
    assert class_differences("abcdef", "uvwxyf").endswith("class 2 is 'c' instead of 'w' and 2 more")
    assert class_differences("ab", ("a", "b")) == ""


def test_the_table_is_in_percent_and_marks_absent_classes():
    scores = Scores(miou=0.5, macc=0.75, aacc=0.9, iou=(0.5, float("nan")), accuracy=(0.75, float("nan")))
    assert table(scores, ("road", "bicycle")).splitlines() == [
        "mIoU 50.00  mAcc 75.00  aAcc 90.00",
        "",
        "class      IoU    Acc",
        "road     50.00  75.00",
        "bicycle      -      -",
    ]
