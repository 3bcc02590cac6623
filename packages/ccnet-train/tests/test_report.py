import json
import re
from html.parser import HTMLParser
from importlib.metadata import version

import numpy as np
import pytest

from ccnet_core.config import InferencePlan
from ccnet_train.bootstrap import intervals
from ccnet_train.datasets import load_split
from ccnet_train.report import page, plan_text, write_report
from ccnet_train.run_folder import RunFolder

PALETTE = ((1, 2, 3), (250, 0, 0), (0, 250, 0), (0, 0, 250))
HOSTILE = "<script>alert(1)</script>"


class Reader(HTMLParser):
    """Collects texts and attributes, and fails for a tag that is not closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.texts, self.attributes, self.tags = [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.extend((tag, *pair) for pair in attributes)
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())


@pytest.fixture
def evaluation(evaluation_of):
    matrices = np.random.default_rng(0).integers(0, 50, (12, 4, 4)) + 200 * np.eye(4, dtype=np.int64)
    matrices[:, 3] = matrices[:, :, 3] = 0
    return evaluation_of(("road", "car", HOSTILE, "absent"), matrices)


@pytest.fixture
def html_of(make_subject):
    def make(evaluation, *, weights="<best>", records=(), **subject):
        described = make_subject(weights=weights, classes=evaluation.classes, palette=PALETTE, **subject)
        return page(evaluation, described, records=records)

    return make


@pytest.fixture
def read(html_of):
    return lambda evaluation, **more: Reader(html_of(evaluation, **more))


def test_scores_stand_with_their_intervals(evaluation, read):
    texts = read(evaluation).texts
    found = intervals(evaluation.counts)
    for name, score, interval in (
        ("mIoU", evaluation.scores.miou, found.miou),
        ("mAcc", evaluation.scores.macc, found.macc),
        ("aAcc", evaluation.scores.aacc, found.aacc),
    ):
        place = texts.index(name)
        shown = [text for text in texts[place : place + 6] if text]
        assert shown[1:3] == [f"{100 * score:.2f} %", f"{100 * interval.low:.2f} to {100 * interval.high:.2f}"]


def test_each_class_has_a_row_with_a_bar(evaluation, read):
    reader = read(evaluation)
    place = reader.texts.index("car")
    iou, accuracy = evaluation.scores.iou[1], evaluation.scores.accuracy[1]
    share = evaluation.confusion[1].sum() / evaluation.confusion.sum()
    low, high = (f"{100 * end:.1f}" for end in vars(intervals(evaluation.counts).iou[1]).values())
    shown = [text for text in reader.texts[place : place + 20] if text]
    assert shown[:6] == [
        "car",
        f"{100 * iou:.1f}",
        f"{low} to {high}",
        f"{100 * accuracy:.1f}",
        f"{100 * share:.2f}",
        "12",
    ]
    styles = [value for _, name, value in reader.attributes if name == "style"]
    assert f"--value: {100 * iou:.1f}%" in styles
    assert f"--low: {low}%; --high: {high}%" in styles
    assert "--colour: rgb(250, 0, 0)" in styles


def test_an_absent_class_has_dashes_and_no_bar(evaluation, read):
    reader = read(evaluation)
    place = reader.texts.index("absent")
    assert [text for text in reader.texts[place:] if text][1:6] == ["-", "-", "-", "0.00", "0"]
    assert sum("--value" in value for _, name, value in reader.attributes if name == "style") == 3


def test_names_from_outside_are_text(evaluation, read):
    reader = read(evaluation, weights="a & <b>\n\ud800", options={"note": HOSTILE})
    assert HOSTILE in reader.texts
    assert "Evaluation of a & <b>" in reader.texts
    assert "script" not in reader.tags


def test_nothing_is_asked_of_any_other_place(evaluation, html_of):
    html = html_of(evaluation, records=[{"step": 1, "loss": 2.0, "lr": 0.1}])
    reader = Reader(html)
    sources = [value for _, name, value in reader.attributes if name in ("src", "href", "srcset", "action")]
    assert sources
    assert all(value.startswith("data:") for value in sources)
    assert not re.search(r"url\(|@import|https?:", html)
    policy = next(value for tag, name, value in reader.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_every_picture_says_what_it_shows(evaluation, read):
    reader = read(evaluation, records=[{"step": 1, "loss": 2.0, "lr": 0.1}])
    alternatives = [value for tag, name, value in reader.attributes if tag == "img" and name == "alt"]
    assert len(alternatives) == reader.tags.count("img") == 3
    assert all(alternatives)


def test_curves_are_those_that_the_run_has(evaluation, read):
    assert "Training" not in read(evaluation).texts
    reader = read(evaluation, records=[{"step": 1, "miou": 0.5}])
    assert "Training" in reader.texts
    curves = [value for tag, name, value in reader.attributes if (tag, name) == ("img", "alt") and "Curve" in value]
    assert curves == ["Curve: mIoU (%) against the training step"]


def test_what_was_measured_and_with_which_versions(evaluation, read):
    plan = InferencePlan(mode="slide", crop=(3, 4), stride=(1, 2))
    texts = read(evaluation, pictures=12, options={"length": 5, "classes": [1]}, plan=plan, precision="bf16").texts
    assert "<best> (ccnet_tiny; SHA-256 of the tensors 0123456789ab)" in texts
    assert "squares, split val, 12 pictures, length=5" in texts
    assert "sliding window 3 x 4, step 1 x 2" in texts
    assert "bf16" in texts
    assert any(f"ccnet-train {version('ccnet-train')}" in text for text in texts)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({}, "whole picture"),
        ({"scales": (0.5, 1.0), "flip": True}, "whole picture; scales 0.5, 1.0; mirror images"),
        ({"base_scale": (2048, 1024), "resize": "plan"}, "whole picture; fitted to 2048 x 1024 first"),
        ({"base_scale": (2048, 1024)}, "whole picture"),
        ({"mode": "fit", "crop": (473, 384), "flip": True}, "whole picture fitted into 473 x 384; mirror images"),
    ],
)
def test_a_plan_in_words(plan, words):
    assert plan_text(InferencePlan(**plan)) == words


def test_a_report_of_a_split_shows_its_best_and_worst_pictures(squares, tmp_path, evaluation_of, make_subject):
    dataset = load_split(squares("data.val.length=5").data, "val")
    matrices = [np.eye(3, dtype=np.int64) * 100] * 5
    matrices[2] = np.full((3, 3), 50)
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 2.0, "lr": 0.1}) + "\n")
    path = tmp_path / "report.html"
    write_report(
        path,
        evaluation_of(dataset.classes, matrices),
        make_subject(),
        dataset=dataset,
        predict=lambda sample: np.zeros_like(sample["label"]),
        run=RunFolder(tmp_path),
    )
    reader = Reader(path.read_text("utf-8"))
    place = reader.texts.index("Worst pictures")
    assert next(text for text in reader.texts[place:] if text.endswith(".png")) == "2.png"
    assert reader.texts.count("errors") == 5
    assert "Curve: loss against the training step" in [value for *_, value in reader.attributes]
