from types import SimpleNamespace

import pytest

from ccnet_data.errors import DataError
from ccnet_data.layouts.categories import CATEGORIES, CLASSES, own_classes, published_classes


def file_with(categories, examples=()):
    return SimpleNamespace(file="a.json", categories=dict(categories), examples=dict(examples))


def test_there_are_80_classes_whose_ids_have_gaps():
    assert (len(CLASSES), len(set(CLASSES))) == (80, 80)
    gaps = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    assert list(CATEGORIES) == [number for number in range(1, 91) if number not in gaps]
    named = {1: "person", 11: "fire hydrant", 13: "stop sign", 44: "bottle", 67: "dining table", 90: "toothbrush"}
    assert {number: CATEGORIES[number] for number in named} == named


def test_the_published_categories_have_their_positions():
    mapped = published_classes(file_with(CATEGORIES))
    assert mapped.positions == dict(zip(CATEGORIES, range(80), strict=True))
    assert (mapped.classes, mapped.faults) == (CLASSES, ())


@pytest.mark.parametrize("category", [(91, "pallet"), (1, "bicycle")])
def test_other_categories_than_the_published_ones_are_faults(category):
    mapped = published_classes(file_with([category]))
    (fault,) = mapped.faults
    assert fault.startswith(f"a.json: category {category[0]}, '{category[1]}', is none of the 80 of COCO; give classes")
    assert category[0] not in mapped.positions


def test_categories_of_ones_own_are_classes_in_the_order_of_their_ids():
    mapped = own_classes(file_with([(7, "dog"), (3, "cat")]), None)
    assert mapped == (("cat", "dog"), {3: 0, 7: 1}, ())


def test_names_choose_and_order_the_classes():
    mapped = own_classes(file_with([(0, "animals"), (7, "dog"), (3, "cat"), (4, "cat")], [(7, 11)]), ("dog", "cat"))
    assert mapped == (("dog", "cat"), {7: 0, 3: 1, 4: 1}, ())


def test_a_class_that_only_another_split_has_is_no_fault():
    assert own_classes(file_with([(3, "cat")]), ("dog", "cat")).faults == ()


def test_a_category_with_annotations_that_was_not_named_is_a_fault():
    (fault,) = own_classes(file_with([(3, "cat"), (7, "dog")], [(3, 10), (7, 11)]), ("cat", "dgo")).faults
    assert fault == (
        "a.json: annotation 11 is of category 7, 'dog', which is not in classes. Did you mean 'dgo'? "
        "Add it there, or remove its annotations."
    )


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([(1, "cat"), (2, "cat")], r"a\.json: categories must be different names, but cat comes .* Or give classes"),
        ([], "must hold 1 to 255 names, got 0"),
        ([(number, str(number)) for number in range(256)], "must hold 1 to 255 names, got 256"),
    ],
)
def test_categories_that_cannot_all_be_classes_are_refused(categories, message):
    with pytest.raises(DataError, match=message):
        own_classes(file_with(categories), None)
