import numpy as np
import pytest

import ccnet_core as ccnet
from ccnet_train import TrainError
from ccnet_train.datasets import load_split
from ccnet_train.recipe import ModelSection
from ccnet_train.tasks.segmentation import Segmentation


@pytest.fixture
def sample(squares):
    return load_split(squares().data, "val")[0]


def test_a_picture_is_trained_on_and_shown_as_it_is(sample):
    def augment(sample, generator):
        return sample

    assert Segmentation().training(augment, ccnet.CCNet.from_config("ccnet_tiny").config) is augment
    assert Segmentation().picture(sample) is sample["image"]


def test_a_picture_is_predicted_by_the_models_plan(sample):
    model = ccnet.CCNet.from_config("ccnet_tiny", num_classes=3)
    model.config = model.config.__class__(**{**vars(model.config), "inference": ccnet.InferencePlan(flip=True)})
    expected = ccnet.predict(model, sample["image"].transpose(1, 2, 0), flip=True).labels
    np.testing.assert_array_equal(Segmentation().predict(model, sample), expected)


def test_a_network_for_clips_is_refused(sample):
    config = ccnet.CCNet.from_config("ccnet_tiny", frames=3).config
    with pytest.raises(TrainError, match="takes clips of 3 frames, and the data are pictures"):
        Segmentation().require_fit(config, ModelSection(), [sample])
