import numpy as np
import pytest

import ccnet_core as ccnet

WINDOWS = {"crop": (16, 24), "stride": (11, 16)}
OPTIONS = ("--crop", "16,24", "--stride", "11,16")


@pytest.fixture
def source(picture, tmp_path):
    np.save(tmp_path / "picture.npy", picture)
    return tmp_path / "picture.npy"


def test_labels_and_overlay_are_written_and_the_memory_is_said(run, tiny, weights, source, picture, tmp_path):
    out, overlay = tmp_path / "labels.npy", tmp_path / "overlay.png"
    done = run("predict-large", source, "--model", weights, "--out", out, "--overlay", overlay, *OPTIONS)
    assert done.returncode == 0
    assert done.stdout == (
        f"{source}: 37 rows of 51 pixels, 9 windows, up to 0.10 GB of memory beside the network\n"
        f"{source} -> {out}, {overlay}\n"
    )
    assert done.stderr == ""  # the bar is for terminals; elsewhere a line every half minute
    expected = ccnet.predict(tiny, picture, mode="slide", **WINDOWS).labels
    np.testing.assert_array_equal(np.load(out), expected)
    assert overlay.is_file()


def test_options_reach_the_function(run, weights, source, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "ccnet_core.commands.predict_large.predict_large", lambda *_arguments, **options: asked.append(options)
    )
    arguments = (*OPTIONS, "--flip", "--blend", "linear")
    assert run("predict-large", source, "--model", weights, "--out", tmp_path / "a.npy", *arguments).returncode == 0
    asked[0].pop("progress")
    assert asked == [WINDOWS | {"flip": True, "blend": "linear", "overlay": None}]


@pytest.mark.parametrize(
    ("name", "out", "arguments", "message"),
    [
        ("picture.npy", "labels.npy", (), "Give crop and stride"),
        ("picture.npy", "labels.png", OPTIONS, "labels are written as .tif, .tiff or .npy"),
        ("missing.npy", "labels.npy", OPTIONS, "missing.npy: there is no such file"),
    ],
)
def test_mistake_is_one_line(run, weights, source, tmp_path, name, out, arguments, message):
    files = (source.with_name(name), "--out", tmp_path / out)
    done = run("predict-large", *files, "--model", weights, *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert message in done.stderr.splitlines()[-1]
    assert not (tmp_path / out).exists()
