import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

import ccnet_core as ccnet
from ccnet_core import render
from ccnet_core.config import TTA_SCALES

WINDOWS = {"mode": "slide", "crop": (16, 24), "stride": (11, 16)}
MANY = sys.modules["ccnet_core.predict_many"]


def test_predict_writes_an_overlay_and_labels(run, tiny, weights, photo, picture, pixels, tmp_path):
    done = run("predict", photo, "--model", weights, "--out", tmp_path / "out")
    written = f"{tmp_path}/out/photo_overlay.png, {tmp_path}/out/photo_labels.png"
    assert dataclasses.astuple(done) == (0, f"{photo} -> {written}: 1 written\n", "")
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
        (["--mode", "fit", "--crop", "16,24"], {"mode": "fit", "crop": (16, 24)}),
        (["--mode", "slide", "--crop", "16,24", "--stride", "11,16", "--resize", "plan"], WINDOWS | {"resize": "plan"}),
        (["--resize", "plan", "--tta"], {"resize": "plan", "scales": TTA_SCALES, "flip": True}),
        (["--device", "cpu"], {}),
    ],
)
def test_predict_carries_out_the_plan_of_its_options(
    run, tiny, photo, picture, pixels, tmp_path, monkeypatch, arguments, options
):
    asked, make_plan = [], MANY.make_plan
    monkeypatch.setattr(MANY, "make_plan", lambda model, **plan: asked.append(plan) or make_plan(model, **plan))
    plan = ccnet.InferencePlan(base_scale=(64, 48))
    tiny.config = dataclasses.replace(tiny.config, inference=plan)
    tiny.save_pretrained(tmp_path / "weights")
    done = run("predict", photo, "--model", tmp_path / "weights", "--out", tmp_path, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert [{name: value for name, value in plan.items() if value is not None} for plan in asked] == [options]
    np.testing.assert_array_equal(pixels(tmp_path / "photo_labels.png"), ccnet.predict(tiny, picture, **options).labels)


@pytest.mark.parametrize(
    ("arguments", "dtype"),
    [
        (["--fast"], torch.float32),
        (["--dtype", "bfloat16"], torch.bfloat16),
        (["--fast", "--dtype", "float32"], torch.float32),
    ],
)
def test_predict_fast_takes_a_twin_and_tells_how_near_it_is(
    run, tiny, weights, photo, picture, pixels, tmp_path, arguments, dtype
):
    done = run("predict", photo, "--model", weights, "--out", tmp_path, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    near = tiny.optimized(dtype=dtype).agreement
    told = f"optimized: logits within {near.logits:.1e} of the largest, {near.labels:.2%} of labels the same\n"
    assert done.stdout.startswith(told)
    expected = ccnet.predict(tiny.optimized(dtype=dtype), picture).labels
    np.testing.assert_array_equal(pixels(tmp_path / "photo_labels.png"), expected)


def test_predict_compiles_the_twin_on_request(run, tiny, weights, photo, tmp_path, monkeypatch):
    asked, twin = [], tiny.optimized()
    monkeypatch.setattr(ccnet.CCNet, "optimized", lambda model, **options: asked.append(options) or twin)
    assert run("predict", photo, "--model", weights, "--out", tmp_path, "--compile").returncode == 0
    assert asked == [{"dtype": torch.float32, "compile": True}]


def test_predict_uses_the_device_that_auto_finds(run, weights, photo, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("ccnet_core.pretrained.find_device", lambda name: asked.append(name) or torch.device("cpu"))
    assert run("predict", photo, "--model", weights, "--out", tmp_path).returncode == 0
    assert asked == ["auto"]


@pytest.mark.parametrize("message", ["can't allocate memory: you tried to allocate 9 bytes", "CUDA out of memory."])
def test_picture_too_large_for_the_memory_is_one_line(run, weights, photo, monkeypatch, message):
    monkeypatch.setattr(MANY, "predict_batch", raiser(RuntimeError(message)))
    done = run("predict", photo, "--model", weights)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "not enough memory" in done.stderr


def test_fault_of_the_program_keeps_its_traceback(run, weights, photo, monkeypatch):
    monkeypatch.setattr(MANY, "predict_batch", raiser(RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run("predict", photo, "--model", weights)


@pytest.fixture
def folder(tmp_path):
    """A folder of three pictures, two of them of one name."""
    generator = np.random.default_rng(0)
    for path in ("a.png", "sub/a.png", "sub/b.png"):
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(tmp_path / "in" / path)
    return tmp_path / "in"


def results(out):
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def test_predict_keeps_the_paths_of_a_folder(run, weights, folder, tmp_path):
    done = run("predict", folder, "--model", weights, "--out", tmp_path / "out", "--save", "labels")
    assert dataclasses.astuple(done) == (0, f"3 pictures -> {tmp_path}/out/NAME_labels.png: 3 written\n", "")
    assert results(tmp_path / "out") == ["a_labels.png", "sub/a_labels.png", "sub/b_labels.png"]


def test_predict_reads_a_list_from_stdin(run, weights, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", [f"{folder}/a.png\n", f"{folder}/sub/b.png\n"])
    assert run("predict", "-", "--model", weights, "--out", tmp_path / "out", "--save", "labels").returncode == 0
    assert results(tmp_path / "out") == ["a_labels.png", "b_labels.png"]


def test_predict_writes_what_is_asked_for(run, tiny, weights, photo, picture, pixels, tmp_path):
    done = run("predict", photo, "--model", weights, "--out", tmp_path, "--save", "json,overlay", "--opacity", "1")
    assert (done.returncode, done.stderr) == (0, "")
    labels = ccnet.predict(tiny, picture).labels
    np.testing.assert_array_equal(
        pixels(tmp_path / "photo_overlay.png"), render.colour_labels(labels, tiny.config.palette)
    )
    classes = json.loads((tmp_path / "photo_areas.json").read_text())["classes"]
    assert [entry["pixels"] for entry in classes] == [int((labels == index).sum()) for index in range(4)]
    assert not (tmp_path / "photo_labels.png").exists()


def test_predict_skips_what_is_there_and_makes_it_anew_on_request(run, weights, folder, tmp_path):
    arguments = ("predict", folder, "--model", weights, "--out", tmp_path / "out", "--save", "labels")
    assert run(*arguments).returncode == 0
    (tmp_path / "out" / "sub" / "a_labels.png").write_text("older")
    (tmp_path / "out" / "a_labels.png").unlink()
    done = run(*arguments)
    assert done.stdout.endswith(": 1 written, 2 skipped, as they are there (--overwrite makes them anew)\n")
    assert (tmp_path / "out" / "sub" / "a_labels.png").read_text() == "older"
    assert run(*arguments, "--overwrite").stdout.endswith(": 3 written\n")
    assert (tmp_path / "out" / "sub" / "a_labels.png").read_bytes()[:4] == b"\x89PNG"


def test_predict_computes_pictures_of_one_size_together(run, weights, folder, tmp_path, monkeypatch):
    batches, original = [], MANY.predict_batch
    monkeypatch.setattr(
        MANY, "predict_batch", lambda *given, **more: batches.append(given[1]) or original(*given, **more)
    )
    assert run("predict", folder, "--model", weights, "--out", tmp_path / "out", "--batch", "2").returncode == 0
    assert [len(batch) for batch in batches] == [2, 1]


def zero_size(path):
    path.write_bytes(b"")


def truncated(path):
    path.write_bytes(path.read_bytes()[:-60])


def gigantic(path):
    Image.new("1", (20_000, 20_000)).save(path)


def of_16_bit(path):
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(path)


def no_picture(path):
    path.write_text("a table")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (zero_size, "not a picture that Pillow can read"),
        (truncated, "damaged or unreadable"),
        (gigantic, "more than 89478485 pixels"),
        (of_16_bit, "16 bit or float pixels"),
        (no_picture, "not a picture that Pillow can read"),
    ],
)
def test_predict_tells_of_an_unreadable_file_at_the_end_and_does_the_rest(
    run, weights, folder, tmp_path, spoil, message
):
    spoil(folder / "sub" / "a.png")
    done = run("predict", folder, "--model", weights, "--out", tmp_path / "out", "--save", "labels")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {folder}/sub/a.png: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout.endswith(": 2 written, 1 failed\n")
    assert results(tmp_path / "out") == ["a_labels.png", "sub/b_labels.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.png"], "nowhere.png: there is no such file or folder"),
        (["{folder}/*.jpg"], "*.jpg: no file is called so"),
        (["{folder}", "--out", "{folder}/a.png/out"], "a.png/out: cannot be written"),
        (["{folder}"], "nowhere: there is no such folder"),
    ],
)
def test_predict_refuses_what_it_can_before_it_loads_the_model(run, folder, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = run("predict", *(argument.format(folder=folder) for argument in arguments), "--model", "nowhere")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr


def test_predict_refuses_a_folder_of_results_that_cannot_be_written(run, weights, photo, monkeypatch):
    if not os.access("/proc/self", os.R_OK):
        pytest.skip("needs a folder in which nobody may write, such as /proc/self")
    done = run("predict", photo, "--model", weights, "--out", "/proc/self/results")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot be written" in done.stderr


def test_predict_refuses_a_video_of_which_nothing_can_be_saved(run, weights, tmp_path):
    (tmp_path / "clip.mp4").touch()
    done = run("predict", tmp_path / "clip.mp4", "--model", weights, "--save", "labels,json")
    assert dataclasses.astuple(done) == (
        2,
        "",
        "error: --save: of a video only overlay and side can be saved. Add one of them.\n",
    )


def test_predict_says_how_to_install_what_a_video_needs(run, weights, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "clip.mp4").touch()
    done = run("predict", tmp_path / "clip.mp4", "--model", weights)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert 'python -m pip install "ccnet-core[video]"' in done.stderr


def test_predict_makes_a_video_of_a_video(run, weights, photo, tmp_path):
    av = pytest.importorskip("av", reason="needs the extra `video`")
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(48, 32, "yuv420p")))
        container.mux(stream.encode())
    (tmp_path / "bad.mp4").write_text("no video")
    words = [tmp_path / "clip.mp4", tmp_path / "bad.mp4", photo]
    done = run("predict", *words, "--model", weights, "--out", tmp_path / "out", "--save", "overlay,side,json")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}/bad.mp4: not a video that can be read")
    assert results(tmp_path / "out") == [
        "clip_overlay.mp4",
        "clip_side.mp4",
        "photo_areas.json",
        "photo_overlay.png",
        "photo_side.png",
    ]


