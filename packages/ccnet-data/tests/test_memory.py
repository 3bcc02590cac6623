"""What opening and reading take of the memory of a process; each measured in one of its own."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from Linux's /proc")  # noqa: PTH110

MEASURE = """
import gc, json, os, sys, time
import ccnet_data

def megabytes(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(key))

root = sys.argv[1]
"""


def measured(root, body):
    """Run `body` after `MEASURE` in a process of its own and return what it assigns to `result`."""
    code = MEASURE + textwrap.dedent(body) + "\nprint(json.dumps(result))\n"
    command = [sys.executable, "-W", "error", "-c", code, str(root)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


OPEN = """
started = time.process_time()
dataset = ccnet_data.load(NAME, split="train", root=root, **OPTIONS)
result = {"count": len(dataset), "last": dataset.pairs[-1].id,
          "seconds": time.process_time() - started, "peak": megabytes("VmHWM")}
"""


def opened(root, name, **options):
    return measured(root, f"NAME, OPTIONS = {name!r}, {options!r}\n" + OPEN)


def touch(folder, names):
    """Create empty files in `folder`, as many as a million."""
    folder.mkdir(parents=True)
    place = os.open(folder, os.O_RDONLY)
    for name in names:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=place))
    os.close(place)


@pytest.fixture(scope="module")
def standing():
    """The megabytes of a process that has only imported what opening imports."""
    return measured("", "result = megabytes('VmHWM')")


def fill(root, count):
    for kind, ending in (("images", "jpg"), ("labels", "png")):
        touch(root / kind, (f"frame_{number:09d}.{ending}" for number in range(count)))


def test_a_folder_of_50_000_files_opens_in_a_twentieth_of_what_a_million_may_take(tmp_path, standing):
    fill(tmp_path, 25_000)
    found = opened(tmp_path, "folder", classes=["one"])
    assert (found["count"], found["last"]) == (25_000, "frame_000024999")
    assert found["peak"] - standing < 150 / 20 + 2
    assert found["seconds"] < 2


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_folder_of_a_million_files_opens_in_200_megabytes_and_seconds():
    # Pytest would keep the folder.
    with TemporaryDirectory() as root:
        fill(Path(root), 500_000)
        found = opened(root, "folder", classes=["one"])
    assert (found["count"], found["last"]) == (500_000, "frame_000499999")
    assert found["peak"] < 200
    assert found["seconds"] < 10


def test_the_index_of_cityscapes_opens_in_200_megabytes_and_3_seconds(tmp_path):
    for city in range(18):
        ids = [f"city{city}_{number:06d}_000019" for number in range(165 if city else 170)]
        touch(tmp_path / "leftImg8bit" / "train" / f"city{city}", (f"{each}_leftImg8bit.png" for each in ids))
        endings = ("labelIds.png", "color.png", "instanceIds.png", "polygons.json")
        touch(tmp_path / "gtFine" / "train" / f"city{city}", (f"{id}_gtFine_{end}" for id in ids for end in endings))
    found = opened(tmp_path, "cityscapes")
    assert found["count"] == 2975
    assert found["peak"] < 200
    assert found["seconds"] < 3


READ = """
dataset = ccnet_data.load("folder", split="train", root=root, classes=["one", "two"], on_error=ON_ERROR)
import logging
logging.disable()

def state():
    gc.collect()
    return [megabytes("VmRSS"), len(os.listdir("/proc/self/fd"))]

def read(count):
    for number in range(count):
        dataset[number % len(dataset)]
    return state()

# Once more than is measured, so that what was freed after importing hides nothing.
before, after = read(4000), read(4000)
result = {"grown": after[0] - before[0], "opened": after[1] - before[1], "replaced": getattr(dataset, "replaced", 0)}
"""


@pytest.mark.parametrize("on_error", ["raise", "replace"])
def test_four_thousand_samples_leak_neither_memory_nor_files(make_folder, on_error):
    root = make_folder([f"{number:02d}" for number in range(40)])
    for number in range(40):
        # Labels of the fixture are the number of their picture.
        (root / "labels" / f"{number:02d}.png").write_bytes((root / "labels" / "01.png").read_bytes())
    if on_error == "replace":
        for number in range(0, 40, 8):
            (root / "images" / f"{number:02d}.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    found = measured(root, f"ON_ERROR = {on_error!r}\n" + READ)
    assert found["grown"] < 5
    assert found["opened"] == 0
    assert (found["replaced"] > 500) == (on_error == "replace")


READ_PICTURE = """
from pathlib import Path
from ccnet_data.pictures import read_picture

small, large = (Path(root, name).read_bytes() for name in ("small.png", "large.png"))
read_picture(small, "small")
before = megabytes("VmHWM")
read_picture(large, "large")
result = (megabytes("VmHWM") - before) * 2**20 / (4000 * 3000)
"""


def test_a_picture_is_read_in_8_bytes_per_pixel(save):
    file = save("large.png", np.zeros((3000, 4000, 3), np.uint8))
    save("small.png", np.zeros((3, 4, 3), np.uint8))
    assert measured(file.parent, READ_PICTURE) < 8
