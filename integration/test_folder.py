"""A user's own pictures: a folder and a recipe file."""

import numpy as np
import pytest
from PIL import Image

import ccnet_core as ccnet

RECIPE = """
recipe_version: 1
name: mine
output: run
model: {name: ccnet_tiny}
data: {name: folder}
augment: {crop: [32, 48], ratio: [0.5, 2.0], flip: 0.5, photometric: true}
train: {iterations: 2, images_per_step: 2}
optimiser: {name: adamw, lr: 1e-3}
evaluate: {every: 2}
checkpoint: {every: 2}
"""


@pytest.fixture
def pictures(tmp_path):
    """Four training and four validation pictures: sky above, ground below."""
    rng = np.random.default_rng(0)
    root = tmp_path / "pictures"
    label = np.zeros((40, 60), np.uint8)
    label[20:] = 1
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for index in range(4):
            picture = np.where(label[..., None] == 1, 60, 200) + rng.integers(-20, 20, (40, 60, 3))
            Image.fromarray(picture.astype(np.uint8)).save(root / "images" / split / f"{index}.png")
            Image.fromarray(label).save(root / "labels" / split / f"{index}.png")
    (root / "classes.txt").write_text("sky\nground\n")
    (tmp_path / "mine.yaml").write_text(RECIPE)
    return root


def test_folder_becomes_weights_that_predict(run, pictures, tmp_path):
    done = run("-m", "ccnet_train", "fit", "mine.yaml", f"data.root={pictures}")
    assert done.returncode == 0, done.stderr
    model = ccnet.CCNet.from_pretrained(tmp_path / "run" / "best")
    assert model.config.classes == ("sky", "ground")
    assert ccnet.predict(model, pictures / "images" / "val" / "0.png").labels.shape == (40, 60)


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_picture_is_one_line_that_names_it(run, pictures, workers):
    for index in range(4):
        (pictures / "images" / "train" / f"{index}.png").write_bytes(b"these are words")
    done = run("-m", "ccnet_train", "fit", "mine.yaml", f"data.root={pictures}", f"data.workers={workers}")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "images/train/" in line
    assert "not a readable picture" in line
    assert "Traceback" not in done.stderr
