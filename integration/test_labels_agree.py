"""Core and data tell the same classes and colours of a dataset, though neither imports the other."""

import pytest

from ccnet_core import list_models
from ccnet_core.zoo import load_config
from ccnet_data.registry import SOURCES

PUBLISHED = [config for config in map(load_config, list_models()) if config.published is not None]


@pytest.mark.parametrize("dataset", sorted({config.published.dataset for config in PUBLISHED}))
def test_published_models_have_the_classes_and_colours_of_their_dataset(dataset):
    known = SOURCES[dataset].description
    configs = [config for config in PUBLISHED if config.published.dataset == dataset]
    assert {tuple(config.classes) for config in configs} == {known.classes}
    assert {tuple(map(tuple, config.palette)) for config in configs} == {known.palette}
