"""Datasets of the Hub, read by the real client of `datasets` from a server on the loopback interface."""

import json
import os
import subprocess
import sys

import datasets
import numpy as np
import pytest

# The client reads the address of the Hub once, as it is imported.
PROGRAM = """
import json, sys
import ccnet_data

def answer(split, options):
    try:
        if split is None:
            return ccnet_data.check("parquet", options)
        return [int(sample["label"].max()) for sample in ccnet_data.load("parquet", split, **options)]
    except ccnet_data.DataError as error:
        return str(error)

print(json.dumps([answer(*question) for question in json.load(sys.stdin)]))
"""
NAMES = ["a", "b", "c", "d"]
QUESTIONS = {
    "check": (None, {"repo": "org/streets"}),
    "train": ("train", {"repo": "org/streets"}),
    "train again": ("train", {"repo": "org/streets", "revision": "main", "config": "default"}),
    "train streamed": ("train", {"repo": "org/streets", "streaming": True}),
    "val": ("val", {"repo": "org/streets"}),
    "test": ("test", {"repo": "org/streets"}),
    "configuration": ("train", {"repo": "org/streets", "config": "small"}),
    "revision": ("train", {"repo": "org/streets", "classes": NAMES, "revision": "v2"}),
    "files": ("train", {"repo": "org/files", "classes": NAMES}),
    "files streamed": ("train", {"repo": "org/files", "classes": NAMES, "streaming": True}),
    "no names": (None, {"repo": "org/files"}),
    "unknown": (None, {"repo": "org/street", "classes": NAMES}),
    "gated": (None, {"repo": "org/gated", "classes": NAMES}),
}


def write_parquet(folder, png):
    features = datasets.Features(pixel_values=datasets.Image(), label=datasets.Image())
    for split, count in (("train", 4), ("validation", 2)):
        rows = [
            {
                "pixel_values": {"bytes": png(np.full((4, 6, 3), number, np.uint8)), "path": None},
                "label": {"bytes": png(np.full((4, 6), number, np.uint8)), "path": None},
            }
            for number in range(count)
        ]
        file = folder / "data" / f"{split}-00000-of-00001.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_list(rows, features=features).to_parquet(file)
    (folder / "id2label.json").write_text(json.dumps(dict(enumerate(NAMES))), encoding="utf-8")


def write_files(folder, png):
    (folder / "train").mkdir(parents=True)
    lines = ["file_name,mask_file_name"]
    for number in range(3):
        (folder / "train" / f"{number}.png").write_bytes(png(np.full((4, 6, 3), number, np.uint8)))
        (folder / "train" / f"mask{number}.png").write_bytes(png(np.full((4, 6), number, np.uint8)))
        lines.append(f"{number}.png,mask{number}.png")
    (folder / "train" / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")


def encode(array):
    from io import BytesIO

    from PIL import Image

    stream = BytesIO()
    Image.fromarray(array).save(stream, format="PNG")
    return stream.getvalue()


def ask(questions, folder, **environment):
    (folder / "empty").mkdir(exist_ok=True)
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(list(questions.values())),
        capture_output=True,
        text=True,
        cwd=folder / "empty",
        env={**os.environ, "HF_HOME": str(folder / "home"), **environment},
        timeout=240,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return dict(zip(questions, json.loads(result.stdout), strict=True))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def answers(home, serve_hub):
    write_parquet(home / "hub" / "org" / "streets", encode)
    write_files(home / "hub" / "org" / "files", encode)
    with serve_hub(home / "hub") as address:
        return ask(QUESTIONS, home, HF_ENDPOINT=address)


def test_a_dataset_of_the_hub_is_found_with_its_class_names(answers):
    assert answers["check"] == []


def test_downloaded_and_streamed_samples_are_the_same(answers):
    assert answers["train"] == answers["train again"] == answers["train streamed"] == [0, 1, 2, 3]
    assert answers["val"] == [0, 1]


def test_pictures_in_files_of_their_own_are_fetched(answers):
    assert answers["files"] == answers["files streamed"] == [0, 1, 2]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("test", "org/streets: there is no split 'test'. Those there are: train, validation."),
        ("configuration", "org/streets: cannot be read (BuilderConfig 'small' not found. Available: ['default'])"),
        ("revision", "org/streets: cannot be read ("),
        ("no names", "org/files has no id2label.json that can be read ("),
        ("unknown", "Dataset 'org/street' doesn't exist on the Hub or cannot be accessed); check the name"),
        ("gated", "Dataset 'org/gated' is a gated dataset on the Hub. You must be authenticated to access it); check"),
    ],
)
def test_what_the_hub_refuses_is_told(answers, question, message):
    assert message in str(answers[question])


def test_offline_the_rows_come_from_the_cache_and_others_are_refused(answers, home):
    questions = {
        "cached": ("train", {"repo": "org/streets", "classes": NAMES}),
        "other": ("train", {"repo": "org/other", "classes": NAMES}),
    }
    offline = ask(questions, home, HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9")
    assert offline["cached"] == answers["train"]
    assert (
        "org/other: cannot be read (Couldn't reach 'org/other' on the Hub (OfflineModeIsEnabled))" in offline["other"]
    )
