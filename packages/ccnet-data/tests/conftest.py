"""Files for the tests to read: pictures, label maps, folders, and the place of the CamVid data."""

import struct
import zlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from importlib.util import module_from_spec, spec_from_file_location
from io import BytesIO
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import ccnet_data

SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def encode(array: np.ndarray, file_format: str = "PNG", **options: object) -> bytes:
    stream = BytesIO()
    Image.fromarray(array).save(stream, format=file_format, **options)
    return stream.getvalue()


def write_png(
    width: int,
    height: int,
    depth: int,
    colour_type: int,
    rows: list[bytes],
    interlace: int = 0,
    chunks: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlace)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    body = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in body
    )


@pytest.fixture
def png() -> Callable[..., bytes]:
    """Encodes an array as PNG, or as `file_format`."""
    return encode


@pytest.fixture
def raw_png() -> Callable[..., bytes]:
    """Builds a PNG of any header and chunks, which Pillow cannot write, from packed rows."""
    return write_png


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Writes an array as a picture at a place below tmp_path, and returns the place."""

    def save_picture(place: str, array: np.ndarray) -> Path:
        file = tmp_path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(file)
        return file

    return save_picture


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes pairs of a 4x6 picture and label, both filled with their number, below images/ and labels/."""

    def make(stems: list[str], split: str = "", suffix: str = ".png") -> Path:
        for number, stem in enumerate(stems):
            for kind, array, ending in (
                ("images", np.full((4, 6, 3), number, np.uint8), suffix),
                ("labels", np.full((4, 6), number, np.uint8), ".png"),
            ):
                file = tmp_path / kind / split / f"{stem}{ending}"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(file)
        return tmp_path

    return make


@pytest.fixture(scope="session")
def serve_hub() -> Callable[[Path], AbstractContextManager[str]]:
    """Serves the folders in a folder as the datasets of a Hub, on the loopback interface; see hub_server.py."""
    return module_beside("hub_server").serve


@pytest.fixture(scope="session")
def beacon_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 47 beacon pictures in 12 shards of 4 pictures (the last has 3): train, and 1 shard of 5: val."""
    from ccnet_data.shards.columns import Columns
    from ccnet_data.shards.manifest import Manifest, shard_name, write_manifest
    from ccnet_data.shards.write import write_shard

    folder, splits = tmp_path_factory.mktemp("beacon-shards"), {}
    for split, length, rows in (("train", 47, 4), ("val", 5, 5)):
        dataset = ccnet_data.load("beacon", split=split, length=length, size=48)
        columns = Columns(encoding="png", task=dataset.task, classes=len(dataset.classes))
        firsts = range(0, length, rows)
        splits[split] = tuple(
            write_shard(
                (dataset[index] for index in range(first, min(first + rows, length))),
                columns,
                folder / shard_name(split, number, len(firsts)),
            )
            for number, first in enumerate(firsts)
        )
    facts = {"task": dataset.task, "classes": dataset.classes, "palette": dataset.palette, "flip_pairs": ()}
    write_manifest(Manifest(dataset="beacon", encoding="png", quality=None, splits=splits, **facts), folder)
    return folder


@pytest.fixture(scope="session")
def serve_faulty() -> Callable[[Path], AbstractContextManager]:
    """Serves the files of a folder, with faults, on the loopback interface; see faulty_server.py."""
    return module_beside("faulty_server").serve


def module_beside(name: str) -> ModuleType:
    specification = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert specification is not None
    assert specification.loader is not None
    module = module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def arrow_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Points the cache of Hugging Face datasets at a folder of the test."""
    import datasets

    cache = tmp_path / "arrow-cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    return cache


@pytest.fixture
def camvid() -> Path:
    """The folder with train.parquet, val.parquet and segments.json of CamVid at 480x360; tests skip without it."""
    folder = SHARED_DATA / "camvid"
    if not (folder / "segments.json").is_file():
        pytest.skip(f"CamVid is not redistributable and not at {folder}")
    return folder


@pytest.fixture
def camvid_mini() -> Path:
    """The folder with train.parquet and val.parquet of CamVid at 240x180; tests skip without it."""
    folder = SHARED_DATA / "camvid-mini"
    if not (folder / "train.parquet").is_file():
        pytest.skip(f"CamVid is not redistributable and not at {folder}")
    return folder


@pytest.fixture
def camvid_classes() -> list[str]:
    return [
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign_symbol",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ]
