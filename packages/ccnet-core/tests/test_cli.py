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
        (["predict", "{weights}/config.json", "--model", "{weights}"], "config.json: not a picture"),
        (["predict", "{photo}", "--model", "{weights}", "--backend", "torhc"], "Did you mean 'torch'"),
        (["attend", "{photo}", "--model", "{weights}", "--point", "99,0"], "99,0 is outside the picture of 51x37"),
        (
            ["predict", "{photo}", "--model", "{weights}", "--out", "{photo}/x"],
            "photo_overlay.png: cannot be written",
        ),
        (["predict", "{photo}", "a/photo.jpg", "--model", "{weights}"], "would write the same files"),
        (["attend", "{photo}", "--model", "{weights}", "--point", "1,1", "--out", "."], "this is a folder"),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(run, weights, photo, arguments, message):
    done = run(*(argument.format(photo=photo, weights=weights) for argument in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["attend", "a.png", "--model", "m", "--point", "ten"], "expected X,Y with two whole numbers, got 'ten'"),
        (["predikt"], "invalid choice"),
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
