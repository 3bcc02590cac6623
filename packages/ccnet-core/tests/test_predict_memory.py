"""How much memory `predict` needs for itself, measured in a process of its own.

A stand-in for the network that takes next to nothing leaves only what predict holds.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to measure peak memory")

MB = 10**6

PROGRAM = """
import re, sys
from pathlib import Path
import torch
import torch.nn.functional as F
import ccnet_core as ccnet
from ccnet_core.model import CCNetOutput
from ccnet_core.resize import resize_bytes

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

def random_logits(image, auxiliary):
    size = [-(-edge // 8) for edge in image.shape[2:]]
    return CCNetOutput(torch.rand(len(image), model.config.num_classes, *size), None)

torch.set_num_threads(1)
classes, height, width = map(int, sys.argv[1:4])
model = ccnet.CCNet.from_config("ccnet_small", num_classes=classes, recurrence=0)
picture = torch.zeros(3, height, width, dtype=torch.uint8).random_()
ccnet.predict(model, picture[:, :64, :64])
{prepare}
before = peak()
{work}
print(peak() - before)
"""

SIX_SCALES = "scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True"
WINDOWS = "mode='slide', crop=(769, 769), stride=(513, 513)"


def memory_of(work, classes, height, width, prepare="model.forward = random_logits"):
    program = PROGRAM.format(prepare=prepare, work=work)
    command = [sys.executable, "-c", program, str(classes), str(height), str(width)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MALLOC_ARENA_MAX": "1"})
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def full(classes, height, width):
    """What the scores of all classes at the picture's size would take."""
    return classes * height * width * 4


def test_whole_picture_needs_its_small_logits_and_100_mb():
    size = (150, 1024, 2048)
    assert memory_of("ccnet.predict(model, picture)", *size) < full(*size) / 64 + 100 * MB < full(*size) / 8


def test_scales_and_mirror_images_need_the_small_logits_of_all_views_and_100_mb():
    size, options = (150, 512, 1024), "scales=(0.5, 1.0, 1.75), flip=True"
    small = 2 * (0.5**2 + 1 + 1.75**2) / 64
    assert memory_of(f"ccnet.predict(model, picture, {options})", *size) < small * full(*size) + 100 * MB
    assert small * full(*size) + 100 * MB < full(*size) / 2


@pytest.mark.slow
def test_six_scales_and_mirror_images_need_a_quarter_of_the_full_scores_and_100_mb():
    size = (150, 1024, 2048)
    largest_view = 3 * 1792 * 3584  # the network's input, there twice while it is mirrored
    needed = memory_of(f"ccnet.predict(model, picture, {SIX_SCALES})", *size)
    assert needed < 0.28 * full(*size) + 2 * largest_view + 100 * MB


def test_sliding_windows_need_their_labels_and_100_mb_however_large_the_picture_is():
    size = (4, 8192, 8192)
    assert memory_of(f"ccnet.predict(model, picture, {WINDOWS})", *size) < 8192 * 8192 + 100 * MB < full(*size) / 6


@pytest.mark.parametrize("size", [(20, 8192, 8192), (150, 2, 2)])
def test_a_fit_needs_its_labels_and_100_mb_however_large_the_picture_is(size):
    needed = memory_of("ccnet.predict(model, picture, mode='fit', crop=(1024, 1024))", *size)
    assert needed < size[1] * size[2] + 100 * MB


def test_a_small_picture_fitted_to_a_large_base_scale_is_as_cheap():
    size = (150, 50, 100)
    plan = "ccnet.InferencePlan(base_scale=(2048, 1024), resize='plan')"
    needed = memory_of(f"ccnet.predict(model, picture, plan={plan})", *size)
    assert needed < full(150, 1024, 2048) / 64 + 100 * MB


def test_resizing_a_large_picture_needs_the_result_and_100_mb():
    needed = memory_of("resize_bytes(picture[None], (4096, 4096))", 2, 8192, 8192)
    assert needed < 3 * 4096 * 4096 + 100 * MB


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "options"), [((150, 1024, 2048), SIX_SCALES), ((19, 8192, 8192), WINDOWS), ((150, 1024, 2048), "")]
)
def test_with_a_network_no_more_is_added(size, options):
    """Beyond what the network takes for its largest view or window."""
    view = "3, 769, 769" if options == WINDOWS else "3, 1792, 3584" if options else "3, 1024, 2048"
    alone = f"with torch.inference_mode(): model.eval()(torch.zeros(1, {view}), auxiliary=False)"
    needed = memory_of(f"ccnet.predict(model, picture, {options})", *size, prepare=alone)
    assert needed < (8192 * 8192 if options == WINDOWS else 0.28 * full(*size)) + 256 * MB
