import dataclasses
import functools

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import ccnet_core as ccnet
from ccnet_core import zoo
from ccnet_core.config import ParsingConfig
from ccnet_core.convert import attention_state_dict
from ccnet_core.transplant import transplant
from ccnet_core.zoo import load_config

SAVE = {
    "zip": torch.save,
    "legacy": functools.partial(torch.save, _use_new_zipfile_serialization=False),
    "safetensors": lambda saved, path: save_file(saved.get("state_dict", saved), path),
}
PALETTE = [[10 * label, 0, 0] for label in range(4)]


@pytest.fixture(params=SAVE)
def save(request, tmp_path):
    def write(saved):
        SAVE[request.param](saved, tmp_path / "file.pth")
        return tmp_path / "file.pth"

    return write


@pytest.fixture
def published(tiny, mmseg_state, tmp_path):
    """A file of the form of June 2020, for the four classes of `tiny`."""
    meta = {"CLASSES": ("road", "car", "tree", "sky"), "PALETTE": PALETTE}
    SAVE["legacy"]({"state_dict": mmseg_state(tiny), "meta": meta}, tmp_path / "published.pth")
    return tmp_path / "published.pth"


def test_model_gives_the_answers_of_the_file(tiny, mmseg_state, save, picture):
    model = ccnet.convert_checkpoint(save({"state_dict": mmseg_state(tiny)}), model="ccnet_tiny")
    assert not model.training
    expected = ccnet.predict(tiny, picture, scores=True).scores
    np.testing.assert_array_equal(ccnet.predict(model, picture, scores=True).scores, expected)


def test_our_own_state_dict_converts_too(tiny, save):
    model = ccnet.convert_checkpoint(save(tiny.state_dict()), model="ccnet_tiny", layout="ccnet")
    assert torch.equal(model.head.fuse.conv.weight, tiny.head.fuse.conv.weight)


def test_state_dict_of_a_network_for_parsing_says_how_many_classes_it_has(save, monkeypatch):
    config = dataclasses.replace(load_config("ccnet_small_ce2p"), parsing=ParsingConfig(channels=8, detail_channels=4))
    monkeypatch.setattr(zoo, "load_config", lambda name: config)
    network = ccnet.CCNet.from_config(config, num_classes=4)
    model = ccnet.convert_checkpoint(save(network.state_dict()), model="ccnet_small_ce2p")
    assert model.config.num_classes == 4
    assert torch.equal(model.head.classify_first.conv.weight, network.head.classify_first.conv.weight)


def test_what_became_of_the_tensors_is_said(published, tmp_path):
    done = transplant(published, ccnet.CCNet, model="ccnet_tiny")
    assert (done.layout, done.mapped, done.dropped) == ("mmseg", 63, {})


def test_converted_model_survives_saving(published, tmp_path):
    model = ccnet.convert_checkpoint(published, model="ccnet_tiny")
    model.save_pretrained(tmp_path / "weights")
    again = ccnet.CCNet.from_pretrained(tmp_path / "weights")
    assert again.config == model.config
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_classes_of_the_file_win(published, caplog):
    config = ccnet.convert_checkpoint(published, model="ccnet_tiny").config
    assert config.classes == ("road", "car", "tree", "sky")
    assert [list(colour) for colour in config.palette] == PALETTE
    assert caplog.text == ""


@pytest.mark.parametrize("meta", [{}, {"CLASSES": ("road", "car")}, {"CLASSES": 7, "PALETTE": [[0, 0, 0]]}])
def test_number_of_classes_wins_where_the_names_do_not_fit(tiny, mmseg_state, tmp_path, caplog, meta):
    torch.save({"state_dict": mmseg_state(tiny), "meta": meta}, tmp_path / "file.pth")
    config = ccnet.convert_checkpoint(tmp_path / "file.pth", model="ccnet_tiny").config
    assert config.classes == ("class 0", "class 1", "class 2", "class 3")
    assert "file.pth: has 4 classes and does not name them" in caplog.text


