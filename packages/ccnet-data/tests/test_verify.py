import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ccnet_data.cli import main
from ccnet_data.description import Description
from ccnet_data.errors import DataError
from ccnet_data.layouts.official import Official
from ccnet_data.layouts.pairs import Names, match
from ccnet_data.layouts.tree import list_files, require_folder
from ccnet_data.registry import source_named
from ccnet_data.verify import verify


@dataclass(frozen=True, kw_only=True)
class Streets(Official):
    """A dataset of six pictures in three splits, laid out as a folder."""

    description = Description(
        title="Streets",
        page="https://example.org",
        terms="Free.",
        classes=("road", "car"),
        palette=((0, 0, 0), (9, 9, 9)),
        sizes={"train": 3, "val": 2, "test": 1},
        tree="images/train\nlabels/train",
    )

    def present(self, root, split):
        return (root / "images" / split).is_dir()

    def list_split(self, root, split):
        folders = (require_folder(root / kind / split, "root must hold images/") for kind in ("images", "labels"))
        return match(*(Names(folder, list_files(folder, (".png",)), stem) for folder in folders))


def stem(name):
    return name.removesuffix(".png")


def write(root, split, stem, value, label=1, size=(4, 6)):
    """Write a picture of 6x4 pixels, grey of `value`, and a label map of one class."""
    for kind, array in (("images", np.full((4, 6, 3), value, np.uint8)), ("labels", np.full(size, label, np.uint8))):
        file = root / kind / split / f"{stem}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(file)


@pytest.fixture
def streets(tmp_path):
    for number, (split, stem) in enumerate(
        [("train", "a"), ("train", "b"), ("train", "c"), ("val", "d"), ("val", "e"), ("test", "f")]
    ):
        write(tmp_path, split, stem, 10 * number)
    return tmp_path


def found(root, splits=()):
    """Return the (split, kind, name of the file or sample) of every fault and note."""
    return [
        (report.split, finding.kind, Path(finding.where.split(" and ")[0]).name)
        for report in verify(Streets(root=root), splits, workers=0)
        for finding in (*report.faults, *report.notes)
    ]


def test_a_whole_dataset_has_no_faults(streets):
    assert found(streets) == []
    assert [(report.split, report.samples) for report in verify(Streets(root=streets), workers=0)] == [
        ("train", 3),
        ("val", 2),
        ("test", 1),
    ]


def test_a_picture_without_a_label_and_a_label_without_a_picture(streets):
    (streets / "labels" / "train" / "b.png").rename(streets / "labels" / "train" / "z.png")
    assert found(streets) == [
        ("train", "count differs", "train"),
        ("train", "incomplete", "b.png"),
        ("train", "incomplete", "z.png"),
    ]


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n\0\0"])
@pytest.mark.parametrize("kind", ["images", "labels"])
def test_a_file_that_cannot_be_read(streets, kind, content):
    (streets / kind / "val" / "e.png").write_bytes(content)
    assert found(streets) == [("val", "unreadable", "e.png")]


def test_a_label_of_another_size(streets):
    write(streets, "train", "b", 99, size=(8, 6))
    assert found(streets) == [("train", "size mismatch", "b.png")]


def test_a_label_outside_the_classes(streets):
    write(streets, "test", "f", 99, label=2)
    assert found(streets) == [("test", "outside classes", "f.png")]


def test_the_same_picture_in_two_splits_names_both(streets):
    write(streets, "val", "e", 10, label=0)
    assert found(streets) == [("val", "duplicate across splits", "e")]
    ((fault,),) = [report.faults for report in verify(Streets(root=streets), workers=0) if report.faults]
    assert fault.text.startswith("val e: shows the same picture as train b;")


def test_the_same_picture_twice_in_a_split_is_a_note(streets):
    write(streets, "train", "c", 0)
    assert found(streets) == [("train", "duplicate within split", "c")]
    assert not any(report.faults for report in verify(Streets(root=streets), workers=0))


