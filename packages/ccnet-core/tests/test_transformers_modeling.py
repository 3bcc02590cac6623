import copy
import dataclasses
import pickle

import pytest
import torch
import torch.nn.functional as F

import ccnet_core as ccnet
from ccnet_core.backbone_config import HubBackboneConfig
from ccnet_core.config import AuxiliaryHeadConfig

pytest.importorskip("transformers", reason="the extra transformers is not installed")

from transformers import AutoModelForSemanticSegmentation

from ccnet_core.transformers import CCNetConfig, CCNetForSemanticSegmentation

load = AutoModelForSemanticSegmentation.from_pretrained


@pytest.fixture
def pixels(picture):
    return torch.from_numpy(picture).permute(2, 0, 1)[None].expand(2, -1, -1, -1)


@pytest.fixture
def labels(picture):
    labels = torch.randint(0, 4, (2, *picture.shape[:2]))
    labels[0, :9] = 255
    return labels


@pytest.fixture
def with_auxiliary(tiny, enliven):
    config = dataclasses.replace(tiny.config, auxiliary=AuxiliaryHeadConfig(stage=0, channels=8))
    return enliven(ccnet.CCNet(config)).eval()


def cross_entropy(logits, labels):
    """The mean over the pixels that count, one after another, in float64."""
    upsampled = F.interpolate(logits.double(), labels.shape[-2:], mode="bilinear")
    losses = [-upsampled[b, :, y, x].log_softmax(0)[labels[b, y, x]] for b, y, x in (labels != 255).nonzero().tolist()]
    return torch.stack(losses).mean()


def test_loss_is_cross_entropy_with_a_share_of_the_auxiliary_heads(with_auxiliary, pixels, labels):
    model = CCNetForSemanticSegmentation.from_network(with_auxiliary)
    with torch.no_grad():
        output = model(pixels, labels=labels)
        expected = with_auxiliary(pixels)
    main, auxiliary = cross_entropy(expected.logits, labels), cross_entropy(expected.auxiliary_logits, labels)
    assert output.loss.item() == pytest.approx((main + 0.4 * auxiliary).item(), rel=1e-5)
    assert torch.equal(output.logits, expected.logits)


def test_loss_of_a_network_for_parsing_is_that_of_both_predictions_and_of_edges(parsing, pixels, labels):
    model = CCNetForSemanticSegmentation.from_network(parsing)
    with torch.no_grad():
        output, expected = model(pixels, labels=labels), parsing(pixels)
    upsampled = [parsing.resize_logits(logits, labels.shape[1:]) for logits in (*expected[:2], expected.edge_logits)]
    edges = ccnet.EdgeCrossEntropy()(upsampled[2], ccnet.edge_truth(labels))
    total = sum(ccnet.CrossEntropy()(logits, labels) for logits in upsampled[:2]) + edges
    assert output.loss.item() == pytest.approx(total.item(), rel=1e-5)
    assert edges > 0.1


def test_output_has_what_was_asked_for(tiny, pixels, labels):
    model = CCNetForSemanticSegmentation.from_network(tiny)
    output = model(pixels)
    assert (output.loss, output.hidden_states, output.attentions) == (None, None, None)
    assert len(model(pixels, return_dict=False)) == 1
    assert [value.ndim for value in model(pixels, labels=labels, return_dict=False)] == [0, 4]
    states = model(pixels, output_hidden_states=True).hidden_states
    assert all(torch.equal(*pair) for pair in zip(states, tiny.features(pixels), strict=True))
    with pytest.raises(ccnet.ConfigError, match=r"Use ccnet_core\.attention_map"):
        model(pixels, output_attentions=True)


def test_state_dict_is_that_of_the_network(tiny):
    model = CCNetForSemanticSegmentation.from_network(tiny)
    assert list(model.state_dict()) == list(tiny.state_dict())
    assert {id(tensor) for tensor in model.parameters()} == {id(tensor) for tensor in tiny.parameters()}


@pytest.mark.parametrize("again", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copy_computes_with_its_own_weights(tiny, pixels, again):
    model = CCNetForSemanticSegmentation.from_network(tiny)
    copied = again(model)
    with torch.no_grad():
        expected = model(pixels).logits
        copied.head.classify.conv.bias.add_(1)
        torch.testing.assert_close(copied(pixels).logits, expected + 1)
        assert torch.equal(model(pixels).logits, expected)


def test_new_network_starts_as_ccnets_do(tiny):
    model = AutoModelForSemanticSegmentation.from_config(CCNetConfig.from_network(tiny.config))
    torch.manual_seed(0)
    expected = ccnet.CCNet(tiny.config)
    torch.manual_seed(0)
    model = AutoModelForSemanticSegmentation.from_config(CCNetConfig.from_network(tiny.config))
    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


@pytest.mark.parametrize("size", ["5GB", 10_000], ids=["one file", "shards"])
def test_folder_goes_from_ccnet_to_transformers_and_back(with_auxiliary, size, tmp_path):
    with_auxiliary.save_pretrained(tmp_path / "first", max_shard_size=size)
    load(tmp_path / "first").save_pretrained(tmp_path / "second", max_shard_size=size)
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("first", "second")]
    assert files[0] == files[1]
    assert len(files[0]) > 5 if size == 10_000 else len(files[0]) == 5
    back = ccnet.CCNet.from_pretrained(tmp_path / "second")
    assert back.config == with_auxiliary.config
    assert all(torch.equal(back.state_dict()[name], tensor) for name, tensor in with_auxiliary.state_dict().items())