@pytest.fixture
def of_clips(enliven, tmp_path):
    """A weights folder of a model of clips, and a video of four frames."""
    av = pytest.importorskip("av", reason="needs the extra `video`")
    model = enliven(ccnet.CCNet.from_config("ccnet_tiny", num_classes=4, frames=3))
    model.save_pretrained(tmp_path / "of_clips")
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame(48, 32, "yuv420p")))
        container.mux(stream.encode())
    return tmp_path / "of_clips", tmp_path / "clip.mp4"


def test_predict_follows_a_video_with_a_model_of_clips_and_says_how_fast(run, of_clips, photo, tmp_path):
    weights, video = of_clips
    done = run("predict", video, photo, "--model", weights, "--out", tmp_path / "out")
    assert done.returncode == 0
    assert re.search(
        rf"{video}: 4 frames in \d+\.\d s, \d+\.\d frames per second, at most \d+\.\d\d GiB held\n", done.stdout
    )
    assert results(tmp_path / "out") == ["clip_overlay.mp4", "photo_labels.png", "photo_overlay.png"]


@pytest.mark.parametrize(
    ("option", "message"), [("--tta", "whole, each in one view"), ("--fast", "there is no twin of a model of clips")]
)
def test_predict_refuses_what_a_model_of_clips_cannot_do(run, of_clips, tmp_path, option, message):
    weights, video = of_clips
    done = run("predict", video, "--model", weights, "--out", tmp_path / "out", option)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list((tmp_path / "out").glob("*"))


