import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import ccnet_core as ccnet
from ccnet_core import shards, weights_folder
from ccnet_core.errors import OtherKindError
from ccnet_core.zoo import load_config


@pytest.fixture
def folder(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "weights", metrics={"miou": 0.5061}, datasets=["camvid"])
    return tmp_path / "weights"


def change_config(folder, **changes):
    content = json.loads((folder / weights_folder.CONFIG_FILE).read_text())
    content.update(changes)
    (folder / weights_folder.CONFIG_FILE).write_text(json.dumps(content))


def change_tensors(folder, change):
    tensors = load_file(folder / weights_folder.WEIGHTS_FILE)
    change(tensors)
    save_file(tensors, folder / weights_folder.WEIGHTS_FILE)


def test_model_comes_back_the_same(tiny, folder, picture):
    loaded = ccnet.CCNet.from_pretrained(folder)
    assert loaded.config == tiny.config
    assert not loaded.training
    for name, tensor in tiny.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    before = ccnet.predict(tiny, picture, scores=True).scores
    assert (ccnet.predict(loaded, picture, scores=True).scores == before).all()


@pytest.mark.parametrize("name", ["ccnet_small", "ccnet_r50-d8_4xb2-40k_cityscapes-769x769"])
def test_every_kind_of_configuration_survives_without_the_figures_of_published_weights(name, tmp_path):
    config = load_config(name)
    weights_folder.save_folder(tmp_path / "w", config, {"x": torch.zeros(1)}, card="")
    assert weights_folder.read_config(tmp_path / "w", type(config)) == dataclasses.replace(config, published=None)


def test_folder_has_five_files_and_a_processor_that_does_nothing_twice(folder):
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["config.json", "model.safetensors", "preprocessor_config.json", "README.md", "picture.png"]
    )
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    assert processor["do_rescale"] is processor["do_normalize"] is False


def test_configuration_names_the_classes_both_ways(folder):
    content = json.loads((folder / "config.json").read_text())
    assert content["model_type"] == "ccnet"
    assert content["id2label"]["3"] == "class 3"
    assert content["label2id"]["class 3"] == 3


def test_card_has_metadata_that_the_hub_reads(folder):
    _, metadata, text = (folder / "README.md").read_text().split("---\n", 2)
    fields = yaml.safe_load(metadata)
    assert fields["pipeline_tag"] == "image-segmentation"
    assert fields["datasets"] == ["camvid"]
    (metric,) = fields["model-index"][0]["results"][0]["metrics"]
    assert metric == {"type": "mean_iou", "value": 0.5061, "name": "Mean IoU"}
    assert "from_pretrained" in text


@pytest.mark.parametrize(("change", "count"), [({"num_classes": 7}, 7), ({"classes": ["a", "b", "c", "d"]}, 4)])
def test_other_classes_start_the_classifier_anew_and_say_so(tiny, folder, caplog, change, count):
    loaded = ccnet.CCNet.from_pretrained(folder, **change)
    assert loaded.config.num_classes == count
    assert loaded.head.classify.conv.weight.shape[0] == count
    assert loaded.head.classify.conv.weight.std() < 0.02  # the stored one has 0.5
    assert torch.equal(loaded.head.fuse.conv.weight, tiny.head.fuse.conv.weight)
    assert "its classifiers start at random" in caplog.text


def test_same_classes_keep_the_classifier(tiny, folder, caplog):
    for change in ({}, {"num_classes": 4}, {"classes": list(tiny.config.classes)}):
        loaded = ccnet.CCNet.from_pretrained(folder, **change)
        assert torch.equal(loaded.head.classify.conv.weight, tiny.head.classify.conv.weight)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("head.fuse.conv.weight"), "1 tensors missing: head.fuse.conv.weight"),
        (lambda t: t["head.fuse.conv.weight"][3].fill_(float("nan")), "with NaN or infinite numbers: head.fuse"),
    ],
)
def test_wrong_tensors_are_named(folder, change, message):
    change_tensors(folder, change)
    with pytest.raises(ccnet.WeightsError, match=f"/model.safetensors: .*{message}"):
        ccnet.CCNet.from_pretrained(folder)


