"""Labels of pictures in files: the same as in memory, whatever the file, and no half of one after an error."""

import dataclasses
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core import render

large = sys.modules["ccnet_core.predict_large"]  # the function hides its module

WINDOWS = {"crop": (16, 24), "stride": (11, 16)}
SLIDE = {"mode": "slide"} | WINDOWS


def draw(size):
    """Blocks of colour, so that a network sees different things in different places."""
    blocks = np.random.default_rng(1).integers(0, 256, (size[0] // 9 + 1, size[1] // 9 + 1, 3), dtype=np.uint8)
    return blocks.repeat(9, 0).repeat(9, 1)[: size[0], : size[1]].copy()


@pytest.fixture
def picture():
    return draw((37, 51))


@pytest.fixture
def tiny(tiny, picture):
    """A network that sees every class somewhere."""
    with torch.no_grad():
        logits = tiny(torch.from_numpy(draw((97, 97))).permute(2, 0, 1)[None]).logits
    tiny.head.classify.conv.bias.data -= logits.mean((0, 2, 3))
    assert len(np.unique(ccnet.predict(tiny, picture).labels)) == 4
    return tiny


@pytest.fixture
def source(picture, tmp_path):
    np.save(tmp_path / "picture.npy", picture)
    return tmp_path / "picture.npy"


def labels_of(path):
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r")
    tifffile = pytest.importorskip("tifffile")
    return tifffile.imread(path)


@pytest.mark.parametrize("name", ["labels.npy", "labels.tif"])
@pytest.mark.parametrize(
    ("size", "crop", "stride"),
    [
        ((37, 51), (16, 24), (11, 16)),
        ((37, 51), (16, 24), (16, 24)),
        ((37, 51), (64, 64), (32, 32)),
        ((37, 51), (20, 99), (3, 50)),
        ((300, 523), (97, 97), (65, 65)),
        ((1, 1), (16, 24), (11, 16)),
        ((1, 30), (16, 24), (11, 16)),
    ],
)
def test_labels_are_those_of_the_picture_in_memory(tiny, tmp_path, size, crop, stride, name):
    picture = draw(size)
    np.save(tmp_path / "picture.npy", picture)
    ccnet.predict_large(tiny, tmp_path / "picture.npy", tmp_path / name, crop=crop, stride=stride)
    expected = ccnet.predict(tiny, picture, mode="slide", crop=crop, stride=stride).labels
    labels = labels_of(tmp_path / name)
    assert labels.dtype == expected.dtype
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("pairs", [(), ((0, 2), (3, 1))])
def test_mirror_image_is_averaged_as_in_memory(tiny, picture, source, tmp_path, pairs):
    tiny.config = dataclasses.replace(tiny.config, flip_pairs=pairs)
    ccnet.predict_large(tiny, source, tmp_path / "labels.npy", **WINDOWS, flip=True)
    expected = ccnet.predict(tiny, picture, **SLIDE, flip=True).labels
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), expected)


@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_height_of_the_strips_does_not_change_a_bit(tiny, picture, source, tmp_path, monkeypatch, rows):
    """Wide pictures are computed in higher strips than in memory."""
    monkeypatch.setattr(large, "FEWEST_ROWS", rows)
    monkeypatch.setattr("ccnet_core.resize.STRIP_BYTES", 1)
    ccnet.predict_large(tiny, source, tmp_path / "labels.npy", **WINDOWS)
    monkeypatch.undo()
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), ccnet.predict(tiny, picture, **SLIDE).labels)


