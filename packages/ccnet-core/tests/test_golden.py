"""The whole network against mmsegmentation 1.2.2, on its own weights and outputs."""

import json

import numpy as np
import pytest
import torch

import ccnet_core as ccnet

RENAMED = {
    "decode_head.convs.0.bn": "head.reduce.norm",
    "decode_head.convs.0.conv": "head.reduce.conv",
    "decode_head.convs.1.bn": "head.refine.norm",
    "decode_head.convs.1.conv": "head.refine.conv",
    "decode_head.cca.gamma.scale": "head.attention.cca.gamma",
    "decode_head.cca": "head.attention.cca",
    "decode_head.conv_cat.bn": "head.fuse.norm",
    "decode_head.conv_cat.conv": "head.fuse.conv",
    "decode_head.conv_seg": "head.classify.conv",
    "auxiliary_head.convs.0.bn": "auxiliary_head.reduce.norm",
    "auxiliary_head.convs.0.conv": "auxiliary_head.reduce.conv",
    "auxiliary_head.conv_seg": "auxiliary_head.classify.conv",
}


@pytest.fixture
def stored(golden):
    return np.load(golden / "mmseg_city512.npz")


@pytest.fixture
def pictures(fill):
    bgr = {"noise": fill.image_noise(129, 193), "struct": fill.image_struct(200, 264)}
    return {name: np.ascontiguousarray(picture[..., ::-1]) for name, picture in bgr.items()}


@pytest.fixture
def model(golden, fill):
    described = json.loads((golden / "mmseg_city512.json").read_text())
    state = fill.fill_state_dict({key: (shape, getattr(torch, dtype)) for key, shape, dtype in described["state_dict"]})
    model = ccnet.CCNet.from_config(described["config"])
    model.load_state_dict({our_name(key): tensor.reshape(our_shape(key, tensor)) for key, tensor in state.items()})
    assert sum(parameter.numel() for parameter in model.parameters()) == described["n_params"]
    return model.eval()


def our_name(key):
    for theirs, ours in RENAMED.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key


def our_shape(key, tensor):
    return (1,) if key.endswith("gamma.scale") else tensor.shape


@pytest.mark.parametrize("name", ["noise", "struct"])
def test_logits_of_both_heads(model, stored, pictures, name):
    image = torch.from_numpy(pictures[name]).permute(2, 0, 1)[None]
    with torch.no_grad():
        output = model(image)
    np.testing.assert_allclose(output.logits[0], stored[f"{name}/lowres_logits"].squeeze(), atol=1e-3)
    np.testing.assert_allclose(output.auxiliary_logits[0], stored[f"{name}/aux_lowres_logits"].squeeze(), atol=1e-3)


@pytest.mark.parametrize("name", ["noise", "struct"])
def test_whole_inference(model, stored, pictures, name):
    result = ccnet.predict(model, pictures[name], scores=True)
    np.testing.assert_allclose(result.scores[:, ::7, ::7], stored[f"{name}/whole_logits_s7"].squeeze(), atol=1e-3)
    assert (result.labels == stored[f"{name}/whole_pred"].squeeze()).mean() >= 0.999


@pytest.mark.parametrize("name", ["noise", "struct"])
def test_sliding_window_inference(model, stored, pictures, name):
    result = ccnet.predict(model, pictures[name], mode="slide", crop=(97, 129), stride=(65, 86), scores=True)
    prefix = f"{name}/slide97x129_65x86"
    np.testing.assert_allclose(result.scores[:, ::7, ::7], stored[f"{prefix}_logits_s7"].squeeze(), atol=1e-3)
    assert (result.labels == stored[f"{prefix}_pred"].squeeze()).mean() >= 0.999


@pytest.mark.parametrize("name", ["noise", "struct"])
def test_inference_on_a_picture_fitted_to_the_base_scale(model, stored, pictures, name):
    plan = ccnet.InferencePlan(base_scale=(340, 170), resize="plan")
    result = ccnet.predict(model, pictures[name], plan=plan, scores=True)
    np.testing.assert_allclose(result.scores[:, ::7, ::7], stored[f"{name}/resize_logits_s7"].squeeze(), atol=1e-3)
    assert (result.labels == stored[f"{name}/resize_pred"].squeeze()).mean() >= 0.999


def test_inference_at_six_scales_with_mirror_images(model, stored, fill):
    picture = np.ascontiguousarray(fill.image_struct(117, 150)[..., ::-1])
    result = ccnet.predict(model, picture, scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True, scores=True)
    np.testing.assert_allclose(result.scores[:, ::7, ::7], stored["struct/tta_prob_s7"].squeeze(), atol=1e-4)
    assert (result.labels == stored["struct/tta_pred"].squeeze()).mean() >= 0.999


def test_normalisation(model, stored, pictures):
    image = torch.from_numpy(pictures["noise"]).permute(2, 0, 1)[None]
    normalised = model.normalise(image)[0, :, ::16, ::16]
    np.testing.assert_allclose(normalised, stored["noise/preproc_s"].squeeze(), atol=1e-5)


def test_cross_entropy_in_both_denominators(model, golden, fill):
    published = json.loads((golden / "mmseg_city512.json").read_text())
    bgr = np.stack([fill.image_noise(129, 193, 5), fill.image_struct(129, 193)])
    images = torch.from_numpy(np.ascontiguousarray(bgr[..., ::-1])).permute(0, 3, 1, 2)
    labels = torch.from_numpy(np.stack([fill.label_map(129, 193, 19, seed) for seed in (0, 1)]))
    with torch.no_grad():
        output = model(images)
    main, auxiliary = (model.resize_logits(logits, (129, 193)) for logits in output)
    over_all, over_counted = ccnet.CrossEntropy(average="all"), ccnet.CrossEntropy(average="counted")
    expected = published["loss_eval_mode"]
    assert over_all(main, labels).item() == pytest.approx(expected["decode.loss_ce"], rel=1e-5)
    # The auxiliary figure holds its loss weight of 0.4.
    assert 0.4 * over_all(auxiliary, labels).item() == pytest.approx(expected["aux.loss_ce"], rel=1e-5)
    counted = published["loss_eval_avg_non_ignore"]["loss_ce"]
    assert over_counted(main, labels).item() == pytest.approx(counted, rel=1e-5)
