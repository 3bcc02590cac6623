import dataclasses
import json
import subprocess
import sys
import time

import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.config import AuxiliaryHeadConfig


@pytest.fixture
def folder(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weights_have_the_dtype_asked_for_and_pixels_are_normalised_in_float32(tiny, folder, picture, dtype):
    loaded = ccnet.CCNet.from_pretrained(folder, dtype=dtype)
    expected = tiny.to(dtype)
    assert loaded.dtype == dtype
    assert loaded.normalise.mean.dtype == loaded.normalise.std.dtype == torch.float32
    for name, tensor in expected.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    x = torch.from_numpy(picture).permute(2, 0, 1)[None]
    torch.testing.assert_close(loaded(x).logits, expected(x).logits, rtol=0, atol=0)


def test_dtype_is_that_of_torch_by_default(tiny, folder):
    tiny.to(torch.float16).save_pretrained(folder)
    assert ccnet.CCNet.from_pretrained(folder).dtype == torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert ccnet.CCNet.from_pretrained(folder, num_classes=2).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn, torch.complex64, "float16", 16])
def test_dtype_in_which_no_network_computes_is_refused(folder, dtype):
    with pytest.raises(ccnet.ConfigError, match=r"dtype must be one of torch\.float16, .*, got "):
        ccnet.CCNet.from_pretrained(folder, dtype=dtype)


@pytest.mark.parametrize("device", ["cuda:99", "meta", "gpu", "", 3, None])
def test_device_that_is_not_here_is_refused(folder, device):
    with pytest.raises(ccnet.CCNetError, match=f"There is no device '{device}' here, only cpu"):
        ccnet.CCNet.from_pretrained(folder, device=device)


@pytest.mark.parametrize("device", ["cpu", "auto", torch.device("cpu")])
def test_device_may_be_a_name_or_torchs(folder, device):
    assert ccnet.CCNet.from_pretrained(folder, device=device).device.type in ("cpu", "cuda", "mps")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.parametrize("change", [{}, {"num_classes": 7}, {"dtype": torch.float16}])
def test_everything_lies_on_the_device_asked_for(folder, change):
    loaded = ccnet.CCNet.from_pretrained(folder, device="cuda:0", **change)
    everything = [*loaded.parameters(), *loaded.buffers()]
    assert {tensor.device for tensor in everything} == {torch.device("cuda:0")}


def test_statistics_of_pixels_are_those_of_the_configuration(tiny, folder):
    loaded = ccnet.CCNet.from_pretrained(folder)
    assert torch.equal(loaded.normalise.mean, tiny.normalise.mean)
    assert torch.equal(loaded.normalise.std, tiny.normalise.std)


def test_new_classifiers_start_as_those_of_a_new_network(tmp_path):
    config = ccnet.CCNet.from_config("ccnet_tiny").config
    auxiliary = dataclasses.replace(config.auxiliary or AuxiliaryHeadConfig(), stage=0, channels=512, dropout=0.3)
    head = dataclasses.replace(config.head, channels=512, dropout=0.2)
    ccnet.CCNet(dataclasses.replace(config, head=head, auxiliary=auxiliary)).save_pretrained(tmp_path / "wide")
    loaded = ccnet.CCNet.from_pretrained(tmp_path / "wide", num_classes=50, dtype=torch.float64)
    for classifier, dropout in ((loaded.head.classify, 0.2), (loaded.auxiliary_head.classify, 0.3)):
        assert classifier.conv.weight.shape == (50, 512, 1, 1)
        assert classifier.conv.weight.dtype == torch.float64
        assert classifier.conv.weight.std().item() == pytest.approx(0.01, rel=0.03)
        assert torch.equal(classifier.conv.bias, torch.zeros(50))
        assert classifier.dropout.p == dropout
        assert not classifier.training


def test_new_classifiers_of_a_network_for_parsing_are_those_of_both_predictions(parsing, tmp_path):
    parsing.save_pretrained(tmp_path / "weights")
    same, other = (ccnet.CCNet.from_pretrained(tmp_path / "weights", num_classes=count) for count in (4, 7))
    image = torch.randint(0, 256, (1, 3, 65, 94), dtype=torch.uint8)
    for found, expected in zip(same(image), parsing(image), strict=True):
        assert torch.equal(found, expected)
    assert [tuple(part.shape) for part in other(image)] == [(1, count, 17, 24) for count in (7, 7)] + [
        (1, 16, 5, 6),
        (1, 2, 17, 24),
    ]
    kept = [name for name, tensor in other.state_dict().items() if torch.equal(tensor, parsing.state_dict()[name])]
    fresh = {name for name in parsing.state_dict() if name not in kept}
    assert fresh == {
        f"head.{name}.conv.{part}" for name in ("classify", "classify_first") for part in ("weight", "bias")
    }