def test_crop_and_stride_default_to_the_models_plan(tiny, picture, source, tmp_path):
    plan = ccnet.InferencePlan(mode="slide", **WINDOWS, scales=(0.5,), flip=True)
    tiny.config = dataclasses.replace(tiny.config, inference=plan)
    ccnet.predict_large(tiny, source, tmp_path / "labels.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), ccnet.predict(tiny, picture).labels)


def test_a_model_that_fits_pictures_slides_over_large_ones(tiny, picture, source, tmp_path):
    expected = ccnet.predict(tiny, picture, mode="slide", crop=(16, 24), stride=(10, 16)).labels
    tiny.config = dataclasses.replace(tiny.config, inference=ccnet.InferencePlan(mode="fit", crop=(16, 24)))
    ccnet.predict_large(tiny, source, tmp_path / "labels.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), expected)


@pytest.mark.parametrize("name", ["labels.npy", "labels.tif"])
def test_more_than_256_classes_are_int32(picture, source, tmp_path, name):
    model = ccnet.CCNet.from_config("ccnet_tiny", num_classes=300).eval()
    ccnet.predict_large(model, source, tmp_path / name, **WINDOWS)
    labels = labels_of(tmp_path / name)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, ccnet.predict(model, picture, **SLIDE).labels)


def test_linear_blending_weighs_windows_by_the_distance_from_their_border(tiny, picture, source, tmp_path):
    """Against the obvious definition in float64."""
    ccnet.predict_large(tiny, source, tmp_path / "labels.npy", **WINDOWS, blend="linear")
    expected = linear_scores(tiny.double(), torch.from_numpy(picture).permute(2, 0, 1)[None]).argmax(0)
    labels = np.load(tmp_path / "labels.npy")
    assert (labels == expected.numpy()).mean() > 0.998  # float32 against float64
    assert (labels != ccnet.predict(tiny, picture, **SLIDE).labels).any()


def linear_scores(model, image):
    (height, width), total, weights = image.shape[2:], 0, 0
    for top in (0, 11, 21):
        for left in (0, 16, 27):
            window = image[..., top : top + 16, left : left + 24]
            with torch.no_grad():
                logits = torch.nn.functional.interpolate(model(window).logits, (16, 24), mode="bilinear")[0]
            weight = torch.tensor(
                [[min(y + 0.5, 15.5 - y) / 8 * min(x + 0.5, 23.5 - x) / 12 for x in range(24)] for y in range(16)]
            )
            around = (left, width - left - 24, top, height - top - 16)
            total = total + torch.nn.functional.pad(logits * weight, around)
            weights = weights + torch.nn.functional.pad(weight, around)
    assert (weights > 0).all()
    return total / weights


def test_overlay_shows_every_so_many_pixels(tiny, picture, source, tmp_path, pixels, monkeypatch):
    monkeypatch.setattr("ccnet_core.picture_preview.OVERLAY_EDGE", 26)
    ccnet.predict_large(tiny, source, tmp_path / "labels.npy", **WINDOWS, overlay=tmp_path / "overlay.png")
    labels = np.load(tmp_path / "labels.npy")
    expected = render.overlay(picture[::2, ::2], labels[::2, ::2], tiny.config.palette)
    np.testing.assert_array_equal(pixels(tmp_path / "overlay.png"), expected)


@pytest.mark.parametrize("flip", [False, True])
def test_progress_counts_windows(tiny, source, tmp_path, flip):
    seen = []
    progress = lambda done, total: seen.append((done, total))  # noqa: E731
    ccnet.predict_large(tiny, source, tmp_path / "labels.npy", **WINDOWS, flip=flip, progress=progress)
    total = 18 if flip else 9
    assert seen == [(done, total) for done in range(1, total + 1)]
    assert ccnet.estimate_large(tiny, source, **WINDOWS, flip=flip).windows == total


def test_model_is_left_as_it_was(tiny, source, tmp_path):
    ccnet.predict_large(tiny.train(), source, tmp_path / "labels.npy", **WINDOWS)
    assert all(module.training for module in tiny.modules())


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


def failing(error):
    def progress(done, total):
        if done == 5:
            raise error

    return progress


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")], ids=["Ctrl-C", "error"])
@pytest.mark.parametrize("name", ["labels.npy", "labels.tif"])
def test_what_is_stopped_leaves_no_file_and_keeps_the_older_one(tiny, source, tmp_path, error, name):
    (tmp_path / name).write_bytes(b"older")
    options = WINDOWS | {"overlay": tmp_path / "overlay.png"}
    with pytest.raises(type(error)):
        ccnet.predict_large(tiny, source, tmp_path / name, **options, progress=failing(error))
    assert left_in(tmp_path) == sorted(["picture.npy", name])
    assert (tmp_path / name).read_bytes() == b"older"


def test_damage_far_down_is_named_and_leaves_no_file(tiny, picture, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tiff = tmp_path / "picture.tif"
    tifffile.imwrite(tiff, picture, tile=(16, 16), compression="zlib", photometric="rgb")
    with tifffile.TiffFile(tiff) as opened:
        offset = opened.pages.first.dataoffsets[9]
    damaged = bytearray(tiff.read_bytes())
    damaged[offset : offset + 40] = bytes(40)
    tiff.write_bytes(damaged)
    with pytest.raises(ccnet.PictureError, match=r"picture\.tif: damaged or unreadable"):
        ccnet.predict_large(tiny, tiff, tmp_path / "labels.tif", **WINDOWS)
    assert left_in(tmp_path) == ["picture.tif"]


KILLED = """
import sys, time, torch, ccnet_core as ccnet
model = ccnet.CCNet.from_config("ccnet_tiny", num_classes=4)
def wait(done, total):
    if done == 5:
        print("half", flush=True)
        time.sleep(100)
ccnet.predict_large(model, sys.argv[1], sys.argv[2], crop=(16, 24), stride=(11, 16), progress=wait)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_killed_process_leaves_nothing_under_the_name(source, tmp_path):
    command = [sys.executable, "-c", KILLED, str(source), str(tmp_path / "labels.npy")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "half\n"
        child.kill()
    assert not (tmp_path / "labels.npy").exists()


def test_picture_cannot_be_its_own_result(tiny, source):
    before = source.read_bytes()
    for options in ({"out": source}, {"out": source.with_name("labels.npy"), "overlay": source}):
        with pytest.raises(ccnet.ConfigError, match=r"picture\.npy: this is the picture itself"):
            ccnet.predict_large(tiny, source, **options, **WINDOWS)
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("out", "options", "error", "message"),
    [
        ("labels.png", WINDOWS, ccnet.ConfigError, r"labels\.png: labels are written as \.tif, \.tiff or \.npy"),
        ("labels.npy", {}, ccnet.ConfigError, "Give crop and stride"),
        ("labels.npy", {"crop": (8, 8), "stride": (9, 8)}, ccnet.ConfigError, "must not be larger than crop"),
        ("labels.npy", WINDOWS | {"blend": "cosine"}, ccnet.ConfigError, "blend must be 'mean' or 'linear', got 'cosi"),
        ("picture.npy/labels.npy", WINDOWS, OSError, r"labels\.npy: cannot be written \("),
        ("folder.npy", WINDOWS, ccnet.CCNetError, "this is a folder"),
        ("labels.npy", WINDOWS | {"overlay": "/proc/overlay.png"}, OSError, r"/proc/overlay\.png: cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_work(tiny, source, tmp_path, out, options, error, message):
    (tmp_path / "folder.npy").mkdir()
    before = left_in(tmp_path)
    tiny.register_forward_hook(lambda *_: pytest.fail("the network ran"))
    with pytest.raises(error, match=message):
        ccnet.predict_large(tiny, source, tmp_path / out, **options)
    assert left_in(tmp_path) == before


def test_picture_that_needs_more_memory_than_there_is_is_refused(tiny, source, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 10_000, "SC_PAGE_SIZE": 4096}.get)
    with pytest.raises(ccnet.ConfigError, match=r"needs 0\.1 GB beside the network, and this machine has 0\.0 GB"):
        ccnet.predict_large(tiny, source, tmp_path / "labels.npy", **WINDOWS)


def test_estimate_knows_that_the_logits_of_parsing_have_the_size_of_stage_1(parsing, source):
    crop = (64, 64)  # larger than the picture, which then is one window
    with torch.no_grad():
        logits = parsing(torch.zeros(1, 3, 37, 51)).logits
    estimate = ccnet.estimate_large(parsing, source, crop=crop, stride=crop)
    beside = 3 * 37 * 51 + 3 * 37 * 51 * 4 * 4 + 256 * 51 + 51 * 3 + 10**8
    assert estimate.memory - beside == logits.numel() * 4


def test_estimate_knows_the_logits_of_a_window(tiny, source):
    """Twice as many numbers, twice the bytes: what is left is what the formula adds beside the logits."""
    with torch.no_grad():
        logits = tiny(torch.zeros(1, 3, 16, 24)).logits
    estimate = ccnet.estimate_large(tiny, source, **WINDOWS)
    beside = 3 * 16 * 51 + 3 * 37 * 51 * 4 * 4 + 256 * 51 + 51 * 3 + 10**8
    assert estimate.memory - beside == 3 * 3 * logits.numel() * 4
    assert ccnet.estimate_large(tiny.double(), source, **WINDOWS).memory - beside == 3 * 3 * logits.numel() * 8
