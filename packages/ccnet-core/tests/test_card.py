import dataclasses
import random
import re

import numpy as np
import pytest
from huggingface_hub import ModelCard

from ccnet_core.card import model_card
from ccnet_core.config import InferencePlan
from ccnet_core.zoo import list_models, load_config

TINY = load_config("ccnet_tiny")
FIGURES = {"miou": 0.5, "aacc": 0.75}
HOSTILE = (
    "a|b",
    "key: value",
    "# heading",
    "---",
    "end\n---\n# not metadata",
    "`code`",
    "<img src=x onerror=alert(1)>",
    "[link](https://a.example)",
    "**bold** _it_ ~~no~~",
    "$$x$$",
    "back\\slash\\|",
    "&amp;",
    "道路 Straße",
    "tab\tand\x00nul",
    "line\u2028separator\x85",
    "!yes",
    "{{jinja}}",
    "",
    " ",
    "'\"",
    "---  " * 100,
)


def card(config=TINY, metrics=FIGURES, datasets=("camvid",), **options):
    return model_card(config, metrics=metrics, datasets=datasets, **options)


def parse(text):
    """Read a card as the Hub does: its own class, its own pattern of the metadata."""
    parsed = ModelCard(text)
    assert parsed.data.library_name == "ccnet-core"
    assert parsed.data.pipeline_tag == "image-segmentation"
    assert parsed.data.eval_results is None or parsed.data.model_name
    return parsed


def with_classes(names):
    return TINY.with_classes(classes=names)


def table(text, first_column):
    """Return the rows of the table that begins with `first_column`, by the rules of GitHub Flavored Markdown."""
    lines = text[text.index(f"| {first_column} |") :].split("\n\n")[0].strip().split("\n")[2:]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)(?:\\\\)*\|", line)] for line in lines]
    assert all(row[0] == row[-1] == "" for row in cells)
    return [row[1:-1] for row in cells]


def expected(name):
    return " ".join(re.sub(r"[\x00-\x1f]", " ", name).split()) or "unnamed"


def as_shown(markdown):
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown)


@pytest.mark.parametrize("name", list_models())
def test_card_of_every_model_of_the_zoo_is_read_by_the_hubs_own_class(name):
    config = load_config(name)
    dataset = "cityscapes" if config.published is None else config.published.dataset
    data = parse(card(config, datasets=(dataset,), license="apache-2.0")).data
    assert data.license == "apache-2.0"
    assert data.model_name == name
    assert [(result.metric_type, result.metric_value) for result in data.eval_results] == [
        ("mean_iou", 0.5),
        ("overall_accuracy", 0.75),
    ]


def test_card_without_metrics_says_so():
    assert "No metric was recorded." in card(metrics={})


def test_metrics_stand_in_a_table():
    expected = [["Mean IoU", "0.5000"], ["Overall accuracy", "0.7500"]]
    assert table(card(), "metric") == table(card(datasets=()), "metric") == expected


def test_card_says_on_which_data_its_metrics_were_measured():
    assert "Measured on CamVid, from 0 to 1." in card(datasets=("camvid", "coco"))
    assert r"Measured on my \*own\*, from 0 to 1." in card(datasets=("my *own*",))


def test_any_metric_and_number_stands_in_the_table():
    text = card(metrics={"miou": float("nan"), "f|1": np.float32(0.25)})
    assert table(text, "metric") == [["Mean IoU", "nan"], [r"f\|1", "0.2500"]]


def test_card_states_the_terms_of_known_data_and_asks_for_those_of_other_data():
    text = card(datasets=("cityscapes", "my *own*"))
    assert "- [Cityscapes](https://www.cityscapes-dataset.com). Registration required" in text
    assert r"- my \*own\*. State the terms of the data here" in text
    assert "state them here before you publish this folder" in card(datasets=())


def test_card_states_the_licence_or_that_there_is_none():
    assert "## Licence of the weights\n`mit`" in card(license="mit")
    assert "add `license:` to the lines at the top" in card()