def test_pixels_alone_make_a_duplicate(streets):
    # The same pixels in another compression, and the same bytes in another shape.
    Image.fromarray(np.full((4, 6, 3), 0, np.uint8)).save(streets / "images" / "val" / "d.png", compress_level=0)
    Image.fromarray(np.full((6, 4, 3), 10, np.uint8)).save(streets / "images" / "val" / "e.png")
    Image.fromarray(np.full((6, 4), 1, np.uint8)).save(streets / "labels" / "val" / "e.png")
    assert found(streets) == [("val", "duplicate across splits", "d")]


@pytest.mark.parametrize("change", ["one more", "one less"])
def test_another_number_of_samples_than_was_published(streets, change):
    if change == "one more":
        write(streets, "test", "g", 99)
    else:
        for kind in ("images", "labels"):
            (streets / kind / "val" / "e.png").unlink()
    split = "test" if change == "one more" else "val"
    assert found(streets) == [(split, "count differs", split)]


def test_a_published_split_that_is_missing(streets):
    for kind in ("images", "labels"):
        (streets / kind / "test" / "f.png").unlink()
        (streets / kind / "test").rmdir()
    assert found(streets) == [("test", "missing split", "test")]
    assert found(streets, ["train", "val"]) == []


def test_a_split_that_does_not_open(streets):
    for kind in ("images", "labels"):
        (streets / kind / "test" / "f.png").unlink()
    (fault,) = verify(Streets(root=streets), workers=0)[2].faults
    assert fault.kind == "unreadable split"
    assert "the split 'test' is empty" in fault.text


def test_all_faults_of_one_tree_are_found_and_nothing_else(streets):
    write(streets, "train", "a", 0, label=7)
    write(streets, "train", "b", 10, size=(1, 1))
    (streets / "images" / "train" / "c.png").write_bytes(b"")
    write(streets, "val", "d", 77)
    write(streets, "val", "e", 77)
    write(streets, "val", "extra", 78)
    (streets / "labels" / "val" / "alone.png").write_bytes(b"")
    write(streets, "test", "f", 77)
    assert found(streets) == [
        ("train", "outside classes", "a.png"),
        ("train", "size mismatch", "b.png"),
        ("train", "unreadable", "c.png"),
        ("val", "count differs", "val"),
        ("val", "incomplete", "alone.png"),
        ("val", "duplicate within split", "e"),
        ("test", "duplicate across splits", "f"),
    ]


def test_chosen_splits_are_looked_at_once_and_in_the_order_given(streets):
    reports = verify(Streets(root=streets), ["val", "train", "val"], workers=0)
    assert [report.split for report in reports] == ["val", "train"]


@pytest.mark.parametrize(
    ("root", "splits", "message"),
    [
        ("", ["trian"], "There is no split 'trian'. Did you mean 'train'"),
        ("nowhere", [], "there is no such folder"),
        ("labels", [], r"root must hold"),
    ],
)
def test_where_there_is_nothing_to_look_at_the_input_is_wrong(streets, root, splits, message):
    with pytest.raises(DataError, match=message):
        verify(Streets(root=streets / root), splits, workers=0)


def test_a_fault_of_the_options_is_no_fault_of_the_files(streets):
    with pytest.raises(DataError, match="classes is missing"):
        verify(source_named("folder")(root=streets), workers=0)


def test_generated_pictures_have_no_faults():
    reports = verify(source_named("beacon")(length=40), workers=0)
    assert [(report.split, report.samples, report.faults, report.notes) for report in reports] == [
        ("train", 40, (), ()),
        ("val", 40, (), ()),
    ]


@pytest.mark.usefixtures("arrow_cache")
def test_camvid_is_read_whole(camvid):
    reports = verify(source_named("camvid")(root=camvid), ["train", "val"], workers=0)
    assert [(report.samples, report.faults, report.notes) for report in reports] == [(367, (), ()), (101, (), ())]