@pytest.mark.parametrize("content", [b"", b"words", "truncated"])
def test_damaged_weights_file_is_named(folder, content):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100] if content == "truncated" else content)
    with pytest.raises(ccnet.WeightsError, match=r"model\.safetensors: damaged or not a safetensors file"):
        ccnet.CCNet.from_pretrained(folder)


def flip(path, at, bit):
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def test_flipped_bit_in_the_header_is_noticed(folder):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    metadata = range(content.index(b'{"__metadata__"') + 1, content.index(b'"},') + 2)
    end = 8 + int.from_bytes(content[:8], "little")
    for at in [*range(8), *range(8, end, 41)]:
        if at not in metadata:
            flip(path, at, at % 7)
            with pytest.raises(ccnet.WeightsError, match=r"/model\.safetensors: "):
                ccnet.CCNet.from_pretrained(folder)
            path.write_bytes(content)


def test_flipped_bit_inside_a_tensor_is_noticed_only_where_it_makes_an_infinite_number(tiny, folder):
    path = folder / "model.safetensors"
    flip(path, path.stat().st_size - 4, 0)
    changed = [
        name
        for name, tensor in ccnet.CCNet.from_pretrained(folder).state_dict().items()
        if not torch.equal(tensor, tiny.state_dict()[name])
    ]
    assert len(changed) == 1
    change_tensors(folder, lambda tensors: tensors[changed[0]].view(-1)[-1].fill_(1.0))
    flip(path, path.stat().st_size - 1, 6)  # the exponent of 1.0, one of whose bits is 0
    with pytest.raises(ccnet.WeightsError, match=f"with NaN or infinite numbers: {changed[0]}"):
        ccnet.CCNet.from_pretrained(folder)


def test_a_folder_of_another_kind_says_what_it_is_and_how_to_use_it(folder):
    change_config(folder, model_type="ccnet-instances")
    with pytest.raises(OtherKindError) as raised:
        ccnet.CCNet.from_pretrained(folder)
    assert raised.value.model_type == "ccnet-instances"
    assert str(raised.value) == (
        f"{folder}: holds a Mask R-CNN, which finds objects. Use it with `ccnet predict`, or load it with "
        "ccnet_train.detection.MaskRCNN.from_pretrained."
    )


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_missing_file_is_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(ccnet.WeightsError, match=f"{file}: missing"):
        ccnet.CCNet.from_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "not a CCNet configuration"),
        ({"format_version": 2}, "written in format 2, this ccnet-core reads 1"),
        ({"align_corner": True}, "unknown key 'align_corner'. Did you mean 'align_corners'"),
        ({"id2label": {"0": "a", "2": "b"}}, "id2label must name the classes 0, 1, 2"),
        ({"format_version": True}, "written in format True, this ccnet-core reads 1. Save the folder again"),
        ({"classes": ["a"]}, "unknown key 'classes'. The classes stand in id2label"),
        ({"head": {"channels": "many"}}, "head: channels: expected a whole number"),
        ({"head": {"reduction": 0}}, "config.json: head: reduction must be whole numbers from 1"),
        ({"pixels": {"mean": [float("nan")] * 3}}, "config.json: pixels: mean: expected a number"),
        ({"align_corners": 1}, "config.json: align_corners: expected true or false"),
        ({"name": "\ud800"}, "config.json: name must be text"),
    ],
)
def test_wrong_configuration_names_file_and_key(folder, changes, message):
    change_config(folder, **changes)
    with pytest.raises(ccnet.WeightsError, match=message):
        ccnet.CCNet.from_pretrained(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{half", "Expecting property name"),
        (b"", "Expecting value"),
        (b"\xff\xfe", "can't decode byte"),
        (b'{"model_type": "ccnet", "model_type": "ccnet"}', "the key 'model_type' is there twice"),
        (b'{"model_type": ' + b"9" * 5000 + b"}", "integer string conversion"),
        (b"[" * 100_000, "recursion"),
        (b" " * 2**22 + b"{}", "more than 4194304 bytes"),
    ],
)
def test_unreadable_configuration_is_named(folder, content, message):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ccnet.WeightsError, match=rf"/config\.json: cannot be read \(.*{message}"):
        ccnet.CCNet.from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)])
