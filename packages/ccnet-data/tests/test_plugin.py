import pickle
from importlib.metadata import entry_points, version

import numpy as np
import pytest

from ccnet_data.augment import TrainAugment
from ccnet_data.errors import DataError
from ccnet_data.instances import InstanceAugment
from ccnet_data.testing import check_dataset
from ccnet_data.warp import WarpAugment


@pytest.fixture
def provider():
    """What a trainer finds: the entry point, not the import."""
    (found,) = (entry for entry in entry_points(group="ccnet.datasets") if entry.name == "ccnet-data")
    return found.load()


def test_the_provider_tells_who_it_is(provider):
    assert (provider.name, provider.version, provider.api_version) == ("ccnet-data", version("ccnet-data"), 1)


def test_a_trainer_can_check_load_and_augment(provider):
    assert "beacon" in provider.datasets()
    assert provider.check("beacon", {"length": 5}) == []
    dataset = provider.load("beacon", "train", length=5)
    check_dataset(dataset)
    augment = provider.augmentation({"crop": [32, 48]})
    assert augment(dataset[0], np.random.default_rng(0))["image"].shape == (3, 32, 48)


def test_check_reports_instead_of_raising(provider):
    assert provider.check("beacon", {"lenght": 5}) == ["Unknown option 'lenght'. Did you mean 'length'?"]


def test_augmentation_is_the_train_augment_of_the_spec(provider):
    assert provider.augmentation({"crop": [8, 8], "flip": 0}) == TrainAugment(crop=(8, 8), flip=0)


def test_the_kind_of_augmentation_is_chosen_by_the_spec(provider):
    spec = {"kind": "warp", "size": [9, 8], "flip_pairs": [[1, 2]]}
    assert provider.augmentation(spec) == WarpAugment(size=(9, 8), flip_pairs=((1, 2),))
    assert provider.augmentation({"kind": "crop", "crop": [9, 8]}) == TrainAugment(crop=(9, 8))
    assert provider.augmentation({"kind": "instances", "short_edge": 8}) == InstanceAugment(short_edge=(8,))
    assert spec["kind"] == "warp"


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [("wrap", "Did you mean 'warp'"), (None, "Known: crop, instances, warp"), ([], "Known: crop, instances, warp")],
)
def test_an_unknown_kind_of_augmentation_names_the_nearest(provider, kind, remedy):
    with pytest.raises(DataError, match=rf"There is no kind .* of augmentation\. {remedy}"):
        provider.augmentation({"kind": kind})


def test_no_augmentation_gives_the_sample_back(provider):
    sample = provider.load("beacon", "train")[0]
    assert provider.augmentation(None)(sample, np.random.default_rng(0)) is sample


@pytest.mark.parametrize("kind", ["crop", "warp"])
def test_objects_are_refused_by_the_augmentation_of_label_maps(provider, kind):
    sample = provider.load("shapes", "train")[0]
    with pytest.raises(DataError, match=r"Sample 'train-0-000000' has no label map; .* use kind: instances"):
        provider.augmentation({"kind": kind})(sample, np.random.default_rng(0))


@pytest.mark.parametrize("spec", [None, {"crop": [8, 8]}, {"kind": "warp"}, {"kind": "instances"}])
def test_augmentation_travels_to_other_processes(provider, spec):
    augment = provider.augmentation(spec)
    assert pickle.loads(pickle.dumps(augment)) == augment


def test_an_unknown_key_of_the_spec_names_the_nearest(provider):
    with pytest.raises(DataError, match=r"Unknown option 'flips'. Did you mean 'flip'"):
        provider.augmentation({"flips": 0.5})
