import json
import re
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import ccnet_core as ccnet
from ccnet_core.tensors import load_tensors, read_header, shapes_only


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


@pytest.fixture
def stored():
    """The state dict of a network that none built by chance has."""
    return {
        name: (tensor + torch.rand(tensor.shape)).to(tensor.dtype) for name, tensor in network().state_dict().items()
    }


@pytest.fixture
def load(tmp_path, stored):
    """Load a changed state dict into a new network."""

    def call(change=lambda tensors: None, **options):
        change(stored)
        save_file(stored, tmp_path / "file")
        with shapes_only():
            module = network()
        with (tmp_path / "file").open("rb", buffering=0) as file:
            load_tensors(module, read_header(file), tmp_path / "file", **options)
        return module

    return call


def test_network_without_memory_gets_the_tensors(load, stored):
    module = load()
    assert {name: tensor.tolist() for name, tensor in module.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in stored.items()
    }
    assert all(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("inside", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("asked", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floating_tensors_become_the_dtype_asked_for_and_counters_stay(load, stored, inside, asked):
    def cast(tensors):
        tensors.update({name: tensor.to(inside) for name, tensor in tensors.items() if tensor.is_floating_point()})

    module = load(cast, dtype=asked)
    assert module[1].num_batches_tracked.dtype == torch.int64
    for name, tensor in stored.items():
        if tensor.is_floating_point():
            assert torch.equal(module.state_dict()[name], tensor.to(asked)), name


def test_network_owns_its_memory(load, tmp_path):
    module = load()
    before = module[0].weight.clone()
    (tmp_path / "file").write_bytes(b"")
    assert torch.equal(module[0].weight, before)
    module[0].weight.data.zero_()


def test_nothing_is_read_before_names_shapes_and_kinds_are_right(load, monkeypatch):
    monkeypatch.setattr("ccnet_core.tensors.StoredTensor.read", lambda self: pytest.fail("a tensor was read"))
    with pytest.raises(ccnet.WeightsError, match="not part"):
        load(lambda tensors: tensors.update(extra=torch.zeros(2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("0.weight"), "1 tensors missing: 0.weight"),
        (lambda t: t.clear() or t.update(x=torch.ones(1)), "7 tensors missing: 0.weight, 0.bias, 1.weight and 4 more"),
        (lambda t: t.update(extra=torch.zeros(1)), "1 tensors not part of this network: extra"),
        (
            lambda t: t.update({"0.bias": torch.zeros(2)}),
            r"1 tensors of another shape: 0.bias is \(2,\), expected \(4,\)",
        ),
        (lambda t: t.update({"0.bias": torch.zeros(4).long()}), "another kind of number: 0.bias is torch.int64"),
        (
            lambda t: t.update({"0.bias": torch.zeros(4).bool()}),
            "0.bias has numbers of the kind BOOL, which no network",
        ),
        (lambda t: t["0.weight"].view(-1)[7].fill_(float("nan")), "1 tensors with NaN or infinite numbers: 0.weight"),
        (lambda t: t["1.running_var"][3].fill_(float("inf")), "with NaN or infinite numbers: 1.running_var"),
        (lambda t: t["1.running_var"][3].fill_(-float("inf")), "with NaN or infinite numbers: 1.running_var"),
    ],
)
def test_wrong_tensors_are_named(load, tmp_path, change, message):
    with pytest.raises(ccnet.WeightsError, match=f"^{re.escape(str(tmp_path))}/file: .*{message}"):
        load(change)


def test_number_that_is_too_large_for_the_dtype_asked_for_is_named(load):
    def enlarge(tensors):
        tensors["0.bias"][1] = -70000

    assert load(enlarge, dtype=torch.bfloat16)[0].bias[1] < -69000
    with pytest.raises(ccnet.WeightsError, match=r"1 tensors with numbers too large for torch\.float16: 0\.bias"):
        load(dtype=torch.float16)


def test_what_is_left_out_is_neither_read_nor_required(load):
    module = load(lambda tensors: tensors.update({"0.bias": torch.full((9,), float("nan"))}), leave_out=["0."])
    assert module[0].weight.is_meta
    assert not module[1].weight.is_meta


def test_refused_file_leaves_the_network_as_it_was(tmp_path, stored):
    module = network()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    stored["1.running_var"][0] = float("nan")
    save_file(stored, tmp_path / "file")
    with (tmp_path / "file").open("rb", buffering=0) as file, pytest.raises(ccnet.WeightsError):
        load_tensors(module, read_header(file), tmp_path / "file")
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def header_of(path):
    with path.open("rb", buffering=0) as file:
        return read_header(file)


def test_header_has_the_tensors_in_the_order_of_the_file(tmp_path, stored):
    save_file(stored, tmp_path / "file", metadata={"format": "pt"})
    found = header_of(tmp_path / "file")
    assert set(found) == set(load_file(tmp_path / "file"))
    assert [tensor.start for tensor in found.values()] == sorted(tensor.start for tensor in found.values())


def write(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (b"words", b""),
        (b"[]", b""),
        ({"x": {**ENTRY, "data_offsets": [0, 4]}}, bytes(8)),
        ({"x": {**ENTRY, "shape": [2**62, 8]}}, bytes(8)),
        ({"x": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12)),
        ({"x": ENTRY, "y": ENTRY}, bytes(8)),
        ({"x": ENTRY}, bytes(7)),
        ({"x": ENTRY}, bytes(9)),
        ({"x": {"dtype": "F32", "shape": [2]}}, bytes(8)),
        (b"[" * 100_000, b""),
    ],
)
def test_damaged_header_is_named(tmp_path, header, data):
    write(tmp_path / "file", header, data)
    with pytest.raises(ccnet.WeightsError, match="/file: damaged or not a safetensors file"):
        header_of(tmp_path / "file")


def test_header_that_would_take_much_memory_is_refused(tmp_path):
    write(tmp_path / "file", {"__metadata__": {"x": "x" * 2**22}, "x": ENTRY}, bytes(8))
    assert list(load_file(tmp_path / "file")) == ["x"]
    with pytest.raises(ccnet.WeightsError, match=r"/file: damaged or not a safetensors file \(a header of 4194\d{3}"):
        header_of(tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"words", b"\xff" * 8, b"\0" * 8])
def test_file_of_another_kind_is_named(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ccnet.WeightsError, match="/file: damaged or not a safetensors file"):
        header_of(tmp_path / "file")


def test_file_that_is_cut_short_while_it_is_read_is_named(tmp_path):
    write(tmp_path / "file", {"x": ENTRY}, bytes(8))
    with (tmp_path / "file").open("rb", buffering=0) as file:
        stored = read_header(file)["x"]
        (tmp_path / "file").write_bytes(b"short")
        with pytest.raises(ccnet.WeightsError, match=r"/file: cannot be read \(it was cut short meanwhile\)"):
            stored.read()


def test_shapes_only_takes_no_memory_and_no_random_numbers():
    state = torch.get_rng_state()
    with shapes_only():
        module = nn.Sequential(nn.Conv2d(2**15, 2**15, 255), nn.BatchNorm2d(4))
        nn.init.kaiming_normal_(module[0].weight)
    assert torch.equal(torch.get_rng_state(), state)
    assert module[0].weight.shape == (2**15, 2**15, 255, 255)


SLOW_IMPORTS = """
import sys, torch, ccnet_core
from ccnet_core.tensors import shapes_only
with shapes_only():
    ccnet_core.CCNet.from_config("ccnet_tiny")
print([name for name in ("sympy", "torch._dynamo") if name in sys.modules])
"""


def test_shapes_only_does_not_import_what_takes_seconds():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SLOW_IMPORTS], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