def test_what_is_not_a_file_is_named(folder, name, make):
    (folder / name).unlink()
    make(folder / name)
    with pytest.raises(
        ccnet.WeightsError, match=rf"/{name}: (cannot be read \(|missing, or )not a file|missing|Too many"
    ):
        ccnet.CCNet.from_pretrained(folder)


def test_saving_again_replaces_the_folder(folder):
    other = ccnet.CCNet.from_config("ccnet_tiny", num_classes=2)
    other.save_pretrained(folder)
    assert ccnet.CCNet.from_pretrained(folder).config.num_classes == 2
    assert [path.name for path in folder.parent.iterdir()] == ["weights"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")])
def test_folder_that_cannot_be_written_is_named_and_the_old_one_stays(tiny, folder, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(shards, "save_file", fail)
    with pytest.raises(ccnet.WeightsError, match=r"weights: cannot be written \(No space left on device\)\. Make room"):
        tiny.save_pretrained(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["weights"]
    monkeypatch.undo()
    ccnet.CCNet.from_pretrained(folder)


def test_folder_that_holds_anything_else_is_left_alone(tiny, folder):
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(ccnet.WeightsError, match=r"holds 'thesis\.txt', which is not part of a weights folder"):
        tiny.save_pretrained(folder)
    assert (folder / "thesis.txt").read_text() == "years of work"


def test_file_in_place_of_a_folder_is_named(folder):
    with pytest.raises(ccnet.WeightsError, match=r"this is a file\. Give the folder"):
        ccnet.CCNet.from_pretrained(folder / "model.safetensors")


def test_folder_of_a_run_names_the_weights_in_it(folder, tmp_path):
    folder.rename(tmp_path / "best")
    with pytest.raises(ccnet.WeightsError, match=r"this is the folder of a run\. Give .*best"):
        ccnet.CCNet.from_pretrained(tmp_path)


def test_weights_may_be_read_by_whoever_may_read_their_configuration(folder):
    modes = {path.stat().st_mode for path in folder.iterdir()}
    assert len(modes) == 1


@pytest.fixture
def ordinary_user():
    """Whoever may do everything becomes somebody who may not."""
    if os.geteuid():
        yield
    else:
        os.seteuid(65534)
        yield
        os.seteuid(0)


@pytest.mark.parametrize("name", ["", "config.json", "model.safetensors"])
def test_folder_or_file_without_rights_is_named(folder, request, name):
    for parent in folder.relative_to(folder.anchor).parents:
        if (Path(folder.anchor) / parent).stat().st_uid == os.geteuid():
            (Path(folder.anchor) / parent).chmod(0o755)
    (folder / name).chmod(0)
    request.getfixturevalue("ordinary_user")
    with pytest.raises(ccnet.WeightsError, match=f"weights.*{name}: (cannot be read|may not be read).*permissions"):
        ccnet.CCNet.from_pretrained(folder)


SMALL_DISK = """
import os, subprocess, sys
from pathlib import Path
import ccnet_core as ccnet

disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
ccnet.CCNet.from_config("ccnet_tiny", num_classes=2).save_pretrained(disk / "weights")
before = {path.name: path.read_bytes() for path in (disk / "weights").iterdir()}

def save_and_fail(model, place, **options):
    try:
        model.save_pretrained(place, **options)
        print("saved")
    except ccnet.CCNetError as error:
        print(error)
    assert {path.name: path.read_bytes() for path in (disk / "weights").iterdir()} == before
    assert os.listdir(disk) == ["weights"], os.listdir(disk)

for size in ("5GB", "100KB"):
    save_and_fail(ccnet.CCNet.from_config("ccnet_small", num_classes=2), disk / "weights", max_shard_size=size)
save_and_fail(ccnet.CCNet.from_config("ccnet_small", num_classes=2), disk / "new")
subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
save_and_fail(ccnet.CCNet.from_config("ccnet_tiny"), disk / "weights")
print(ccnet.CCNet.from_pretrained(disk / "weights").config.num_classes)
"""


def test_full_and_read_only_disks_are_named_and_the_old_folder_stays(tmp_path):
    apart = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*apart, "mount", "-t", "tmpfs", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("no small disk can be made here: unshare and mount do not work")
    command = [*apart, sys.executable, "-W", "ignore", "-c", SMALL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *full, read_only, count = done.stdout.splitlines()
    assert len(full) == 3
    for line in full:
        assert re.match(rf"{tmp_path}/\w+: cannot be written \(.*No space left on device.*\)\. Make room", line), line
    assert "weights: cannot be written (Read-only file system)" in read_only
    assert count == "2"


WRITER = """
import sys
import torch
from ccnet_core import CCNet, weights_folder

torch.set_num_threads(1)
folder, count, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = CCNet.from_config("ccnet_tiny", num_classes=count)
state = {name: torch.full_like(tensor, count) for name, tensor in model.state_dict().items()}
size = {2: "5GB", 3: "100KB"}[count]

def save():
    weights_folder.save_folder(folder, model.config, state, card="", max_shard_size=size)
"""

STEADY_WRITER = (
    WRITER
    + """
save()
print("ready", flush=True)
input()
for _ in range(rounds):
    save()
"""
)


def assert_of_one_save(folder):
    """Load; return the number of classes, which is what the writers make every weight."""
    model = ccnet.CCNet.from_pretrained(folder)
    assert {number for tensor in model.state_dict().values() for number in tensor.unique().tolist()} == {
        model.config.num_classes
    }
    return model.config.num_classes


def test_reader_gets_one_whole_folder_while_two_processes_replace_it(tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-W", "ignore", "-c", STEADY_WRITER, str(tmp_path / "weights")]
    writers = [subprocess.Popen([*command, count, "100"], **pipes) for count in "23"]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 2
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    seen = [assert_of_one_save(tmp_path / "weights")]
    while any(writer.poll() is None for writer in writers):
        seen.append(assert_of_one_save(tmp_path / "weights"))
    assert [writer.communicate()[1] for writer in writers] == ["", ""]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert set(seen) == {2, 3}
    assert len(seen) > 20
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


KILLED_WRITERS = (
    WRITER
    + """
import os, random, signal, time

save()
random.seed(0)
for _ in range(rounds):
    writer = os.fork()
    if not writer:
        while True:
            save()
    time.sleep(random.random() * 0.05)
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    assert CCNet.from_pretrained(folder).config.num_classes == count
save()
"""
)


def test_killed_writer_leaves_a_whole_folder_and_what_can_be_recognised(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", KILLED_WRITERS, str(tmp_path / "weights"), "3", "25"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert assert_of_one_save(tmp_path / "weights") == 3
    left = {path.name for path in tmp_path.iterdir()} - {"weights"}
    assert left
    assert all(name.startswith(".weights-") and name.endswith(".tmp") for name in left)


@pytest.mark.parametrize("name", [None, 5, b"weights", "weights\0", ["weights"]])
def test_what_cannot_be_the_name_of_a_folder_is_refused(tiny, name):
    with pytest.raises(ccnet.ConfigError, match="expected the name of a folder to write, got "):
        tiny.save_pretrained(name)