def test_loaded_network_trains(folder, picture):
    loaded = ccnet.CCNet.from_pretrained(folder, num_classes=3).train()
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].expand(2, -1, -1, -1)
    loaded(x).logits.square().sum().backward()
    assert all(parameter.grad is not None for name, parameter in loaded.named_parameters() if "auxiliary" not in name)


FOUR = {"strides": [1] * 4, "dilations": [1] * 4}
HOSTILE = [
    {"backbone": {"width": 65536}},
    {"backbone": {**FOUR, "depths": [65536] * 4}},
    {"backbone": {**FOUR, "depths": [256] * 4, "block": "bottleneck"}},
    {"backbone": {"depths": [1] * 60, "strides": [1] * 60, "dilations": [1] * 60}},
    {"backbone": {"stem_channels": [65536] * 3}},
    {"backbone": {"width": 65536, "block": "bottleneck"}, "head": {"channels": 65536, "kernel_size": 255}},
    {"head": {"channels": 65536, "kernel_size": 255}},
    {"head": {"kernel_size": 2**31 + 1}},
    {"head": {"recurrence": 10**9}},
    {"head": {"recurrence": 10**9, "shared_weights": False}},
    {"head": {"recurrence": 256, "shared_weights": False, "channels": 65536}},
    {"head": {"consistency_channels": 65536}},
    {"auxiliary": {"channels": 65536}},
    {
        "id2label": {str(index): str(index) for index in range(65536)},
        "palette": [[0, 0, 0]] * 65536,
    },
]


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: " ".join(change))
def test_sizes_that_the_file_does_not_have_are_refused_at_once(folder, little_memory, change):
    content = json.loads((folder / "config.json").read_text())
    for key, value in change.items():
        content[key] = value if not isinstance(content.get(key), dict) or key == "id2label" else content[key] | value
    (folder / "config.json").write_text(json.dumps(content))
    start = time.process_time()
    with pytest.raises(ccnet.WeightsError, match=r"/(config\.json|model\.safetensors): "):
        ccnet.CCNet.from_pretrained(folder)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("source", ["", 3, None, b"weights"])
def test_what_is_no_name_is_refused(source):
    with pytest.raises(ccnet.ConfigError, match="expected a weights folder, org/name on the Hub or a model of the zoo"):
        ccnet.CCNet.from_pretrained(source)


@pytest.mark.parametrize("source", ["x" * 5000, "a\0b", "missing/../folder"])
def test_name_that_no_folder_can_have_is_refused(source):
    with pytest.raises(ccnet.WeightsError, match=r"cannot be read \(File name too long\)|there is no such folder"):
        ccnet.CCNet.from_pretrained(source)


def test_misspelt_model_names_the_nearest():
    with pytest.raises(ccnet.WeightsError, match=r"Did you mean 'ccnet_r50-d8_4xb2-40k_cityscapes-512x1024'"):
        ccnet.CCNet.from_pretrained("ccnet_r50-d8_4xb2-40k_cityscape-512x1024")


def test_place_where_no_folder_can_be_is_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for place, message in (("", "current folder cannot be"), (".", "current folder"), ("file", "this is a file")):
        with pytest.raises(ccnet.CCNetError, match=message):
            tiny.save_pretrained(place)
    with pytest.raises(ccnet.WeightsError, match=r"file/below: cannot be written \(File exists\)"):
        tiny.save_pretrained("file/below")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


PEAK = """
import sys
from pathlib import Path
import ccnet_core as ccnet

def status(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024

ccnet.CCNet.from_pretrained(sys.argv[1])  # whatever is loaded late
Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of before
before = status("VmRSS")
model = ccnet.CCNet.from_pretrained(sys.argv[2])
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is asked of Linux")
@pytest.mark.parametrize("size", ["5GB", "30MB"])
def test_loading_holds_no_second_copy(folder, tmp_path, size):
    config = ccnet.CCNet.from_config("ccnet_tiny").config
    wide = dataclasses.replace(config, head=dataclasses.replace(config.head, channels=3072))
    ccnet.CCNet(wide).save_pretrained(tmp_path / "wide", max_shard_size=size)
    stored = sum(path.stat().st_size for path in (tmp_path / "wide").glob("model*"))
    assert stored > 100e6
    command = [sys.executable, "-W", "ignore", "-c", PEAK, str(folder), str(tmp_path / "wide")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 0.9 * stored < int(done.stdout) < 1.2 * stored
