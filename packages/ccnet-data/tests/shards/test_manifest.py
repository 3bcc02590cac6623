import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccnet_data.errors import DataError
from ccnet_data.shards.manifest import (
    Manifest,
    Shard,
    is_split_name,
    manifest_bytes,
    read_manifest,
    shard_name,
    write_manifest,
)

SHARD = Shard(file="train-00000-of-00001.parquet", rows=3, bytes=4000, sha256="0" * 64)
MANIFEST = Manifest(
    dataset="folder",
    encoding="png",
    quality=None,
    task="segmentation",
    classes=("Straße", "sky"),
    palette=((1, 2, 3), (4, 5, 255)),
    flip_pairs=((0, 1),),
    splits={"train": (SHARD,), "größe.v2": (replace(SHARD, file="größe.v2-00000-of-00001.parquet"),)},
)


def altered(**changes):
    """Return the manifest as JSON with other values; ... leaves a key out."""
    value = json.loads(manifest_bytes(MANIFEST)) | changes
    return json.dumps({key: entry for key, entry in value.items() if entry is not ...})


def altered_shard(**changes):
    shard = json.loads(altered())["splits"]["train"][0] | changes
    return altered(splits={"train": [{key: entry for key, entry in shard.items() if entry is not ...}]})


def test_what_is_written_is_what_is_read(tmp_path):
    write_manifest(MANIFEST, tmp_path)
    content = (tmp_path / "manifest.json").read_bytes()
    assert read_manifest(content, "here") == read_manifest(content.decode(), "here") == MANIFEST
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.json"]


def test_shards_have_the_names_of_the_hub():
    assert shard_name("train", 3, 12) == "train-00003-of-00012.parquet"


@pytest.mark.parametrize(("name", "fits"), [("train", True), ("größe.v2", True), ("a-b", False), ("..", False)])
def test_names_of_splits_are_those_that_the_hub_takes(name, fits):
    assert is_split_name(name) is fits


def test_a_split_that_is_not_there_gets_the_nearest():
    assert MANIFEST.shards("train", "here") == (SHARD,)
    with pytest.raises(DataError, match=r"^here: there is no split 'trian'\. Did you mean 'train'\?"):
        MANIFEST.shards("trian", "here")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"not a manifest in JSON"),
        (b"\xff{}", r"not a manifest in JSON"),
        ("[" * 100_000, r"not a manifest in JSON"),
        ('{"rows": ' + "9" * 10_000 + "}", r"not a manifest in JSON"),
        ('{"task": 1, "task": 1}', r"not a manifest in JSON \(task comes twice\)"),
        ("[]", r"must be an object with format_version, .*, got list"),
        (altered(format_version=2), r"format_version is 2, and this ccnet-data reads up to 1; update it"),
        (altered(format_version=0), r"format_version must be a whole number"),
        (altered(format_version=True), r"format_version must be a whole number"),
        (altered(encodings="png"), r"unknown key 'encodings'\. Did you mean 'encoding'\?"),
        (altered(task=..., palette=...), r"task, palette is missing"),
        (altered(dataset=""), r"dataset must be a text"),
        (altered(encoding="gif"), r"encoding must be one of raw, png, jpeg, got 'gif'"),
        (altered(quality=90), r"quality must be a number for jpeg and null for the others"),
        (altered(encoding="jpeg"), r"quality must be a number for jpeg and null for the others"),
        (altered(encoding="jpeg", quality=101), r"quality must be a whole number from 1 to 100"),
        (altered(task="edges"), r"task must be one of segmentation, video, instances"),
        (altered(classes=["a", "a"]), r"classes must be different names"),
        (altered(palette=[[1, 2, 3]]), r"palette has 1 colours for 2 classes"),
        (altered(palette=[[1, 2, 3], [1, 2, 256]]), r"palette must be a whole number from 0 to 255"),
        (altered(ignore_index=0), r"ignore_index must be"),
        (altered(flip_pairs=[[0, 2]]), r"flip_pairs must name classes 0 to 1"),
        (altered(splits={}), r"splits must be an object with the shards of each split"),
        (altered(splits={"a/b": []}), r"splits must have names of letters"),
        (altered(splits={"train": []}), r"splits 'train' must be a list of shards"),
        (altered(splits={"train": [1]}), r"splits 'train', shard 0: must be an object with file, rows"),
        (altered_shard(rows=-1), r"splits 'train', shard 0: rows must be a whole number from 1"),
        (altered_shard(bytes=1.5), r"splits 'train', shard 0: bytes must be a whole number"),
        (altered_shard(bytes=...), r"splits 'train', shard 0: bytes is missing"),
        (altered_shard(size=1), r"splits 'train', shard 0: unknown key 'size'"),
        (altered_shard(sha256="A" * 64), r"shard 0: sha256 must be 64 hexadecimal digits"),
    ],
)
def test_what_is_wrong_is_an_error_with_file_and_key(text, message):
    with pytest.raises(DataError, match=rf"^OUT/manifest\.json: .*{message}"):
        read_manifest(text, "OUT/manifest.json")


@pytest.mark.parametrize(
    "name",
    [
        "../train-00000-of-00001.parquet",
        "..\\train-00000-of-00001.parquet",
        "/etc/passwd",
        "..",
        "a/train-00000-of-00001.parquet",
        "C:train-00000-of-00001.parquet",
        "train-00000-of-00001.parquet\n",
        "train-00000-of-00001.parquet\0",
        "%2e%2e%2ftrain-00000-of-00001.parquet",
        "manifest.json",
        "",
        None,
    ],
)
def test_a_file_name_leads_nowhere_else(name):
    with pytest.raises(DataError, match=r"^here: splits .train., shard 0: file must be a name such as"):
        read_manifest(altered_shard(file=name), "here")


def test_two_shards_of_one_file_are_refused():
    shard = json.loads(altered())["splits"]["train"][0]
    with pytest.raises(DataError, match=r"splits name train-00000-of-00001\.parquet more than once"):
        read_manifest(altered(splits={"train": [shard], "val": [shard]}), "here")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(st.sampled_from(sorted(json.loads(manifest_bytes(MANIFEST)))), VALUES)
def test_any_value_of_any_key_is_read_or_refused(key, value):
    try:
        assert read_manifest(altered(**{key: value}), "here") is not None
    except DataError as error:
        assert str(error).startswith("here: ")  # noqa: PT017


@given(st.binary(max_size=200), st.integers(0, len(manifest_bytes(MANIFEST))))
def test_damaged_bytes_are_refused(noise, place):
    content = manifest_bytes(MANIFEST)
    for damaged in (noise, content[:place], content[:place] + noise + content[place:]):
        try:
            read_manifest(damaged, "here")
        except DataError as error:
            assert str(error).startswith("here: ")  # noqa: PT017
