"""Training and measuring on pictures with up to two blocks, the first of which have none."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from ccnet_train import TrainError, fit
from ccnet_train.checkpoint import path_of
from ccnet_train.datasets import load_split
from ccnet_train.detection.objective import PARTS
from ccnet_train.dry_run import describe
from ccnet_train.evaluate_weights import evaluate_weights
from ccnet_train.recipe import to_yaml
from ccnet_train.run import load_parts
from ccnet_train.tasks import TASKS
from ccnet_train.tasks.instances import Instances

pytestmark = [
    pytest.mark.detection,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # pycocotools and NumPy 2
]
COCO_FILES = ("coco_truth.json", "coco_boxes.json", "coco_masks.json")
TWO = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def tensors(folder):
    return Instances().load(folder).state_dict()


def by_hand(folder):
    """Return AP of boxes and masks as pycocotools computes them from the files of an evaluation."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, found = COCO(folder / COCO_FILES[0]), []
    for kind, name in (("bbox", COCO_FILES[1]), ("segm", COCO_FILES[2])):
        evaluation = COCOeval(truth, truth.loadRes(str(folder / name)), kind)
        evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
        found.append(evaluation.stats[0])
    return found


@pytest.fixture
def finished(blocks):
    """A run of four steps that knows its blocks a little: what it finds is not nothing."""
    return fit(blocks(), quiet=True)


def test_a_run_logs_five_losses_evaluates_resumes_and_leaves_weights(blocks, finished, tmp_path):
    run = tmp_path / "run"
    steps = [line for line in records(run) if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    for line in steps:
        assert line["loss"] == pytest.approx(sum(line[name] for name in PARTS))
    evaluations = [line for line in records(run) if "mask_ap" in line]
    assert {"step", "box_ap", "mask_ap", "box_ap50", "mask_ap50"} <= evaluations[0].keys()
    assert finished.best == max(evaluations, key=lambda line: line["mask_ap"])
    assert len(json.loads((run / "last" / "coco_boxes.json").read_text())) > 0
    assert by_hand(run / "last") == [evaluations[-1]["box_ap"], evaluations[-1]["mask_ap"]]
    with Image.open(run / "preview.png") as preview:
        assert preview.width > 2 * 48

    expected = tensors(finished.last_folder)
    shutil.rmtree(path_of(run / "checkpoints", 4))
    resumed = fit(blocks(), quiet=True)
    assert resumed.history == finished.history
    found = tensors(resumed.last_folder)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_one_and_two_processes_measure_the_same(blocks, finished, command, tmp_path):
    recipe = blocks("data.val.length=4")
    (tmp_path / "mine.yaml").write_text(to_yaml(recipe))
    found = evaluate_weights(recipe, finished.last_folder, out=tmp_path / "one", show=False)
    words = ["evaluate", tmp_path / "mine.yaml", "--weights", finished.last_folder, "--out", tmp_path / "two"]
    done = command(*words, launcher=TWO)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(found.table())
    for name in (*COCO_FILES, "metrics.json", "evaluation.json", "pictures.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert by_hand(tmp_path / "two") == [found.metrics["box_ap"], found.metrics["mask_ap"]]


@pytest.mark.parametrize("most", [2, 0])
def test_two_processes_train_also_where_no_picture_has_an_object(blocks, command, tmp_path, most):
    overrides = (f"data.train.blocks={most}", "train.iterations=2", "train.images_per_step=4")
    (tmp_path / "mine.yaml").write_text(to_yaml(blocks(*overrides)))
    done = command("fit", tmp_path / "mine.yaml", launcher=TWO)
    assert done.returncode == 0, done.stderr
    assert [line["step"] for line in records(tmp_path / "run")] == [1, 2, 2]


def test_accumulation_clipping_average_workers_and_frozen_modules_work_together(blocks, tmp_path):
    overrides = ("train.accumulation=2", "optimiser.clip_gradient_norm=1", "train.weight_average=0.5", "data.workers=1")
    recipe = blocks(*overrides, "train.iterations=2", "model.freeze=[backbone.body.stem, backbone.body.layer1]")
    before = load_parts(recipe, 1).network.state_dict()
    result = fit(recipe, quiet=True)
    assert all(line["gradient_norm"] > 0 for line in records(tmp_path / "run") if "loss" in line)
    after = tensors(result.last_folder)
    same = {name for name, value in after.items() if torch.equal(value, before[name])}
    frozen = {name for name in after if name.startswith(("backbone.body.stem", "backbone.body.layer1"))}
    assert frozen <= same
    assert not any(name.startswith(("backbone.fpn", "rpn", "roi_heads")) for name in same)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss.auxiliary_weight=0.1", "loss: is for networks that give a class to every pixel"),
        ("evaluate.flip=true", "evaluate: is for networks"),
        ("model.frames=2", "model.frames: is for networks"),
        ("model.activation_checkpointing=true", "model.activation_checkpointing: is for networks"),
        ("train.compile=true", "train.compile: is for networks"),
        ("model.name=ccnet_tiny", "model.name=ccnet_tiny: this network gives every pixel a class.*maskrcnn_tiny"),
        ("model.name=maskrcnn_tin", "There is no Mask R-CNN 'maskrcnn_tin'.*maskrcnn_tiny"),
        ("model.freeze=[backbone.stem]", "has no module 'backbone.stem'"),
        ("card.license=Not a licence", "^card: license must be an identifier"),
    ],
)
def test_what_objects_have_not_is_refused_before_the_run(blocks, override, message):
    with pytest.raises(TrainError, match=message):
        load_parts(blocks(override), 1)