def test_other_files_of_the_folder_stay_and_old_shards_go(tiny, tmp_path):
    folder = tmp_path / "run"
    (folder / "checkpoint-2").mkdir(parents=True)
    (folder / "training_args.bin").write_bytes(b"kept")
    model = CCNetForSemanticSegmentation.from_network(tiny)
    model.save_pretrained(folder, max_shard_size=10_000)
    model.save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("README.md", "checkpoint-2", "config.json", "model.safetensors"),
        *("picture.png", "preprocessor_config.json", "training_args.bin"),
    ]
    assert torch.equal(load(folder).head.classify.conv.weight, tiny.head.classify.conv.weight)


def test_given_tensors_are_saved_instead_of_the_models(tiny, tmp_path):
    state = {name: tensor + 1 for name, tensor in tiny.state_dict().items()}
    model = CCNetForSemanticSegmentation.from_network(tiny)
    model.save_pretrained(tmp_path / "weights", state_dict=state)
    assert torch.equal(load(tmp_path / "weights").head.classify.conv.bias, tiny.head.classify.conv.bias + 1)
    model.save_pretrained(tmp_path / "other", is_main_process=False)
    assert not (tmp_path / "other").exists()


# The client's own: its HTTP library wants large files in another argument.
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_pushed_folder_is_that_of_the_network(tiny, hub_server):
    CCNetForSemanticSegmentation.from_network(tiny).push_to_hub("org/name", token="hf_x")
    loaded = ccnet.CCNet.from_pretrained("org/name")
    assert loaded.config == tiny.config
    assert torch.equal(loaded.head.classify.conv.weight, tiny.head.classify.conv.weight)


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        ({}, torch.float32),
        ({"dtype": "auto"}, torch.float16),
        ({"dtype": torch.bfloat16}, torch.bfloat16),
        ({"dtype": "float64"}, torch.float64),
        ({"low_cpu_mem_usage": True, "device_map": "cpu"}, torch.float32),
        ({"device_map": {"": "cpu"}, "use_safetensors": True}, torch.float32),
    ],
)
def test_options_of_transformers_are_obeyed(tiny, tmp_path, options, dtype):
    tiny.to(torch.float16).save_pretrained(tmp_path / "half")
    model = load(tmp_path / "half", **options)
    assert (model.dtype, model.device, model.network.dtype) == (dtype, torch.device("cpu"), dtype)
    assert model.network.normalise.mean.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, r"dtype must be one of torch\.float16"),
        ({"device_map": {"head": 0}}, "goes to one device as a whole"),
        ({"device_map": "balanced"}, "goes to one device as a whole"),
        ({"device_map": "cuda:99"}, "There is no device 'cuda:99' here"),
        ({"quantization_config": {"bits": 4}}, "no option quantization_config="),
        ({"recurence": 2}, "no option recurence=2"),
        ({"num_labels": 7}, "have 4 classes, 7 were asked for. Start them anew with ignore_mismatched_sizes=True"),
        ({"head": {"channels": 16}}, "of another shape"),
    ],
)
def test_options_that_cannot_be_obeyed_are_refused(weights, options, message):
    with pytest.raises(ccnet.CCNetError, match=message):
        load(weights, **options)


def test_other_classes_start_the_classifiers_anew(tiny, weights):
    model = load(weights, num_labels=7, ignore_mismatched_sizes=True)
    assert (model.config.num_labels, model.network.config.num_classes) == (7, 7)
    assert model.head.classify.conv.weight.shape[0] == 7
    assert torch.equal(model.head.reduce.conv.weight, tiny.head.reduce.conv.weight)


def test_other_names_keep_the_classifiers(tiny, weights, tmp_path):
    model = load(weights, id2label=dict(enumerate("abcd")))
    assert torch.equal(model.head.classify.conv.weight, tiny.head.classify.conv.weight)
    model.save_pretrained(tmp_path / "renamed")
    assert ccnet.CCNet.from_pretrained(tmp_path / "renamed").config.classes == tuple("abcd")


def test_loading_is_as_strict_as_ccnets(weights):
    (weights / "model.safetensors").write_bytes((weights / "model.safetensors").read_bytes()[:-4])
    with pytest.raises(ccnet.WeightsError, match=r"model\.safetensors: damaged"):
        load(weights)


def test_class_by_itself_loads_and_says_that_nothing_was_missing(tiny, weights):
    model, info = CCNetForSemanticSegmentation.from_pretrained(weights, output_loading_info=True)
    assert torch.equal(model.head.classify.conv.weight, tiny.head.classify.conv.weight)
    assert set(info) == {"missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"}
    assert not any(info.values())


def test_gradient_checkpointing_is_that_of_ccnet(tiny, pixels, labels):
    model = CCNetForSemanticSegmentation.from_network(tiny).train()
    gradients = []
    for switch in (model.activation_checkpointing_disable, model.activation_checkpointing_enable):
        switch()
        assert model.head.checkpointing == (len(gradients) == 1)
        torch.manual_seed(1)
        model.zero_grad()
        model(pixels, labels=labels).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])
    with pytest.raises(ccnet.ConfigError, match="keeps the input of each block"):
        model.activation_checkpointing_enable(offload=True)


def test_backbone_may_itself_be_one_of_transformers(tiny, pixels, labels, tmp_path):
    settings = {"model_type": "dinov2", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    backbone = HubBackboneConfig(settings=settings | {"patch_size": 14, "use_mask_token": False}, stages=(2,))
    network = ccnet.CCNet(dataclasses.replace(tiny.config, backbone=backbone)).eval()
    network.save_pretrained(tmp_path / "weights")
    model = load(tmp_path / "weights")
    assert torch.equal(model(pixels).logits, network(pixels).logits)
    model.train()(pixels, labels=labels).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.save_pretrained(tmp_path / "again")
    assert ccnet.CCNet.from_pretrained(tmp_path / "again").config == network.config
