import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from ccnet_data.errors import DataError
from ccnet_data.registry import load
from ccnet_data.shards.convert import convert
from ccnet_data.shards.manifest import read_manifest
from ccnet_data.shards.plan import Format

SMALL = Format(encoding="raw", shard_size=200_000)
COMMAND = ["convert", "beacon", "length=120", "--encoding", "png", "--shard-size", "100kB"]


def hashes(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def command(out, *more):
    return [sys.executable, "-m", "ccnet_data", *COMMAND, "--out", str(out), *more]


def require_the_same(name, options, out, encodings=("raw", "png", "jpeg")):
    """Convert and fail unless all samples come back: exact, but the pictures of JPEG."""
    for encoding in encodings:
        manifest = convert(name, options, out / encoding, form=Format(encoding=encoding), workers=0).manifest
        for split in manifest.splits:
            got, source = load("shards", split, root=out / encoding), load(name, split, **options)
            assert (got.task, got.classes, got.palette) == (source.task, source.classes, source.palette)
            assert got.flip_pairs == source.flip_pairs
            assert len(got) == len(source)
            for one, other in zip(got, source, strict=True):
                assert one["id"] == other["id"]
                np.testing.assert_array_equal(one["label"], other["label"])
                if encoding == "jpeg":
                    difference = np.abs(one["image"].astype(int) - other["image"])
                    assert difference.max() <= 30
                    assert difference.mean() <= 2
                else:
                    np.testing.assert_array_equal(one["image"], other["image"])


def test_beacon_comes_back_bit_for_bit(tmp_path):
    require_the_same("beacon", {"length": 12}, tmp_path, encodings=("raw", "png"))


def test_camvid_comes_back_bit_for_bit(tmp_path, camvid_mini, arrow_cache):
    require_the_same("camvid", {"root": camvid_mini}, tmp_path)


def test_a_folder_of_odd_pictures_comes_back_bit_for_bit(tmp_path):
    rng = np.random.default_rng(0)
    for number, (height, width) in enumerate(((1, 1), (1, 300), (7, 5), (64, 48))):
        for kind, array in (
            ("images", rng.integers(0, 256, (height, width, 3), np.uint8)),
            ("labels", rng.choice(np.array([0, 1, 255], np.uint8), (height, width))),
        ):
            (tmp_path / "in" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / "in" / kind / f"Straße 木 {'x' * 200}{number}.png")
    require_the_same("folder", {"root": tmp_path / "in", "classes": ["a", "b"]}, tmp_path, encodings=("raw", "png"))


def test_clips_come_back_bit_for_bit(tmp_path, camvid_mini, arrow_cache, monkeypatch):
    # The frames of the small set do not follow one another; any two are a clip here.
    positions = np.array([[0, 1], [4, 2]])
    monkeypatch.setattr("ccnet_data.layouts.camvid.find_clips", lambda names, length: positions)
    require_the_same("camvid", {"root": camvid_mini, "frames": 2}, tmp_path)


def test_bytes_depend_on_neither_workers_nor_repetition(tmp_path):
    for workers in (0, 3):
        converted = convert("beacon", {"length": 60}, tmp_path / str(workers), form=SMALL, workers=workers)
        assert not converted.was_complete
    folders = [hashes(tmp_path / str(workers)) for workers in (0, 3)]
    assert folders[0] == folders[1]
    assert len(folders[0]) == 1 + 2 * 5


def test_the_manifest_counts_and_hashes_the_files_that_are_there(tmp_path):
    converted = convert("beacon", {"length": 30}, tmp_path, form=SMALL, workers=0)
    manifest = read_manifest((tmp_path / "manifest.json").read_bytes(), "here")
    assert manifest == converted.manifest
    assert [sum(shard.rows for shard in each) for each in manifest.splits.values()] == [30, 30]
    found = hashes(tmp_path)
    del found["manifest.json"]
    assert {shard.file: shard.sha256 for each in manifest.splits.values() for shard in each} == found


def test_a_run_killed_at_any_time_goes_on_to_the_same_bytes(tmp_path):
    rng = random.Random()
    subprocess.run(command(tmp_path / "whole", "--workers", "0"), check=True, capture_output=True)
    out = tmp_path / "killed"
    kept = {}
    for workers in ("0", "2", "2"):
        killed = subprocess.Popen(command(out, "--workers", workers), stderr=subprocess.DEVNULL)
        wanted = min(len(list(out.glob("*.parquet"))) + rng.randrange(3), 20) if out.exists() else rng.randrange(3)
        while killed.poll() is None and (not out.exists() or len(list(out.glob("*.parquet"))) < wanted):
            time.sleep(0.005)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        wait_for_orphans(out)
        recorded = recorded_files(out)
        assert all(place.stat().st_mtime_ns == kept[place] for place in recorded & kept.keys())
        kept = {place: place.stat().st_mtime_ns for place in recorded}
    subprocess.run(command(out, "--workers", "2"), check=True, capture_output=True)
    assert all(place.stat().st_mtime_ns == stamp for place, stamp in kept.items())
    assert hashes(out) == hashes(tmp_path / "whole")


def wait_for_orphans(out):
    """Wait until the processes of a killed run have seen that it ended."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(str(out) in text for text in command_lines()):
        time.sleep(0.05)


def command_lines():
    for process in os.listdir("/proc"):  # noqa: PTH208
        if process.isdigit() and process != str(os.getpid()):
            try:
                with open(f"/proc/{process}/cmdline") as line:  # noqa: PTH123
                    yield line.read()
            except OSError:
                continue


def recorded_files(out):
    journal = out / "conversion.jsonl"
    if not journal.exists():
        return set()
    return {file for file in out.glob("*.parquet") if f'"{file.name}"' in journal.read_text(encoding="utf-8")}


def test_a_finished_shard_that_was_changed_is_written_again(tmp_path, monkeypatch):
    convert("beacon", {"length": 60}, tmp_path / "whole", form=SMALL, workers=0)
    interrupt_after(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        convert("beacon", {"length": 60}, tmp_path / "out", form=SMALL, workers=0)
    monkeypatch.undo()
    first, second = sorted((tmp_path / "out").glob("*.parquet"))[:2]
    content = bytearray(first.read_bytes())
    content[500] ^= 1
    first.write_bytes(content)
    stamp = second.stat().st_mtime_ns
    convert("beacon", {"length": 60}, tmp_path / "out", form=SMALL, workers=0)
    assert second.stat().st_mtime_ns == stamp
    assert hashes(tmp_path / "out") == hashes(tmp_path / "whole")


def interrupt_after(monkeypatch, count):
    """Have the conversion stop when `count` shards are recorded."""
    from ccnet_data.shards.journal import Journal

    added, add = [], Journal.add

    def add_or_stop(journal, shard):
        if len(added) == count:
            raise KeyboardInterrupt
        added.append(shard)
        add(journal, shard)

    monkeypatch.setattr(Journal, "add", add_or_stop)


def test_other_options_on_a_half_done_folder_are_refused(tmp_path, monkeypatch):
    interrupt_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        convert("beacon", {"length": 60}, tmp_path, form=SMALL, workers=0)
    for options, form, message in (
        ({"length": 61}, SMALL, r"options=.*'length': 60.* and not .*'length': 61"),
        ({"length": 60}, Format(encoding="png", shard_size=200_000), "encoding=raw and not png"),
        ({"length": 60}, Format(encoding="raw", shard_size=100_000), "shard_size=200000 and not 100000"),
    ):
        with pytest.raises(DataError, match=f"holds a conversion begun with.*{message}"):
            convert("beacon", options, tmp_path, form=form, workers=0)


def test_a_complete_folder_stays_as_it_is(tmp_path):
    convert("beacon", {"length": 30}, tmp_path, form=SMALL, workers=0)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert convert("beacon", {"length": 30}, tmp_path, form=SMALL, workers=0).was_complete
    assert {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == before
    for options, form in (({"length": 31}, SMALL), ({"length": 30}, Format(encoding="png", shard_size=200_000))):
        with pytest.raises(DataError, match="is complete, but of another dataset or with other options"):
            convert("beacon", options, tmp_path, form=form, workers=0)
    next(tmp_path.glob("val-00001-*")).unlink()
    with pytest.raises(DataError, match=r"val-00001-of-0000\d\.parquet: there is no such file"):
        convert("beacon", {"length": 30}, tmp_path, form=SMALL, workers=0)


def test_a_run_killed_between_its_last_two_steps_is_complete(tmp_path, monkeypatch):
    convert("beacon", {"length": 30}, tmp_path, form=SMALL, workers=0)
    (tmp_path / "conversion.jsonl").write_bytes(b"")
    assert convert("beacon", {"length": 30}, tmp_path, form=SMALL, workers=0).was_complete
    assert not (tmp_path / "conversion.jsonl").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_sample_stops_the_conversion_and_keeps_what_is_whole(tmp_path, make_folder, workers):
    root = make_folder([f"{number:02d}" for number in range(40)])
    (root / "images" / "33.png").write_bytes(b"damaged")
    options = {"root": root, "classes": [str(number) for number in range(40)]}
    form = Format(encoding="raw", shard_size=400)
    with pytest.raises(DataError, match=r"33\.png"):
        convert("folder", options, tmp_path / "out", form=form, workers=workers)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not list((tmp_path / "out").glob(".*"))
    Image.fromarray(np.full((4, 6, 3), 33, np.uint8)).save(root / "images" / "33.png")
    convert("folder", options, tmp_path / "out", form=form, workers=workers)
    assert load("shards", "train", root=tmp_path / "out")[33]["image"].max() == 33


def test_a_full_disk_is_an_error_that_names_the_shard_and_leaves_none(tmp_path):
    limit = 150_000  # bytes of a file; what is beyond is refused as on a disk that is full
    run = subprocess.run(
        command(tmp_path / "out", "--workers", "0", "--shard-size", "1GB"),
        capture_output=True,
        text=True,
        preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        ),
    )
    assert run.returncode == 2
    assert run.stderr.startswith(
        f"error: {tmp_path}/out/train-00000-of-00001.parquet: cannot be written (File too large)"
    )
    assert run.stderr.count("\n") == 1
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["conversion.jsonl"]


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_hugging_face_datasets_reads_pictures(tmp_path, arrow_cache, encoding):
    import datasets

    convert("beacon", {"length": 30}, tmp_path / "out", form=Format(encoding=encoding, shard_size=60_000), workers=0)
    whole = datasets.load_dataset(str(tmp_path / "out"))
    files = sorted(map(str, (tmp_path / "out").glob("train-*")))
    assert len(files) > 1
    rows = datasets.load_dataset("parquet", data_files=files, split="train")
    assert set(whole) == {"train", "validation"}
    for read in (whole["train"], rows):
        assert read.features == {"image": datasets.Image(), "label": datasets.Image(), "id": datasets.Value("string")}
        assert len(read) == 30
        for row, sample in zip(read, load("shards", "train", root=tmp_path / "out"), strict=True):
            np.testing.assert_array_equal(np.asarray(row["image"]).transpose(2, 0, 1), sample["image"])
            np.testing.assert_array_equal(np.asarray(row["label"]), sample["label"])
            assert row["id"] == sample["id"]


def test_the_dataset_parquet_reads_them_too(tmp_path, arrow_cache):
    convert("beacon", {"length": 30}, tmp_path / "out", form=Format(shard_size=60_000), workers=0)
    classes = list(load("beacon", "train").classes)
    for split in ("train", "val"):
        rows, shards = load("parquet", split, root=tmp_path / "out", classes=classes), load("beacon", split, length=30)
        for one, other in zip(rows, shards, strict=True):
            np.testing.assert_array_equal(one["image"], other["image"])
            assert one["id"] == other["id"]