def test_names_of_the_model_stay_where_their_number_fits(mmseg_state, tmp_path, caplog):
    model = ccnet.CCNet.from_config("ccnet_tiny")
    torch.save(mmseg_state(model), tmp_path / "file.pth")
    assert ccnet.convert_checkpoint(tmp_path / "file.pth", model="ccnet_tiny").config == model.config
    assert caplog.text == ""


def test_a_file_may_have_been_trained_further_and_claims_no_published_figures(mmseg_state, tmp_path, monkeypatch):
    figures = load_config("ccnet_r101-d8_authors").published
    published = dataclasses.replace(load_config("ccnet_tiny"), published=figures)
    monkeypatch.setattr(zoo, "load_config", lambda name: published)
    torch.save(mmseg_state(ccnet.CCNet(published)), tmp_path / "file.pth")
    assert ccnet.convert_checkpoint(tmp_path / "file.pth", model="ccnet_tiny").config.published is None


def test_backbone_alone_leaves_the_heads_at_random_and_says_so(tiny, tmp_path, caplog):
    state = {**tiny.backbone.state_dict(), "fc.weight": torch.zeros(10, 64)}
    torch.save(state, tmp_path / "file.pth")
    done = transplant(tmp_path / "file.pth", ccnet.CCNet, model="ccnet_tiny")
    assert (done.layout, done.mapped, done.dropped) == ("mmseg-backbone", 36, {"fc.weight": "the ImageNet classifier"})
    assert torch.equal(done.model.backbone.stem[0].weight, tiny.backbone.stem[0].weight)
    assert "holds a backbone only: the heads of ccnet_tiny start at random" in caplog.text


@pytest.mark.parametrize(
    "shape", [(), (11,), (0, 64, 1, 1), (20_000_000,), (20_000_000, 1), (4, 64), (4, 63, 1, 1), (4, 64, 3, 3)]
)
def test_classifier_of_another_network_is_refused_and_asks_for_no_memory(
    tiny, mmseg_state, tmp_path, caplog, little_memory, shape
):
    state = {**mmseg_state(tiny), "decode_head.conv_seg.weight": torch.zeros(shape, dtype=torch.float16)}
    save_file(state, tmp_path / "file.safetensors")
    with pytest.raises(ccnet.WeightsError, match=r"file\.safetensors: .*'decode_head\.conv_seg\.\w+' is \("):
        ccnet.convert_checkpoint(tmp_path / "file.safetensors", model="ccnet_tiny")
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "ccnet_tinny"}, ccnet.ConfigError, "There is no model 'ccnet_tinny'. Did you mean 'ccnet_tiny'"),
        ({"model": "ccnet_tiny", "layout": "mmesg"}, ccnet.ConfigError, "There is no layout 'mmesg'"),
        ({"model": "ccnet_tiny", "layout": "official"}, ccnet.WeightsError, "not of the layout 'official'"),
        (
            {"model": "ccnet_small"},
            ccnet.WeightsError,
            r"published\.pth: \d+ of its 63 tensors match ccnet_small, .*the first that does not: "
            r"'backbone\.stem\.0\.weight' .* Its backbone is that of ccnet_tiny\.",
        ),
    ],
)
def test_wrong_argument_is_named(published, arguments, error, message):
    with pytest.raises(error, match=message):
        ccnet.convert_checkpoint(published, **arguments)


def test_attention_module_of_mmcv_has_our_names():
    module = ccnet.CrissCrossAttention(16, gamma=0.3)
    theirs = {**module.state_dict(), "gamma.scale": torch.tensor(0.3)}
    del theirs["gamma"]
    other = ccnet.CrissCrossAttention(16)
    other.load_state_dict(attention_state_dict(theirs))
    x = torch.randn(1, 16, 5, 6)
    assert torch.equal(other(x), module(x))
    assert attention_state_dict(module.state_dict()).keys() == module.state_dict().keys()
