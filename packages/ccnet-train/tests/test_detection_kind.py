"""`ccnet predict` and `ccnet-train predict` of a Mask R-CNN, as a user types them."""

import dataclasses
import json
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from ccnet_core.cli import main
from ccnet_core.picture_files import Named
from ccnet_train import cli, detection
from ccnet_train.detection.config import load_config
from ccnet_train.detection.kind import DetectionResults
from ccnet_train.detection.render import draw_detections, enlarge_detections


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    config = dataclasses.replace(load_config("maskrcnn_tiny").with_classes(["ant", "bee"]), score_threshold=0.3)
    model = detection.MaskRCNN.from_config(config)
    with torch.no_grad():  # so that random scores are above 0.5
        model.roi_heads.box_predictor.cls_score.bias[1] = 2
    folder = tmp_path_factory.mktemp("detector") / "weights"
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def photos(tmp_path):
    generator = np.random.default_rng(0)
    paths = []
    for number, size in enumerate(((48, 64), (48, 64), (40, 30))):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(generator.integers(0, 256, (*size, 3), np.uint8)).save(paths[-1])
    return paths


def command(capsys, *words, program=main):
    code = program(["predict", *map(str, words)])
    return code, capsys.readouterr()


@pytest.mark.detection
@pytest.mark.parametrize("program", [main, cli.main])
def test_pictures_become_overlays_and_cocos_results(weights, photos, tmp_path, capsys, program):
    out = tmp_path / "out"
    words = (*photos, "--model", weights, "--out", out, "--save", "overlay,json")
    code, said = command(capsys, *words, program=program)
    assert (code, said.err) == (0, "")
    assert said.out == f"3 pictures -> {out}/NAME_overlay.png, {out}/NAME_objects.json: 3 written\n"
    model = detection.MaskRCNN.from_pretrained(weights)
    for path in photos:
        found = detection.predict_instances(model, path)
        written = json.loads((out / f"{path.stem}_objects.json").read_text())
        assert len(written) == len(found) > 0
        assert [one["score"] for one in written] == pytest.approx(found.scores.tolist(), abs=1e-5)
        assert {one["category"] for one in written} <= {"ant", "bee"}
        assert any(score >= 0.5 for score in found.scores)
        picture = enlarge_detections(np.asarray(Image.open(path)), found)
        expected = draw_detections(*picture, model.config.classes, model.config.palette)
        with Image.open(out / f"{path.stem}_overlay.png") as image:
            assert image.size == expected.shape[1::-1]
            assert (np.asarray(image) != expected).mean() < 0.01
    code, said = command(capsys, *words, program=program)
    assert "0 written, 3 skipped" in said.out


@pytest.mark.detection
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_memory_does_not_hold_the_masks_of_a_picture_side_by_side(weights, tmp_path):
    model, size = detection.MaskRCNN.from_pretrained(weights), (700, 900)
    model.roi_heads.score_thresh = 0.0
    results = DetectionResults(folder=tmp_path, kinds=("overlay", "json"), config=model.config)
    pixels = np.random.default_rng(0).integers(0, 256, (3, *size), np.uint8)
    pictures = [Named(torch.tensor(pixels), str(number)) for number in range(4)]
    tracemalloc.start()  # of NumPy's memory, which is where masks are, and not of torch's
    try:
        for found in results.predict(model, pictures, batch_size=4, on_error=lambda *_: None):
            assert len(found.found) == 100
            results.keep(found)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(list(tmp_path.iterdir())) == 8
    assert peak < 50 * size[0] * size[1]  # all masks of one of the pictures take twice as much


@pytest.mark.detection
def test_an_overlay_is_what_is_written_if_nobody_says(weights, photos, tmp_path, capsys):
    code, _ = command(capsys, photos[0], "--model", weights, "--out", tmp_path / "out")
    assert code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0_overlay.png"]


@pytest.mark.detection
def test_a_damaged_picture_does_not_stop_the_rest(weights, photos, tmp_path, capsys):
    photos[1].write_bytes(b"no picture")
    code, said = command(capsys, *photos, "--model", weights, "--out", tmp_path / "out")
    assert code == 1
    assert "2 written, 1 failed" in said.out
    assert said.err.endswith(f"error: {photos[1]}: not a picture that Pillow can read. Convert it to PNG or JPEG.\n")


@pytest.mark.detection
def test_labels_are_refused_as_objects_may_overlap(weights, photos, tmp_path, capsys):
    code, said = command(capsys, photos[0], "--model", weights, "--out", tmp_path / "out", "--save", "labels")
    assert code == 2
    assert said.err == (
        "error: --save labels: it wants one class per pixel, and the model finds objects, which may overlap. "
        "It can save overlay and json.\n"
    )


@pytest.mark.detection
def test_an_attention_backend_is_asked_for_by_name(weights, photos, tmp_path, capsys):
    code, said = command(capsys, photos[0], "--model", weights, "--out", tmp_path / "out", "--backend", "magic")
    assert code == 2
    assert "magic" in said.err
    assert command(capsys, photos[0], "--model", weights, "--out", tmp_path / "out", "--backend", "torch")[0] == 0


def test_without_torchvision_the_command_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "ccnet-instances"}')
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    code, said = command(capsys, tmp_path / "a.png", "--model", folder, "--out", tmp_path / "out")
    assert code == 2
    assert said.err == (
        f"error: {folder}: holds a Mask R-CNN. Instance segmentation needs torchvision: "
        'python -m pip install "ccnet-train[detection]"\n'
    )
