import json

import numpy as np
import pytest
from PIL import Image

from ccnet_data.errors import DataError
from ccnet_data.shards.plan import Format, make_plan


def test_parts_are_consecutive_and_hold_every_sample_once():
    plan = make_plan("beacon", {"length": 101}, (), Format(encoding="raw", shard_size=200_000))
    assert list(plan.parts) == ["train", "val"]
    for split, parts in plan.parts.items():
        assert [index for part in parts for index in part.rows] == list(range(101))
        assert max(len(part.rows) for part in parts) - min(len(part.rows) for part in parts) <= 1
        # 101 samples of 4 * 64 * 64 bytes
        assert [part.file for part in parts] == [f"{split}-{number:05d}-of-00009.parquet" for number in range(9)]


def test_the_size_of_shards_is_estimated_from_samples_of_all_sizes(tmp_path):
    for number in range(64):
        side = 8 if number < 32 else 64
        for kind, array in (
            ("images", np.zeros((side, side, 3), np.uint8)),
            ("labels", np.zeros((side, side), np.uint8)),
        ):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / kind / f"{number:02d}.png")
    options = {"root": tmp_path, "classes": ["a"]}
    total = 32 * 4 * (8**2 + 64**2)
    for count in (1, 4):
        parts = make_plan("folder", options, (), Format(encoding="raw", shard_size=-(-total // count))).parts["train"]
        assert len(parts) == count


def test_a_shard_holds_at_least_one_sample():
    assert len(make_plan("beacon", {"length": 3}, ["val"], Format(shard_size=1)).parts["val"]) == 3


def test_the_command_is_json_and_tells_all_that_decides_about_bytes(tmp_path, monkeypatch, make_folder):
    root = make_folder(["a", "b"])
    monkeypatch.chdir(root.parent)
    plans = [
        make_plan("folder", {"root": place, "classes": ["x", "y"]}, ["train"], Format(encoding="jpeg"))
        for place in (root, root.name, f"./{root.name}/../{root.name}")
    ]
    assert plans[0].command == plans[1].command == plans[2].command == json.loads(json.dumps(plans[0].command))
    assert plans[0].command["options"]["root"] == str(root)
    others = [
        make_plan("folder", {"root": root, "classes": ["x", "z"]}, ["train"], Format(encoding="jpeg")),
        make_plan("folder", {"root": root, "classes": ["x", "y"]}, ["train"], Format(encoding="jpeg", quality=91)),
        make_plan("folder", {"root": root, "classes": ["x", "y"]}, ["train"], Format(encoding="png")),
    ]
    assert all(other.command != plans[0].command for other in others)


def test_jpeg_has_a_quality_and_the_others_have_none():
    assert Format(encoding="jpeg").quality == 90
    with pytest.raises(DataError, match="quality is that of jpeg; leave it out for png"):
        Format(encoding="png", quality=90)


def test_stand_ins_for_damaged_samples_are_not_converted():
    with pytest.raises(DataError, match="leave out on_error=replace"):
        make_plan("beacon", {"on_error": "replace"}, (), Format())


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"task": "edges"}, "shards have no columns for the task 'edges', only for segmentation, video, instances"),
        ({"__len__": lambda self: 0}, "the split 'train' holds no samples; choose others with --split"),
    ],
)
def test_what_has_no_place_in_shards_is_refused(monkeypatch, attributes, message):
    for name, value in attributes.items():
        monkeypatch.setattr(f"ccnet_data.synthetic.BeaconDataset.{name}", value)
    with pytest.raises(DataError, match=f"^beacon: {message}"):
        make_plan("beacon", {}, (), Format())


def test_a_split_whose_name_cannot_be_in_a_file_name_is_refused(monkeypatch):
    monkeypatch.setattr("ccnet_data.synthetic.SPLITS", ("my-split",))
    with pytest.raises(DataError, match="the split 'my-split' cannot name files"):
        make_plan("beacon", {}, (), Format())


def test_unknown_splits_get_the_nearest():
    with pytest.raises(DataError, match="Did you mean 'val'"):
        make_plan("beacon", {}, ["vall"], Format())
