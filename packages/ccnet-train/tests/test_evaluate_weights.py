import json
import sys

import numpy as np
import pytest
from PIL import Image

import ccnet_core as ccnet
from ccnet_train import TrainError
from ccnet_train import evaluate_weights as module
from ccnet_train.bootstrap import intervals
from ccnet_train.evaluate_weights import evaluate_weights, metrics
from ccnet_train.evaluation import Evaluation, PictureCounts
from ccnet_train.evaluation_folder import read_evaluation, read_subject
from ccnet_train.recipe import to_yaml


@pytest.fixture
def weights(tmp_path):
    model = ccnet.CCNet.from_config("ccnet_tiny", classes=("ground", "red", "green"))
    model.save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_folder_holds_counts_scores_and_what_was_measured(squares, weights, tmp_path):
    found = evaluate_weights(squares(), weights, out=tmp_path / "out", show=False)
    assert names(tmp_path / "out") == ["confusion.png", "evaluation.json", "metrics.json", "pictures.jsonl"]
    assert read_evaluation(tmp_path / "out").scores == found.scores
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == metrics(found)
    subject = read_subject(tmp_path / "out")
    assert (subject.weights, subject.data, subject.split, subject.pictures) == (str(weights), "squares", "val", 5)


class Killed(BaseException):
    pass


def test_what_was_stopped_goes_on_without_predicting_again(squares, weights, tmp_path, monkeypatch):
    whole = evaluate_weights(squares(), weights, out=tmp_path / "whole", show=False)
    predicted, predict = [], ccnet.predict

    def stopping(model, image, **options):
        if len(predicted) == 3:
            raise Killed
        predicted.append(image)
        return predict(model, image, **options)

    monkeypatch.setattr(ccnet, "predict", stopping)
    with pytest.raises(Killed):
        evaluate_weights(squares(), weights, out=tmp_path / "out", show=False)
    monkeypatch.setattr(ccnet, "predict", lambda *a, **k: predicted.append(a) or predict(*a, **k))
    again = evaluate_weights(squares(), weights, out=tmp_path / "out", show=False)
    assert len(predicted) == 5
    assert (tmp_path / "out/pictures.jsonl").read_text() == (tmp_path / "whole/pictures.jsonl").read_text()
    assert again.scores == whole.scores


def test_fresh_replaces_an_evaluation_of_other_weights(squares, weights, tmp_path):
    evaluate_weights(squares(), weights, out=tmp_path / "out", show=False)
    with pytest.raises(TrainError, match="holds another evaluation: plan was"):
        evaluate_weights(squares(), weights, out=tmp_path / "out", tta=True, show=False)
    evaluate_weights(squares(), weights, out=tmp_path / "out", tta=True, fresh=True, show=False)
    assert read_subject(tmp_path / "out").plan.flip


def test_a_weights_folder_keeps_the_evaluation_of_its_run(squares, weights, tmp_path):
    before = {path.name: path.read_bytes() for path in weights.iterdir()}
    with pytest.raises(TrainError, match=r"a weights folder.* Give another --out"):
        evaluate_weights(squares(), weights, out=weights, fresh=True, show=False)
    assert {path.name: path.read_bytes() for path in weights.iterdir()} == before


def test_labels_are_the_predictions(squares, weights, tmp_path):
    recipe = squares()
    evaluate_weights(recipe, weights, out=tmp_path / "out", labels="indices", show=False)
    assert [name for name in names(tmp_path / "out") if "/" in name] == [f"labels/val-{i}.png" for i in range(5)]
    sample = module.load_split(recipe.data, "val")[3]
    expected = ccnet.predict(ccnet.CCNet.from_pretrained(weights), sample["image"].transpose(1, 2, 0).copy()).labels
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out/labels/val-3.png")), expected)