def test_ctrl_c_is_one_line_and_the_same_command_continues(run, weights, folder, tmp_path, monkeypatch):
    arguments = ("predict", folder, "--model", weights, "--out", tmp_path / "out", "--save", "labels", "--batch", "1")
    with monkeypatch.context() as patched:
        batches, original = [], MANY.predict_batch

        def interrupted(*given, **options):
            batches.append(given)
            if len(batches) == 3:
                raise KeyboardInterrupt
            return original(*given, **options)

        patched.setattr(MANY, "predict_batch", interrupted)
        done = run(*arguments)
    assert dataclasses.astuple(done) == (130, "", "\nstopped: 2 of 3 are done and whole. The same command continues.\n")
    assert run(*arguments).stdout.endswith(": 1 written, 2 skipped, as they are there (--overwrite makes them anew)\n")


def test_ctrl_c_in_a_terminal_leaves_whole_files_only(weights, photo, tmp_path, pixels):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for index in range(400):
        os.link(photo, folder / f"{index:03}.png")
    words = [sys.executable, "-m", "ccnet_core", "predict", folder, "--model", weights, "--out", out]
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(out.glob("*_labels.png")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "are done and whole. The same command continues." in said
    assert "Traceback" not in said
    assert all(path.suffix == ".png" and pixels(path).shape[:2] == (37, 51) for path in out.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--save", "overlay,mask"], "'mask' is none of overlay, labels, json, side"),
        (["--opacity", "2"], "expected a number from 0 to 1, got '2'"),
        (["--opacity", "half"], "expected a number from 0 to 1, got 'half'"),
        (["--batch", "0"], "expected a whole number from 1, got '0'"),
        (["--batch", "many"], "expected a whole number from 1, got 'many'"),
    ],
)
def test_predict_explains_its_options(run, arguments, message):
    done = run("predict", "a.png", "--model", "m", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def raiser(error):
    def fail(*_arguments, **_options):
        raise error

    return fail
