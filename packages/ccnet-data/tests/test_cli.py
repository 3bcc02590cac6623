import json
import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from ccnet_data.cli import main


def run(*arguments, cwd=None):
    command = [sys.executable, "-W", "error", "-m", "ccnet_data", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, "COLUMNS": "80"})


def test_list_prints_datasets_and_their_options():
    result = run("list")
    assert (result.returncode, result.stderr) == (0, "")
    assert "beacon: Generated" in result.stdout
    assert "length=2000" in result.stdout
    assert result.stdout.count("on_error=raise") == 1
    assert "and for every dataset:\n    on_error=raise" in result.stdout


def test_version_is_printed():
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, "ccnet-data 0.1.0\n")


def test_a_reader_that_leaves_early_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "ccnet_data", "list"]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=buffered)
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "becon"], "Did you mean 'beacon'?"),
        (["info", "folder", "--root", "nowhere", "classes=a,b"], "nowhere"),
        (["paint"], "invalid choice: 'paint'"),
        (["info"], "the following arguments are required: NAME (see"),
        (["prepare", "voc", "--root", "a", "--sbd", "b"], "argument NAME: invalid choice: 'voc'"),
        (["info", "folder", "classes=road"], 'A list of one is written ["road"].'),
    ],
)
def test_a_fault_is_one_line_and_exit_code_2(arguments, message, tmp_path):
    result = run(*arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["list", "beacon"],
        ["info", "beacon", "--lenght", "3"],
        ["preview", "beacon"],
        ["preview", "beacon", "--out", "a.png", "--count", "0"],
        ["preview", "beacon", "--out", "a.png", "--seed", "-1"],
        ["stats", "beacon", "--workers", "x"],
        ["convert", "beacon"],
        ["convert", "beacon", "--out", "a", "--encoding", "gif"],
        ["convert", "beacon", "--out", "a", "--encoding", "jpeg", "--quality", "101"],
        ["convert", "beacon", "--out", "a", "--shard-size", "0MB"],
        ["convert", "beacon", "--out", "a", "--shard-size", "2.5 GB"],
    ],
)
def test_a_wrong_command_line_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("option", ["length", "=3", "length=x", "length=3 length=4"])
def test_a_wrong_option_is_an_error(option, capsys):
    assert main(["info", "beacon", *option.split()]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_info_prints_size_classes_and_colours(capsys):
    assert main(["info", "beacon", "length=20", "--split", "val", "size=48"]) == 0
    printed = capsys.readouterr().out
    assert "beacon, split val: 20 samples" in printed
    assert "48x48" in printed
    assert "#dc3c3c  square of red" in printed


def test_stats_prints_pixels_share_weight_and_pictures(make_folder, capsys):
    root = make_folder(["a", "b"])
    assert main(["stats", "folder", "--root", str(root), "classes=first,second,third"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["pixels", "share", "weight", "pictures", "class"],
        ["24", "50.0000%", "1.414", "1", "first"],
        ["24", "50.0000%", "1.414", "1", "second"],
        ["0", "0.0000%", "0.000", "0", "third"],
    ]


def test_stats_for_programs_are_one_object(make_folder, capsys):
    root = make_folder(["a", "b"])
    assert main(["stats", "folder", "--root", str(root), "classes=first,second", "--json", "--workers", "0"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert (counted["dataset"], counted["split"], counted["samples"]) == ("folder", "train", 2)
    assert counted["classes"][1] == {"class": "second", "pixels": 24, "share": 0.5, "weight": 2**0.5, "pictures": 1}


def test_preview_writes_a_picture_and_prints_its_name(tmp_path, capsys):
    file = tmp_path / "sheet.png"
    assert main(["preview", "beacon", "length=4", "--out", str(file), "--count", "2", "--seed", "3"]) == 0
    assert capsys.readouterr().out == f"{file}\n"
    with Image.open(file) as sheet:
        assert sheet.format == "PNG"


def test_a_damaged_file_is_one_line(make_folder, capsys):
    root = make_folder(["a"])
    (root / "images" / "a.png").write_bytes(b"")
    assert main(["info", "folder", "--root", str(root), 'classes=["one"]']) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_place_that_cannot_be_written_is_an_error(tmp_path, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    sheet = tmp_path / "file" / "sheet.png"
    assert main(["preview", "beacon", "length=1", "--out", str(sheet)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {sheet}: cannot be written (File exists)")


def test_info_of_a_published_dataset_needs_no_files(capsys):
    assert main(["info", "cityscapes"]) == 0
    assert "published: train 2975, val 500, test 1525" in capsys.readouterr().out


def test_convert_writes_shards_that_the_other_commands_read(tmp_path, capsys):
    out = str(tmp_path / "out")
    words = ["convert", "beacon", "length=40", "--out", out, "--encoding", "raw", "--shard-size", "300kB"]
    assert main([*words, "--workers", "2"]) == 0
    lines = [f"{out}, {split}: 40 samples in 3 shards, 0.7 MB" for split in ("train", "val")]
    assert capsys.readouterr().out.splitlines() == lines
    assert main([*words, "--workers", "0"]) == 0
    assert capsys.readouterr().out.splitlines() == [*lines, f"{out} was complete already; nothing was written"]
    assert main(["verify", "shards", "--root", out, "--workers", "0"]) == 0
    assert "80 samples in" in capsys.readouterr().out
    (tmp_path / "out" / "val-00001-of-00003.parquet").unlink()
    assert main(["verify", "shards", "--root", out, "--workers", "0"]) == 1
    assert "incomplete: " in capsys.readouterr().out


def test_convert_takes_chosen_splits_and_the_quality_of_jpeg(tmp_path, capsys):
    out = str(tmp_path / "out")
    words = ["convert", "beacon", "length=5", "--out", out, "--split", "val", "--workers", "0"]
    assert main([*words, "--encoding", "png", "--quality", "80"]) == 2
    assert capsys.readouterr().err == "error: quality is that of jpeg; leave it out for png.\n"
    assert main([*words, "--encoding", "jpeg", "--quality", "80"]) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["quality"], list(manifest["splits"])) == (80, ["val"])


def test_an_interrupted_conversion_ends_at_once_and_leaves_nothing_half_written(tmp_path):
    out = tmp_path / "out"
    words = [
        "convert",
        "beacon",
        "length=100000",
        "size=256",
        "--out",
        str(out),
        "--shard-size",
        "1GB",
        "--workers",
        "2",
    ]
    running = subprocess.Popen([sys.executable, "-m", "ccnet_data", *words], stderr=subprocess.PIPE, text=True)
    while running.poll() is None and not list(out.glob(".train-*")):
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, printed = running.communicate(timeout=60)
    assert (running.returncode, printed) == (130, "")
    assert [file.name for file in out.iterdir()] == ["conversion.jsonl"]


def test_prepare_needs_both_folders_and_reports_a_wrong_one(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["prepare", "voc12aug", "--root", str(tmp_path)])
    assert stopped.value.code == 2
    assert "--sbd" in capsys.readouterr().err
    assert main(["prepare", "voc12aug", "--root", str(tmp_path), "--sbd", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