def test_a_dry_run_tells_network_data_and_steps(blocks):
    network, data, steps, memory = describe(blocks(), processes=2).splitlines()
    assert network.startswith("network  maskrcnn_tiny, ")
    assert data == "data     blocks, 6 pictures to train on, 3 to evaluate"
    assert "4 of 2 pictures (2 x 1)" in steps
    assert memory.startswith("memory   not estimated")


def test_a_validation_split_without_objects_is_refused_and_can_be_predicted(blocks, finished, tmp_path, capsys):
    with pytest.raises(TrainError, match="No picture of the validation split has an object"):
        fit(blocks("data.val.blocks=0", f"output={tmp_path / 'none'}"), quiet=True)
    found = evaluate_weights(blocks("data.val.blocks=0"), finished.last_folder, out=tmp_path / "out", show=False)
    assert (found.has_truth, (tmp_path / "out/metrics.json").exists()) == (False, False)
    assert json.loads((tmp_path / "out" / COCO_FILES[0]).read_text())["annotations"] == []


@pytest.mark.parametrize("option", [{"tta": True}, {"labels": "indices"}, {"report": True}], ids=str)
def test_what_only_labels_have_is_refused_in_an_evaluation(blocks, tmp_path, option):
    with pytest.raises(TrainError, match=f"^--{next(iter(option))} is for networks that give a class to every pixel"):
        evaluate_weights(blocks(), tmp_path / "nowhere", out=tmp_path / "out", **option)


def test_without_pycocotools_an_evaluation_says_what_to_install(blocks, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(TrainError, match=r'python -m pip install "ccnet-train\[detection\]"'):
        evaluate_weights(blocks(), tmp_path, out=tmp_path / "out", show=False)


def test_an_evaluation_of_other_weights_is_refused_and_fresh_replaces_it(blocks, finished, tmp_path):
    recipe = blocks("data.val.length=1")
    evaluate_weights(recipe, finished.last_folder, out=tmp_path / "out", show=False)
    subject = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert (subject["task"], subject["settings"]["min_size"]) == ("instances", 128)
    with pytest.raises(TrainError, match="holds another evaluation: options was"):
        evaluate_weights(blocks(), finished.last_folder, out=tmp_path / "out", show=False)
    evaluate_weights(blocks(), finished.last_folder, out=tmp_path / "out", fresh=True, show=False)


def test_weights_of_other_classes_are_refused(blocks, tmp_path):
    from ccnet_train.detection import MaskRCNN

    MaskRCNN.from_config("maskrcnn_tiny", classes=("ant", "bee", "cow")).save_pretrained(tmp_path / "weights")
    with pytest.raises(TrainError, match="3 classes instead of 2"):
        evaluate_weights(blocks(), tmp_path / "weights", out=tmp_path / "out")


def test_a_picture_is_predicted_and_shown_as_it_is(blocks):
    sample = load_split(blocks().data, "val")[1]
    network = load_parts(blocks(), 1).network
    found = TASKS["instances"].predict(network, sample)
    assert found.masks.shape[1:] == sample["image"].shape[1:]
    assert network.training
    np.testing.assert_array_equal(Instances().picture(sample), sample["image"])
