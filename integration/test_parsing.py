"""Human parsing through the whole house: drawn people -> training -> weights folder -> parts."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import ccnet_core as ccnet
import ccnet_core.cli
import ccnet_data
import ccnet_train.cli
from ccnet_train import fit, load_recipe

SMALL = (
    *("data.options={size: 64, length: 4, shared: true}", "augment.size=[64, 48]", "evaluate.crop=[64, 48]"),
    *("train.iterations=12", "train.images_per_step=4", "schedule.warmup_iterations=2", "log.every=1"),
    *("evaluate.every=6", "checkpoint={every: 6, keep: 2}"),
)
ARMS = {"left": 14, "right": 15}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a short run."""
    folder = tmp_path_factory.mktemp("parsing") / "run"
    fit(load_recipe("figures", [*SMALL, f"output={folder}"]), quiet=True)
    return folder


@pytest.fixture
def person(tmp_path):
    """The file of a drawn person, and its labels."""
    sample = ccnet_data.load("figures", split="train", size=64)[0]
    Image.fromarray(sample["image"].transpose(1, 2, 0)).save(tmp_path / "person.png")
    return tmp_path / "person.png", sample["label"]


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_loss_falls(trained):
    losses = [record["loss"] for record in records(trained) if "loss" in record]
    assert len(losses) == 12
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_a_run_goes_on_where_it_was_stopped(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-000012")
    fit(load_recipe("figures", [*SMALL, f"output={tmp_path / 'run'}"]), quiet=True)
    weights = [folder / "last" / "model.safetensors" for folder in (trained, tmp_path / "run")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_the_weights_say_what_a_mirror_image_swaps_and_how_a_picture_is_fitted(trained):
    config = json.loads((trained / "best" / "config.json").read_text())
    assert config["flip_pairs"] == [[14, 15], [16, 17], [18, 19]]
    assert config["inference"]["mode"] == "fit"
    model = ccnet.CCNet.from_pretrained(trained / "best")
    assert model.config.classes == ccnet_data.load("figures", split="train").classes
    assert model.config.inference.crop == (64, 48)


def test_an_evaluation_has_a_row_for_each_part_and_a_report(trained, tmp_path, capsys):
    command = ["evaluate", "figures", *SMALL, "--weights", str(trained / "best"), "--out", str(tmp_path / "out")]
    assert ccnet_train.cli.main([*command, "--report"]) == 0
    printed = capsys.readouterr().out
    for name in ("Left-arm", "Right-arm", "Sunglasses", "mIoU"):
        assert name in printed
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    last = [record for record in records(trained) if "miou" in record]
    assert found["miou"] == pytest.approx(max(record["miou"] for record in last))
    assert "Left-shoe" in (tmp_path / "out" / "report.html").read_text()


def test_a_prediction_has_the_size_of_the_picture_and_the_colours_of_lip(trained, person, tmp_path):
    picture, label = person
    command = ["predict", str(picture), "--model", str(trained / "best"), "--out", str(tmp_path / "out")]
    assert ccnet_core.cli.main(command) == 0
    with Image.open(tmp_path / "out" / "person_labels.png") as labels:
        assert labels.size == label.shape[::-1]
        assert labels.getpalette()[3 * 14 : 3 * 16] == [51, 170, 221, 0, 255, 255]
        predicted = np.asarray(labels)
    model = ccnet.CCNet.from_pretrained(trained / "best")
    np.testing.assert_array_equal(predicted, ccnet.predict(model, picture).labels)
    with Image.open(tmp_path / "out" / "person_overlay.png") as overlay:
        assert overlay.size == label.shape[::-1]


def test_attention_is_drawn(trained, person, tmp_path):
    command = ["attend", str(person[0]), "--model", str(trained / "best"), "--point", "20,30"]
    assert ccnet_core.cli.main([*command, "--out", str(tmp_path / "attention.png")]) == 0
    with Image.open(tmp_path / "attention.png") as drawn:
        assert drawn.width > drawn.height


def test_several_people_in_a_picture_are_labelled_as_one_picture(trained):
    people = [ccnet_data.load("figures", split="train", size=64)[index]["image"] for index in (0, 1)]
    height = min(image.shape[1] for image in people)
    both = np.concatenate([image[:, :height] for image in people], axis=2).transpose(1, 2, 0)
    labels = ccnet.predict(ccnet.CCNet.from_pretrained(trained / "best"), np.ascontiguousarray(both)).labels
    assert labels.shape == both.shape[:2]
    assert labels.max() < 20


def lip(root):
    """Write two people in LIP's layout."""
    for split in ("train", "val"):
        for index, name in enumerate(("1_1", "2_2")):
            sample = ccnet_data.load("figures", split=split, size=64)[index]
            for kind, ending in (("images", ".jpg"), ("segmentations", ".png")):
                (root / f"{split}_{kind}").mkdir(parents=True, exist_ok=True)
                array = sample["image"].transpose(1, 2, 0) if kind == "images" else sample["label"]
                Image.fromarray(array).save(root / f"{split}_{kind}" / f"{name}{ending}")
        (root / f"{split}_id.txt").write_text("1_1\n2_2\n")
    return root


LIP = ("data.name=lip", "data.options={}", *SMALL[1:], "train.iterations=1", "evaluate.every=1")


def fit_lip(root, tmp_path):
    return ccnet_train.cli.main(["fit", "figures", *LIP, f"data.root={root}", f"output={tmp_path / 'run'}"])


def test_the_layout_of_lip_trains_and_is_evaluated(tmp_path):
    assert fit_lip(lip(tmp_path / "LIP"), tmp_path) == 0
    model = ccnet.CCNet.from_pretrained(tmp_path / "run" / "last")
    assert model.config.flip_pairs == ((14, 15), (16, 17), (18, 19))


def label_above_19(root):
    Image.new("L", (64, 64), 20).save(root / "train_segmentations" / "1_1.png")


def other_size(root):
    Image.new("L", (9, 9)).save(root / "val_segmentations" / "1_1.png")


def no_list(root):
    (root / "train_id.txt").unlink()


def name_without_files(root):
    (root / "train_id.txt").write_text("1_1\n3_3\n")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (label_above_19, ("train_segmentations/1_1.png", "label values 20 are outside the 20 classes")),
        (other_size, ("val_images/1_1.jpg", "val_segmentations/1_1.png")),
        (no_list, ("train_id.txt", "there is no such list")),
        (name_without_files, ("train_images/3_3.jpg", "is not there, but train_id.txt lists it")),
    ],
)
def test_bad_files_are_one_line_that_names_them(tmp_path, capsys, spoil, words):
    root = lip(tmp_path / "LIP")
    spoil(root)
    assert fit_lip(root, tmp_path) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert all(word in line for word in words), line


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_twenty_people_are_learnt_by_heart(tmp_path, seed):
    result = fit(load_recipe("figures", [f"seed={seed}", f"output={tmp_path / 'run'}"]), quiet=True)
    assert result.best_miou >= 0.9