class TestTheCommand:
    @pytest.fixture
    def root(self, tmp_path):
        for number in range(40):
            write(tmp_path, "train", f"{number:02d}", number)
            write(tmp_path, "val", f"{number:02d}", 100 + number)
        return tmp_path

    def run(self, capsys, root, *more):
        code = main(["verify", "folder", "--root", str(root), "classes=road,car", *more])
        printed = capsys.readouterr()
        assert printed.err == ""
        return code, printed.out

    def test_no_faults_is_0(self, root, capsys):
        code, out = self.run(capsys, root, "--workers", "0")
        assert code == 0
        assert out.splitlines()[:2] == ["folder, train: 40 samples, no faults", "folder, val: 40 samples, no faults"]
        assert out.splitlines()[2].startswith("80 samples in ")

    def test_faults_are_1_and_the_same_with_any_number_of_processes(self, root, capsys):
        write(root, "train", "07", 7, label=2)
        (root / "labels" / "val" / "31.png").write_bytes(b"")
        alone, shared = (self.run(capsys, root, "--json", "--workers", workers) for workers in "02")
        assert alone == shared
        assert alone[0] == 1
        report = json.loads(alone[1])
        assert report["total"] == {"samples": 80, "faults": 2}
        (fault,) = report["splits"]["val"]["faults"]
        assert (fault["kind"], Path(fault["where"]).name) == ("unreadable", "31.png")

    def test_one_split_may_be_asked_for(self, root, capsys):
        _, out = self.run(capsys, root, "--split", "val", "--json", "--workers", "0")
        assert list(json.loads(out)["splits"]) == ["val"]

    @pytest.mark.parametrize("arguments", [["--workers", "-1"], ["--workers", "two"]])
    def test_a_wrong_number_of_processes_is_2(self, root, capsys, arguments):
        with pytest.raises(SystemExit) as stopped:
            main(["verify", "folder", "--root", str(root), "classes=road,car", *arguments])
        assert stopped.value.code == 2

    def test_wrong_input_is_2(self, capsys):
        assert main(["verify", "folder", "--root", "nowhere", "classes=a,b"]) == 2
        assert capsys.readouterr().err.startswith("error: nowhere")


def processes_of(group):
    """Return the processes of a process group that are not zombies."""
    members = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, owner = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(owner) == group and state != "Z":
            members.append(int(folder.name))
    return members


def catches_termination(pid):
    """Return whether the command has begun: Python has no handler of SIGTERM before."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def wait_until(reached, seconds=60):
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


class TestInterrupted:
    @pytest.fixture(params=["0", "2"])
    def running(self, request):
        """A `verify` that would take minutes, with 0 or 2 processes beside it, in a process group of its own."""
        command = [sys.executable, "-m", "ccnet_data", "verify", "beacon", "length=1000000", "size=256"]
        process = subprocess.Popen(
            [*command, "--workers", request.param],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        wait_until(lambda: catches_termination(process.pid))
        # The tracker of multiprocessing is one more process.
        wait_until(lambda: len(processes_of(process.pid)) >= (4 if request.param == "2" else 1))
        time.sleep(0.5)
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def test_ctrl_c_reaches_all_and_ends_with_130_and_no_traceback(self, running):
        os.killpg(running.pid, signal.SIGINT)
        assert running.communicate(timeout=60) == ("", "")
        assert running.returncode == 130
        wait_until(lambda: not processes_of(running.pid))

    def test_kill_ends_with_130_and_no_traceback(self, running):
        running.terminate()
        assert running.communicate(timeout=60) == ("", "")
        assert running.returncode == 130
        wait_until(lambda: not processes_of(running.pid))

    def test_its_processes_do_not_outlive_it(self, running):
        running.kill()
        running.wait(timeout=60)
        wait_until(lambda: not processes_of(running.pid))