def test_card_says_which_attention_the_network_has():
    non_local = dataclasses.replace(TINY, head=dataclasses.replace(TINY.head, attention="non_local"))
    assert "network with criss-cross attention (2 steps) for 19 classes" in card()
    assert "network with criss-cross attention (1 step) for" in card(TINY.with_recurrence(1))
    assert "network with non-local attention (2 steps) for" in card(non_local)
    assert "network without attention for" in card(TINY.with_recurrence(0))


def test_card_says_whose_head_a_network_for_parsing_has():
    assert "Its head is that of [CE2P](https://arxiv.org/abs/1809.05996)" in card(load_config("ccnet_small_ce2p"))
    assert "CE2P" not in card()


def test_card_says_how_a_picture_is_read_and_cut():
    text = card(load_config("ccnet_r50-d8_4xb2-40k_cityscapes-769x769"))
    assert "mean 123.675, 116.28, 103.53, standard deviation 58.395, 57.12, 57.375, in the order RGB" in text
    assert "Prediction slides windows of 769 x 769 pixels at a stride of 513 x 513 (height x width)." in text
    assert "fitted into 2049 x 1025 (long edge x short edge)" in text
    assert "Prediction sees the whole picture at once." in card()


def test_card_says_into_what_a_picture_is_fitted():
    text = card(dataclasses.replace(TINY, inference=InferencePlan(mode="fit", crop=(473, 384))))
    assert "Prediction fits the whole picture into 473 x 384 pixels (height x width), black around it." in text


def test_classes_that_a_mirror_image_exchanges_are_named():
    config = dataclasses.replace(with_classes(["left arm", "right arm", "face", "a|b"]), flip_pairs=((0, 1), (3, 2)))
    text = as_shown(card(config))
    assert "these classes change places: left arm and right arm; a|b and face." in text
    assert "change places" not in card()


def test_card_shows_how_to_load_the_model_by_its_name_on_the_hub():
    assert 'from_pretrained("this folder or its Hub name")' in card()
    assert 'from_pretrained("org/name")' in card(repository="org/name")


def test_card_says_what_its_picture_shows():
    assert "![The colours of the classes](picture.png)" in card()
    assert "![A picture, the prediction laid over it, and its classes](picture.png)" in card(has_picture=True)


def test_classes_stand_in_a_table_with_their_colours():
    config = TINY.with_classes(classes=["sky", "road"], palette=[[0, 10, 255], [1, 2, 3]])
    assert table(card(config), "label") == [["0", "sky", "`#000aff`"], ["1", "road", "`#010203`"]]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_name_of_a_model_class_or_dataset_breaks_neither_metadata_nor_table(name):
    config = dataclasses.replace(with_classes(["sky", name, "road"]), name=name)
    text = card(config, datasets=(name,))
    shown = expected(name)
    data = parse(text).data
    assert data.datasets == [shown]
    assert data.model_name == shown
    assert as_shown(table(text, "label")[1][1]) == shown
    body = parse(text).text
    assert as_shown(re.search(r"^# (.*)$", body, re.MULTILINE)[1]) == shown
    assert body.count("\n") == parse(card(with_classes(["a", "b", "c"]))).text.count("\n")
    text.encode()


def test_card_of_names_that_utf8_cannot_hold_can_be_written():
    card(datasets=["half \ud800 a pair"], metrics={"\udfff": 1}).encode()


def test_random_names_are_shown_as_they_are():
    letters = "ab_*|\\`[]()<>&#~$!:-{}'\" \n\t\r\x00\x85\u2028é道"
    chance = random.Random(0)
    names = {"".join(chance.choices(letters, k=chance.randrange(1, 9))) for _ in range(2000)}
    text = card(with_classes(sorted(names)))
    parse(text)
    rows = table(text, "label")
    for name, (_, cell, _) in zip(sorted(names), rows, strict=True):
        assert as_shown(cell) == expected(name)
