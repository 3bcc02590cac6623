import pytest

from ccnet_train import RecipeError
from ccnet_train.recipe_text import flat, override, parse


def test_a_repeated_key_is_refused_instead_of_dropping_the_first():
    with pytest.raises(RecipeError, match="line 2: repeated key lr"):
        parse("optimiser:\n  lr: 1\n  lr: 2\n", "mine.yaml")


def test_bad_yaml_names_the_file():
    with pytest.raises(RecipeError, match=r"mine\.yaml: not valid YAML"):
        parse("a: [1", "mine.yaml")


def test_an_override_makes_the_sections_it_needs():
    mapping = {"augment": None}
    override(mapping, "augment.flip=0.5")
    override(mapping, "data.train.length=3")
    assert mapping == {"augment": {"flip": 0.5}, "data": {"train": {"length": 3}}}


def test_flat_keys_are_those_of_overrides():
    mapping = {"augment": {"flip": 0.5, "crop": [1, 2]}, "name": "a", "data": {"train": {"length": 3, "more": {}}}}
    assert flat(mapping) == {"augment.flip": 0.5, "augment.crop": [1, 2], "name": "a", "data.train.length": 3}


@pytest.mark.parametrize("text", ["fresh", "=3", ""])
def test_a_word_that_is_no_override_is_refused(text):
    with pytest.raises(RecipeError, match=r"is not an override. Write key=value"):
        override({}, text)


def test_a_value_cannot_be_given_keys():
    with pytest.raises(RecipeError, match="'seed' holds the value 3, not keys"):
        override({"seed": 3}, "seed.train=1")


def test_a_value_that_is_no_yaml_is_one_line():
    for text in ("seed=[1", "seed=2024-13-45", "seed=a\x00b"):
        with pytest.raises(RecipeError, match="not valid YAML") as raised:
            override({}, text)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", ["/tmp/my run #2", "[a", "007", "a: b", " x "])
def test_the_value_of_a_key_that_holds_text_is_taken_as_it_stands(value):
    mapping = {}
    override(mapping, f"data.root={value}", {"data.root"})
    assert mapping == {"data": {"root": value}}


@pytest.mark.parametrize("value", ["null", ""])
def test_a_key_that_holds_text_can_be_emptied(value):
    mapping = {"data": {"root": "x"}}
    override(mapping, f"data.root={value}", {"data.root"})
    assert mapping == {"data": {"root": None}}
