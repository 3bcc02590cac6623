import dataclasses

import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core import render
from ccnet_core.commands import predict as command
from ccnet_core.config import TTA_SCALES

WINDOWS = {"mode": "slide", "crop": (16, 24), "stride": (11, 16)}


def test_predict_writes_an_overlay_and_labels(run, tiny, weights, photo, picture, pixels, tmp_path):
    done = run("predict", photo, "--model", weights, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    labels = pixels(tmp_path / "out" / "photo_labels.png")
    np.testing.assert_array_equal(labels, ccnet.predict(tiny, picture).labels)
    overlay = render.overlay(picture, labels, tiny.config.palette)
    np.testing.assert_array_equal(pixels(tmp_path / "out" / "photo_overlay.png"), overlay)


def test_predict_averages_views_on_request(run, tiny, weights, photo, picture, pixels, tmp_path):
    assert run("predict", photo, "--model", weights, "--out", tmp_path, "--tta").returncode == 0
    expected = ccnet.predict(tiny, picture, scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True).labels
    np.testing.assert_array_equal(pixels(tmp_path / "photo_labels.png"), expected)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--mode", "slide", "--crop", "16,24", "--stride", "11,16"], WINDOWS),
        (["--mode", "slide", "--crop", "16,24", "--stride", "11,16", "--resize", "plan"], WINDOWS | {"resize": "plan"}),
        (["--resize", "plan", "--tta"], {"resize": "plan", "scales": TTA_SCALES, "flip": True}),
        (["--device", "cpu"], {}),
    ],
)
def test_predict_carries_out_the_plan_of_its_options(
    run, tiny, photo, picture, pixels, tmp_path, monkeypatch, arguments, options
):
    asked = []
    monkeypatch.setattr(command, "predict", lambda *given, **plan: asked.append(plan) or ccnet.predict(*given, **plan))
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


@pytest.mark.parametrize("message", ["can't allocate memory: you tried to allocate 9 bytes", "CUDA out of memory."])
def test_picture_too_large_for_the_memory_is_one_line(run, weights, photo, monkeypatch, message):
    monkeypatch.setattr(command, "predict", raiser(RuntimeError(message)))
    done = run("predict", photo, "--model", weights)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "not enough memory" in done.stderr


def test_fault_of_the_program_keeps_its_traceback(run, weights, photo, monkeypatch):
    monkeypatch.setattr(command, "predict", raiser(RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run("predict", photo, "--model", weights)


def raiser(error):
    def fail(*_arguments, **_options):
        raise error

    return fail
