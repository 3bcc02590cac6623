import errno
import re

import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.registry import check, list_datasets, load, source_named


def test_the_datasets_are_listed_by_name():
    published = ("cityscapes", "ade20k", "voc12aug", "lip", "camvid", "coco")
    assert list_datasets() == (*published, "folder", "parquet", "beacon", "shapes", "figures", "shards")


def test_right_options_have_no_faults(make_folder):
    root = make_folder(["a"])
    assert check("folder", {"root": str(root), "classes": ["one"]}) == []
    assert check("beacon") == []


def test_check_lists_all_faults_at_once(tmp_path):
    faults = check("folder", {"root": tmp_path / "none", "classes": "road", "pallete": None})
    assert len(faults) == 3
    assert any("Did you mean 'palette'?" in fault for fault in faults)
    assert any(fault.startswith("classes must be a list") for fault in faults)
    assert any("none" in fault and "root must hold images/ and labels/" in fault for fault in faults)


def test_a_misread_option_is_not_reported_as_missing_too(make_folder):
    faults = check("folder", {"root": make_folder(["a"]), "classes": "road"})
    assert len(faults) == 1


def test_check_names_the_nearest_dataset():
    assert check("becon", {}) == ["There is no dataset 'becon'. Did you mean 'beacon'?"]


def test_loading_raises_all_faults_in_one_error():
    with pytest.raises(DataError, match=r"^Cannot load 'beacon': .*size must.*seed must.*no split 'vall'"):
        load("beacon", "vall", size=1, seed=-1)


@pytest.mark.parametrize("name", ["nothing", 3, None, ["beacon"]])
def test_an_unknown_dataset_is_an_error(name):
    with pytest.raises(DataError, match="There is no dataset"):
        source_named(name)


def test_loading_opens_the_dataset_with_its_options():
    dataset = load("beacon", split="val", length=2, seed=3)
    assert len(dataset) == 2
    assert not np.array_equal(dataset[0]["image"], load("beacon", split="val")[0]["image"])


def test_a_folder_without_rights_is_a_fault(make_folder, monkeypatch):
    root = make_folder(["a"])

    def refuse(folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr("ccnet_data.layouts.folder.list_folders", refuse)
    fault = f"{root / 'images'}: cannot be read (Permission denied); check that it exists and its permissions."
    assert check("folder", {"root": root, "classes": ["one"]}) == [fault]
    with pytest.raises(DataError, match=re.escape(fault)):
        load("folder", "train", root=root, classes=["one"])
