"""A Mask R-CNN to a Hub on the loopback interface and back, with the Hub's real client."""

import pytest
import torch

import ccnet_core as ccnet
from ccnet_train import detection

NAME = "org/shapes"

pytestmark = [
    pytest.mark.detection,
    # The client's own: its HTTP library wants large files in another argument.
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


@pytest.fixture
def pushed(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    model = detection.MaskRCNN.from_config("maskrcnn_tiny", classes=["circle", "square"]).eval()
    picture = torch.zeros(3, 64, 64, dtype=torch.uint8)
    address = model.push_to_hub(NAME, metrics={"mask_ap": 0.5}, datasets=["shapes"], license="mit", picture=picture)
    assert address.startswith(f"{hub.address}/{NAME}/commit/")
    return model


def test_a_pushed_network_comes_back_the_same(pushed, hub):
    loaded = detection.MaskRCNN.from_pretrained(NAME)
    assert loaded.config == pushed.config
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in pushed.state_dict().items())
    repository = hub.repositories[NAME]
    card = repository.commits[repository.refs["main"]]["README.md"].decode()
    assert f'MaskRCNN.from_pretrained("{NAME}")' in card


def test_without_the_hub_the_copy_in_the_cache_serves(pushed, hub):
    detection.MaskRCNN.from_pretrained(NAME)
    loaded = detection.MaskRCNN.from_pretrained(NAME, local_files_only=True, classes=["square"])
    assert loaded.config.classes == ("square",)


def test_ccnet_fetches_no_weights_of_such_a_repository(pushed, hub):
    hub.requests.clear()
    with pytest.raises(ccnet.WeightsError, match="holds a Mask R-CNN, which finds objects"):
        ccnet.CCNet.from_pretrained(NAME)
    assert not [request for request in hub.requests if "safetensors" in request.path]
