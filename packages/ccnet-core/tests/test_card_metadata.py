import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

import ccnet_core as ccnet
from ccnet_core.card_metadata import dataset_title, metadata, metric_title
from ccnet_core.zoo import load_config

TINY = load_config("ccnet_tiny")
FIGURES = {"miou": 0.5, "aacc": 0.75}


def written(metrics=FIGURES, datasets=("camvid",), license=None):
    return metadata(TINY, metrics, datasets, license)


def read(text):
    """Read metadata by the Hub's own class."""
    return ModelCard(f"---\n{text}---\ntext\n").data


def test_metadata_survives_the_hubs_own_class_without_a_change():
    text = written(datasets=("ade20k", "mine"), license="mit")
    assert read(text).to_dict() == yaml.safe_load(text)


def test_metadata_says_what_the_hub_lists_and_filters():
    fields = yaml.safe_load(written(datasets=("ade20k", "mine"), license="mit"))
    results = fields.pop("model-index")
    assert fields == {
        "library_name": "ccnet-core",
        "pipeline_tag": "image-segmentation",
        "tags": ["semantic-segmentation", "criss-cross-attention", "ccnet"],
        "license": "mit",
        "datasets": ["zhoubolei/scene_parse_150", "mine"],
    }
    result = {
        "task": {"type": "image-segmentation", "name": "Semantic segmentation"},
        "dataset": {"type": "zhoubolei/scene_parse_150", "name": "ADE20K"},
        "metrics": [
            {"type": "mean_iou", "value": 0.5, "name": "Mean IoU"},
            {"type": "overall_accuracy", "value": 0.75, "name": "Overall accuracy"},
        ],
    }
    assert results == [{"name": "ccnet_tiny", "results": [result]}]


def test_long_names_are_not_folded():
    text = written(datasets=["--- " * 100])
    assert "---\n" not in text
    assert read(text).datasets == [("--- " * 100).strip()]


def test_what_is_not_known_is_left_out():
    fields = yaml.safe_load(written(metrics={}, datasets=()))
    assert sorted(fields) == ["library_name", "pipeline_tag", "tags"]


def test_metrics_without_their_data_are_left_out():
    assert read(written(datasets=())).eval_results is None


def test_metrics_that_are_not_finite_are_left_out():
    assert read(written(metrics={"miou": float("nan"), "macc": float("inf")})).eval_results is None
    (result,) = read(written(metrics={"miou": float("nan"), "mine": np.float32(0.25)})).eval_results
    assert (result.metric_type, result.metric_value, result.metric_name) == ("mine", 0.25, "mine")


@pytest.mark.parametrize(
    "metrics", [{"miou": "high"}, {"miou": None}, {"miou": True}, {"miou": 10**400}, {1: 0.5}, ["miou"]]
)
def test_metrics_must_be_numbers_by_name(metrics):
    with pytest.raises(ccnet.ConfigError, match="metrics must be numbers by name, got"):
        written(metrics=metrics)


def test_percentages_are_refused_where_shares_are_meant():
    with pytest.raises(ccnet.ConfigError, match=r"metrics go from 0 to 1, got \{'miou': 50\.6\}: divide"):
        written(metrics={"miou": 50.6, "aacc": 0.9})
    with pytest.raises(ccnet.ConfigError, match=r"got \{'mask_ap': 36\.1\}"):
        written(metrics={"mask_ap": 36.1})
    written(metrics={"miou": 1.0, "seconds": 50.6})


@pytest.mark.parametrize("datasets", ["cityscapes", ["a", 3], None])
def test_datasets_must_be_names_in_a_list(datasets):
    with pytest.raises(ccnet.ConfigError, match="datasets must be names in a list, got"):
        written(datasets=datasets)


@pytest.mark.parametrize("license", ["MIT", "Apache 2.0", "mit\n---", ["mit"], ""])
def test_licence_must_be_an_identifier_of_the_hub(license):
    with pytest.raises(ccnet.ConfigError, match="license must be an identifier of the Hub"):
        written(license=license)


def test_titles_are_those_a_reader_knows_or_the_names_in_one_line():
    assert (dataset_title("voc12aug"), dataset_title("a\nb")) == ("Pascal VOC 2012 with the labels of SBD", "a b")
    assert (metric_title("macc"), metric_title("a\nb")) == ("Mean accuracy", "a b")