class Unlabelled:
    """The split "test" of servers: no pixel has a class."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __getattr__(self, name):
        return getattr(self.dataset, name)

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        sample = self.dataset[index]
        return {**sample, "label": np.full_like(sample["label"], 255)}


def test_a_split_without_truth_gives_labels_and_no_scores(squares, weights, tmp_path, monkeypatch):
    load_split = module.load_split
    monkeypatch.setattr(module, "load_split", lambda data, split: Unlabelled(load_split(data, split)))
    with pytest.raises(TrainError, match=r"No pixel of the split 'test' has a class.*--labels"):
        evaluate_weights(squares(), weights, out=tmp_path / "none", split="test", show=False)
    found = evaluate_weights(
        squares(), weights, out=tmp_path / "out", split="test", labels="indices", report=True, show=False
    )
    assert not found.has_truth
    assert not (tmp_path / "out/report.html").exists()
    assert len(list((tmp_path / "out/labels").iterdir())) == 5
    assert not (tmp_path / "out/metrics.json").exists()


def test_weights_for_other_classes_are_refused(squares, tmp_path):
    ccnet.CCNet.from_config("ccnet_tiny", num_classes=5).save_pretrained(tmp_path / "five")
    with pytest.raises(TrainError, match=r"five has other classes than .* 'squares': 5 classes instead of 3"):
        evaluate_weights(squares(), tmp_path / "five", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_absent_classes_are_null_in_the_metrics():
    picture = PictureCounts(index=0, id="a", cells=np.array([[0, 0, 3], [0, 1, 1]]))
    content = metrics(Evaluation(classes=("road", "car", "bus"), pictures=(picture,)))
    assert content["classes"] == {
        "road": {"iou": 0.75, "iou_interval": [0.75, 0.75], "accuracy": 0.75, "pixels": 4},
        "car": {"iou": 0.0, "iou_interval": [0.0, 0.0], "accuracy": None, "pixels": 0},
        "bus": {"iou": None, "iou_interval": [None, None], "accuracy": None, "pixels": 0},
    }
    json.dumps(content, allow_nan=False)


def test_the_metrics_hold_the_intervals_over_pictures():
    pictures = tuple(PictureCounts(index=i, id=str(i), cells=np.array([[0, 0, i], [0, 1, 5]])) for i in range(8))
    found = Evaluation(classes=("road", "car"), pictures=pictures)
    expected = intervals(found.counts).miou
    assert metrics(found)["intervals"]["miou"] == [expected.low, expected.high]
    assert expected.low < found.scores.miou < expected.high


TWO = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def test_two_processes_leave_what_one_leaves(squares, weights, tmp_path, command):
    evaluate_weights(squares(), weights, out=tmp_path / "one", labels="indices", show=False)
    (tmp_path / "mine.yaml").write_text(to_yaml(squares()))
    words = ["evaluate", tmp_path / "mine.yaml", "--weights", weights, "--out", tmp_path / "two", "--labels", "indices"]
    done = command(*words, launcher=TWO)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("mIoU") == 1
    assert same(tmp_path / "one", tmp_path / "two")


def test_after_kill_9_another_number_of_processes_goes_on(squares, weights, tmp_path, command):
    whole = evaluate_weights(squares(), weights, out=tmp_path / "whole", split="train", show=False)
    (tmp_path / "mine.yaml").write_text(to_yaml(squares()))
    words = ["evaluate", tmp_path / "mine.yaml", "--weights", weights, "--split", "train", "--out", tmp_path / "out"]
    assert command(*words, FAKE_DIE_AT="5").returncode == -9
    assert len((tmp_path / "out/pictures-0.part.jsonl").read_text().splitlines()) == 4
    assert command(*words, launcher=TWO, FAKE_DIE_AT="3").returncode != 0
    known = sum(len(path.read_text().splitlines()) for path in (tmp_path / "out").glob("pictures*.jsonl"))
    assert 4 < known < len(whole.pictures)
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert same(tmp_path / "whole", tmp_path / "out")


def same(one, other):
    return names(one) == names(other) and all((one / n).read_bytes() == (other / n).read_bytes() for n in names(one))


def test_a_report_shows_what_was_evaluated_and_the_curves_of_the_run(squares, weights, tmp_path):
    (tmp_path / "recipe.yaml").write_text(to_yaml(squares()))
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0, "lr": 0.1}\n')
    found = evaluate_weights(squares(), weights, out=tmp_path / "out", report=True, show=False)
    html = (tmp_path / "out/report.html").read_text("utf-8")
    assert f"{100 * found.scores.miou:.2f} %" in html
    assert html.count("<article") == 5
    assert "Curve: loss" in html


def test_a_report_can_be_added_to_a_finished_evaluation(squares, weights, tmp_path, monkeypatch):
    evaluate_weights(squares(), weights, out=tmp_path / "out", show=False)
    predicted, predict = [], ccnet.predict
    monkeypatch.setattr(ccnet, "predict", lambda *a, **k: predicted.append(a) or predict(*a, **k))
    evaluate_weights(squares(), weights, out=tmp_path / "out", report=True, show=False)
    assert (tmp_path / "out/report.html").is_file()
    assert len(predicted) == 5  # those that it shows
