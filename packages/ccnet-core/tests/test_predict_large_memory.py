"""How much memory `predict_large` needs for itself, measured in a process of its own, beside what it says.

A stand-in for the network that takes next to nothing leaves only what `predict_large` holds.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to measure peak memory")

PROGRAM = """
import re, sys
from pathlib import Path
import numpy as np
import torch
import ccnet_core as ccnet
from ccnet_core.model import CCNetOutput

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

def random_logits(image, auxiliary):
    size = [-(-edge // 8) for edge in image.shape[2:]]
    return CCNetOutput(torch.rand(len(image), model.config.num_classes, *size), None)

torch.set_num_threads(1)
picture, options = Path(sys.argv[1]), dict(crop=(512, 512), stride=(341, 341), {options})
model = ccnet.CCNet.from_config("ccnet_small", num_classes=int(sys.argv[2]), recurrence=0).eval()
np.save(picture.with_name("small.npy"), np.zeros((64, 64, 3), np.uint8))
for ending in ("npy", "tif"):
    small = picture.with_name("small." + ending)
    ccnet.predict_large(model, picture.with_name("small.npy"), picture.with_name("labels." + ending), **options)
{prepare}
estimate = ccnet.estimate_large(model, picture, **options)
before = peak()
overlay = picture.with_name("overlay.png")
ccnet.predict_large(model, picture, picture.with_name("labels.tif"), overlay=overlay, **options)
print(peak() - before, estimate.memory)
"""


def write(folder, form, height, width):
    """Write a picture of repeated tiles without ever holding it."""
    tile = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    if form == ".npy":
        with (folder / "picture.npy").open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (height, width, 3)}
            np.lib.format.write_array_header_2_0(file, header)
            row = np.resize(tile, width * 3).tobytes()
            for _ in range(height):
                file.write(row)
        return folder / "picture.npy"
    tiles = (tile for _ in range(-(-height // 256) * -(-width // 256)))
    options = {"tile": (256, 256), "compression": form, "photometric": "rgb", "maxworkers": 1}
    tifffile.imwrite(folder / "picture.tif", tiles, shape=(height, width, 3), dtype="u1", **options)
    return folder / "picture.tif"


def memory_of(folder, form, classes, height, width, options="", prepare="model.forward = random_logits"):
    """Return the bytes that were held, and those that `estimate_large` says."""
    program = PROGRAM.format(options=options, prepare=prepare)
    command = [sys.executable, "-c", program, str(write(folder, form, height, width)), str(classes)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MALLOC_ARENA_MAX": "1"})
    assert done.returncode == 0, done.stderr
    held, bound = map(int, done.stdout.split())
    return held, bound


@pytest.mark.parametrize("form", [".npy", "zlib"])
def test_tall_picture_stays_below_the_bound_which_is_below_the_picture(tmp_path, form):
    height, width = 42_000, 1_024
    held, bound = memory_of(tmp_path, form, 2, height, width)
    assert held < bound < 3 * height * width


def test_wide_picture_stays_below_the_bound(tmp_path):
    """Of a row of windows everything is held: pixels, logits, scores."""
    held, bound = memory_of(tmp_path, "zlib", 19, 1_100, 20_000)
    assert held < bound < 4 * 19 * 1_100 * 20_000 / 4


def test_mirror_image_stays_below_the_bound(tmp_path):
    held, bound = memory_of(tmp_path, "zlib", 19, 600, 20_000, "flip=True")
    assert held < bound


@pytest.mark.slow
def test_with_a_network_no_more_is_added(tmp_path):
    """Beyond what the network takes for a window."""
    alone = "with torch.inference_mode(): model(torch.zeros(1, 3, 512, 512), auxiliary=False)"
    held, bound = memory_of(tmp_path, "jpeg", 2, 42_000, 1_024, prepare=alone)
    assert held < bound < 3 * 42_000 * 1_024
