import dataclasses

import pytest

import ccnet_core as ccnet
from ccnet_core import render


def test_attend_draws_both_steps(run, weights, photo, pixels, tmp_path):
    done = run("attend", photo, "--model", weights, "--point", "10,20", "--out", tmp_path / "a.png")
    assert (done.returncode, done.stderr) == (0, "")
    height, width, _ = pixels(tmp_path / "a.png").shape
    assert width > 3 * height


def test_each_point_gets_a_row(run, weights, photo, pixels, tmp_path):
    for name, points in (("one", ["0,0"]), ("two", ["50,36"]), ("both", ["0,0", "50,36"])):
        words = [word for point in points for word in ("--point", point)]
        assert run("attend", photo, "--model", weights, *words, "--out", tmp_path / f"{name}.png").returncode == 0
    one, two, both = (pixels(tmp_path / f"{name}.png") for name in ("one", "two", "both"))
    assert (both == render.stack([one, two])).all()


def test_a_model_that_fits_pictures_is_drawn_on_the_crop(run, tiny, photo, pixels, tmp_path):
    plan = ccnet.InferencePlan(mode="fit", crop=(300, 260))
    tiny.config = dataclasses.replace(tiny.config, inference=plan)
    tiny.save_pretrained(tmp_path / "fit")
    done = run("attend", photo, "--model", tmp_path / "fit", "--point", "50,36", "--out", tmp_path / "a.png")
    assert (done.returncode, done.stderr) == (0, "")
    drawn = pixels(tmp_path / "a.png")
    assert drawn.shape[0] > 300
    assert (drawn[-20:, :260] == 0).all()  # black below a picture that is wider than high


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--point", "51,0"], "error: The point 51,0 is outside the picture of 51x37 pixels (x,y from 0).\n"),
        (["--point=-1,0"], "error: The point -1,0 is outside the picture of 51x37 pixels (x,y from 0).\n"),
        (["--point", "5"], "expected two whole numbers with a comma between, got '5'\n"),
        ([], "the following arguments are required: --point\n"),
    ],
)
def test_mistakes_are_one_line(run, weights, photo, tmp_path, arguments, says):
    done = run("attend", photo, "--model", weights, *arguments, "--out", tmp_path / "a.png")
    assert done.returncode == 2
    assert done.stderr.endswith(says)
    assert not (tmp_path / "a.png").exists()


def test_a_network_without_attention_is_one_line(run, photo, tmp_path):
    ccnet.CCNet.from_config("ccnet_tiny", recurrence=0).save_pretrained(tmp_path / "none")
    done = run("attend", photo, "--model", tmp_path / "none", "--point", "0,0")
    assert (done.returncode, done.stderr) == (2, "error: This network has no attention steps (recurrence 0).\n")
