import dataclasses
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image

import ccnet_core as ccnet
from ccnet_core import cli, render
from ccnet_core.cli import main

WINDOWS = {"mode": "slide", "crop": (16, 24), "stride": (11, 16)}


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capsys, monkeypatch):
    """Run the command in this process."""
    monkeypatch.delenv("CCNET_ATTENTION", raising=False)

    def run_command(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit_:  # argparse leaves this way
            code = exit_.code
        return Done(code, *capsys.readouterr())

    return run_command


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def weights(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


@pytest.fixture
def checkpoint(tiny, mmseg_state, tmp_path):
    """A file of mmsegmentation without the names of its classes."""
    torch.save({"state_dict": mmseg_state(tiny)}, tmp_path / "checkpoint.pth")
    return tmp_path / "checkpoint.pth"


@pytest.fixture
def photo(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_predict_writes_an_overlay_and_labels(run, tiny, weights, photo, picture, tmp_path):
    done = run("predict", photo, "--model", weights, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    labels = pixels(tmp_path / "out" / "photo_labels.png")
    np.testing.assert_array_equal(labels, ccnet.predict(tiny, picture).labels)
    overlay = render.overlay(picture, labels, tiny.config.palette)
    np.testing.assert_array_equal(pixels(tmp_path / "out" / "photo_overlay.png"), overlay)


def test_predict_averages_views_on_request(run, tiny, weights, photo, picture, tmp_path):
    assert run("predict", photo, "--model", weights, "--out", tmp_path, "--tta").returncode == 0
    expected = ccnet.predict(tiny, picture, scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True).labels
    np.testing.assert_array_equal(pixels(tmp_path / "photo_labels.png"), expected)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--mode", "slide", "--crop", "16,24", "--stride", "11,16"], WINDOWS),
        (["--mode", "slide", "--crop", "16,24", "--stride", "11,16", "--resize", "plan"], WINDOWS | {"resize": "plan"}),
        (["--resize", "plan", "--tta"], {"resize": "plan", "scales": cli.TTA_SCALES, "flip": True}),
        (["--device", "cpu"], {}),
    ],
)
def test_predict_carries_out_the_plan_of_its_options(
    run, tiny, photo, picture, tmp_path, monkeypatch, arguments, options
):
    asked = []
    monkeypatch.setattr(cli, "predict", lambda *given, **plan: asked.append(plan) or ccnet.predict(*given, **plan))
    plan = ccnet.InferencePlan(base_scale=(64, 48))
    tiny.config = dataclasses.replace(tiny.config, inference=plan)
    tiny.save_pretrained(tmp_path / "weights")
    done = run("predict", photo, "--model", tmp_path / "weights", "--out", tmp_path, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert [{name: value for name, value in plan.items() if value is not None} for plan in asked] == [options]
    np.testing.assert_array_equal(pixels(tmp_path / "photo_labels.png"), ccnet.predict(tiny, picture, **options).labels)


def test_predict_uses_the_device_that_auto_finds(run, weights, photo, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("ccnet_core.pretrained.find_device", lambda name: asked.append(name) or torch.device("cpu"))
    assert run("predict", photo, "--model", weights, "--out", tmp_path).returncode == 0
    assert asked == ["auto"]


def test_attend_draws_both_steps(run, weights, photo, tmp_path):
    done = run("attend", photo, "--model", weights, "--point", "10,20", "--out", tmp_path / "a.png")
    assert (done.returncode, done.stderr) == (0, "")
    height, width, _ = pixels(tmp_path / "a.png").shape
    assert width > 3 * height


def test_models_lists_published_figures(run):
    done = run("models")
    (line,) = [line for line in done.stdout.splitlines() if "80k_cityscapes-769x769" in line and "r50" in line]
    assert "769x769" in line
    assert "79.29" in line
    assert "81.08" in line


def test_doctor_refuses_an_unknown_backend_in_the_environment(run, monkeypatch):
    monkeypatch.setenv("CCNET_ATTENTION", "torhc")
    done = run("doctor")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Did you mean 'torch'" in done.stderr


def test_doctor_lists_versions_and_backends(run):
    done = run("doctor")
    assert done.returncode == 0
    assert f"ccnet-core {ccnet.__version__}" in done.stdout
    assert f"  torch {torch.__version__} (interface 1): usable\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "{photo}", "--model", "nowhere"], "nowhere: there is no such folder"),
        (["predict", "missing.png", "--model", "{weights}"], "missing.png: there is no such file"),
        (["convert", "{photo}", "--model", "ccnet_tiny", "--out", "out"], "photo.png: is no checkpoint"),
        (["convert", "{photo}", "--model", "ccnet_tinny", "--out", "out"], "Did you mean 'ccnet_tiny'"),
        (
            ["convert", "{checkpoint}", "--model", "ccnet_tiny", "--out", "{photo}/out"],
            "photo.png/out: cannot be written",
        ),
        (["convert", "{checkpoint}", "--model", "ccnet_small", "--out", "out"], "Its backbone is that of ccnet_tiny."),
        (["predict", "{weights}/config.json", "--model", "{weights}"], "config.json: not a picture"),
        (["predict", "{photo}", "--model", "{weights}", "--backend", "torhc"], "Did you mean 'torch'"),
        (["predict", "{photo}", "--model", "{weights}", "--device", "mps:7"], "no device 'mps:7' here, only cpu"),
        (["attend", "{photo}", "--model", "{weights}", "--point", "1,1", "--device", "gpu"], "no device 'gpu' here"),
        (["predict", "{photo}", "--model", "{weights}", "--mode", "slide"], "mode 'slide' needs crop"),
        (["predict", "{photo}", "--model", "{weights}", "--crop", "8,8"], "crop and stride belong to mode='slide'"),
        (["predict", "{photo}", "--model", "{weights}", "--resize", "plan"], "resize='plan' needs base_scale"),
        (["attend", "{photo}", "--model", "{weights}", "--point", "99,0"], "99,0 is outside the picture of 51x37"),
        (
            ["predict", "{photo}", "--model", "{weights}", "--out", "{photo}/x"],
            "photo_overlay.png: cannot be written",
        ),
        (["predict", "{photo}", "a/photo.jpg", "--model", "{weights}"], "would write the same files"),
        (["attend", "{photo}", "--model", "{weights}", "--point", "1,1", "--out", "."], "this is a folder"),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(run, weights, checkpoint, photo, arguments, message):
    done = run(*(argument.format(photo=photo, weights=weights, checkpoint=checkpoint) for argument in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["attend", "a.png", "--model", "m", "--point", "ten"],
            "expected two whole numbers with a comma between, got 'ten'",
        ),
        (["predikt"], "invalid choice"),
        (["predict", "a.png", "--model", "m", "--crop", "512"], "expected two whole numbers with a comma between"),
        (["predict", "a.png", "--model", "m", "--mode", "tile"], "invalid choice: 'tile'"),
        ([], "COMMAND"),
    ],
)
def test_wrong_usage_is_explained_with_exit_code_2(run, arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_process_ends_with_the_code_and_without_a_traceback(photo):
    command = [sys.executable, "-m", "ccnet_core", "predict", str(photo), "--model", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: nowhere: there is no such folder")


def test_convert_writes_a_weights_folder_and_says_what_it_did(run, tiny, mmseg_state, tmp_path):
    torch.save({"state_dict": mmseg_state(tiny)}, tmp_path / "file.pth")
    done = run("convert", tmp_path / "file.pth", "--model", "ccnet_tiny", "--out", tmp_path / "out")
    said = f"{tmp_path}/file.pth -> {tmp_path}/out: 63 tensors (layout mmseg), "
    said += "4 classes (ccnet_tiny has 19; its inference plan stays)\n"
    assert (done.returncode, done.stdout) == (0, said)
    model = ccnet.CCNet.from_pretrained(tmp_path / "out")
    assert torch.equal(model.head.fuse.conv.weight, tiny.head.fuse.conv.weight)


def test_convert_replaces_a_folder_only_when_asked(run, tiny, weights, tmp_path):
    torch.save(tiny.backbone.state_dict(), tmp_path / "file.pth")
    before = (weights / "model.safetensors").read_bytes()
    command = ["convert", tmp_path / "file.pth", "--model", "ccnet_tiny", "--out", weights]
    done = run(*command)
    said = f"error: {weights}: this folder is not empty. Give a new one, or --overwrite.\n"
    assert (done.returncode, done.stderr) == (2, said)
    assert (weights / "model.safetensors").read_bytes() == before
    assert run(*command, "--overwrite").returncode == 0
    assert ccnet.CCNet.from_pretrained(weights).config.num_classes == 19


def test_convert_says_what_it_left_out(run, tiny, tmp_path):
    torch.save({**tiny.backbone.state_dict(), "fc.weight": torch.zeros(3, 64)}, tmp_path / "file.pth")
    done = run("convert", tmp_path / "file.pth", "--model", "ccnet_tiny", "--out", tmp_path / "out")
    assert "36 tensors (layout mmseg-backbone), 1 dropped (the ImageNet classifier), 19 classes" in done.stdout


def test_reader_that_stops_early_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m ccnet_core models | head -1", shell=True, capture_output=True, text=True
    )
    assert done.stderr == ""


@pytest.mark.parametrize("message", ["can't allocate memory: you tried to allocate 9 bytes", "CUDA out of memory."])
def test_picture_too_large_for_the_memory_is_one_line(run, weights, photo, monkeypatch, message):
    monkeypatch.setattr(cli, "predict", raiser(RuntimeError(message)))
    done = run("predict", photo, "--model", weights)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "not enough memory" in done.stderr


def test_fault_of_the_program_keeps_its_traceback(run, weights, photo, monkeypatch):
    monkeypatch.setattr(cli, "predict", raiser(RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run("predict", photo, "--model", weights)


def raiser(error):
    def fail(*_arguments, **_options):
        raise error

    return fail
