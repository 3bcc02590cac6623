from importlib.metadata import EntryPoint

import pytest

from ccnet_train import TrainError, datasets
from ccnet_train.datasets import check_data, find_provider, load_augmentation, load_split


@pytest.fixture
def install(squares, monkeypatch):
    """Make `values` (module:attribute) the only installed providers."""

    def entry_points(*values):
        found = [EntryPoint("some-data", value, datasets.ENTRY_POINT_GROUP) for value in values]
        monkeypatch.setattr(datasets, "entry_points", lambda group: found if group == "ccnet.datasets" else [])

    return entry_points


def test_a_provider_of_an_installed_distribution_is_found(squares):
    assert find_provider("squares").name == "fake-data"


def test_without_a_dataset_package_the_error_says_how_to_install_one(install):
    install()
    with pytest.raises(TrainError, match=r"No dataset package.*pip install --upgrade \"ccnet-train\[data\]\""):
        find_provider("squares")


def test_an_unknown_dataset_names_the_nearest(install):
    install("fake_data:provider")
    with pytest.raises(TrainError, match=r"no dataset 'sqares'.*'squares'"):
        find_provider("sqares")


def test_another_interface_version_names_both_versions_and_the_command(install, monkeypatch):
    import fake_data

    monkeypatch.setattr(fake_data.Provider, "api_version", 2)
    install("fake_data:provider")
    with pytest.raises(TrainError, match=r"1\.0 speaks version 2 .* trainer speaks version 1.*pip install --upgrade"):
        find_provider("squares")


def test_a_package_that_fails_to_import_is_named_with_its_error(install):
    install("no_such_module:provider")
    with pytest.raises(TrainError, match=r"no_such_module.*ModuleNotFoundError.*pip install --upgrade"):
        find_provider("squares")


def test_a_broken_package_does_not_hide_one_that_works(install):
    install("no_such_module:provider", "fake_data:provider")
    assert find_provider("squares").name == "fake-data"


def test_options_of_both_splits_reach_the_provider(squares):
    data = squares("data.options.size=40", "data.train.length=3", "data.val.length=2").data
    train, val = load_split(data, "train"), load_split(data, "val")
    assert (len(train), len(val)) == (3, 2)
    assert train[0]["label"].shape == val[0]["label"].shape == (40, 40)


def test_all_faults_of_both_splits_come_at_once_and_each_only_once(squares):
    data = squares("data.options.a=1", "data.train.b=1", "data.val.c=1").data
    with pytest.raises(
        TrainError, match=r"'squares': Unknown option 'a'\. .*'b'\. .*'c'\. \(The recipe's keys: data\.root"
    ) as raised:
        check_data(data)
    assert str(raised.value).count("'a'") == 1


def test_a_providers_error_keeps_its_remedy(squares):
    with pytest.raises(TrainError, match=r"split 'train': there is no folder 'missing'. Download it first."):
        load_split(squares("data.root=missing").data, "train")


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_picture_that_cannot_be_read_names_the_split(squares, split):
    dataset = load_split(squares(f"data.{split}.broken=2").data, split)
    assert dataset[1]["id"] == f"{split}-1"
    with pytest.raises(TrainError, match=f"dataset 'squares', split '{split}': 2.png: not a readable picture; fetch"):
        dataset[2]


def test_an_order_that_a_dataset_offers_is_passed_on(squares, monkeypatch):
    assert not hasattr(load_split(squares().data, "train"), "order")
    monkeypatch.setattr("fake_data.Squares.order", lambda squares, seed: (squares.split, seed), raising=False)
    assert load_split(squares().data, "train").order(3) == ("train", 3)


def test_an_empty_split_is_refused(squares):
    with pytest.raises(TrainError, match=r"split 'val': it holds no pictures. Check data.root"):
        load_split(squares("data.val.length=0").data, "val")


def test_a_dataset_for_another_task_is_refused(squares, monkeypatch):
    monkeypatch.setattr("fake_data.Squares.task", "depth")
    with pytest.raises(TrainError, match=r"split 'train': its task is 'depth', and this trainer trains segment"):
        load_split(squares().data, "train")


def test_an_error_of_the_augmentation_names_the_sample(squares):
    data = squares().data
    train = load_split(data, "train")
    augment = load_augmentation(data, {"flip": 0.5, "smallest": 64}, train)
    with pytest.raises(TrainError, match="augment, sample 'train-0': the picture is too small; lower"):
        augment(train[0], None)


def test_a_wrong_augmentation_is_refused(squares):
    data = squares().data
    with pytest.raises(TrainError, match="augment: unknown key"):
        load_augmentation(data, {"flop": 1}, load_split(data, "train"))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (None, None),
        ({"flip": 1}, {"flip": 1, "flip_pairs": ((1, 2),)}),
        ({"flip": 1, "flip_pairs": []}, {"flip": 1, "flip_pairs": []}),
    ],
)
def test_classes_that_a_mirror_image_swaps_reach_the_augmentation(squares, monkeypatch, spec, expected):
    data = squares().data
    provider = find_provider("squares")
    monkeypatch.setattr(type(provider), "augmentation", lambda self, spec: seen.append(spec))
    monkeypatch.setattr("fake_data.Squares.flip_pairs", ((1, 2),))
    seen = []
    load_augmentation(data, spec, load_split(data, "train"))
    assert seen == [expected]
