import os
import pickle
import sys
import types
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import ccnet_core as ccnet
from ccnet_core.checkpoint import read_checkpoint

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.steps": torch.tensor(3)}


def assert_is_state(checkpoint):
    assert list(checkpoint.tensors) == list(STATE)
    for name, tensor in STATE.items():
        assert torch.equal(checkpoint.tensors[name].read(), tensor), name


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "meta": {"epoch": 1}},
        lambda state: {"model": state, "iteration": 60000},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}},
        lambda state: {name: torch.nn.Parameter(t) if t.is_floating_point() else t for name, t in state.items()},
    ],
)
def test_state_dict_is_found_wherever_programs_put_it(save, wrap):
    assert_is_state(read_checkpoint(save(wrap(STATE))))


class OrderedDictOfPython2:
    """Pickled as collections.OrderedDict was before Python 3: its items are the argument of the call."""

    def __init__(self, items):
        self.items = items

    def __reduce__(self):
        return OrderedDict, ([[name, tensor] for name, tensor in self.items.items()],)


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"state_dict": state}])
def test_state_dict_of_python_2(save, wrap):
    assert_is_state(read_checkpoint(save(wrap(OrderedDictOfPython2(STATE)))))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_older_form_in_every_protocol_that_torch_writes(tmp_path, protocol):
    torch.save(STATE, tmp_path / "file.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    assert_is_state(read_checkpoint(tmp_path / "file.pth"))


def test_safetensors_are_known_by_their_content(tmp_path):
    save_file(STATE, tmp_path / "file.pth")
    found = read_checkpoint(tmp_path / "file.pth")
    assert set(found.tensors) == set(STATE)
    for name, tensor in STATE.items():
        assert torch.equal(found.tensors[name].read(), tensor), name
        assert found.tensors[name].dtype == tensor.dtype
        assert found.tensors[name].shape == tensor.shape


@pytest.mark.parametrize(
    "meta",
    [
        {"CLASSES": ("road", "car "), "PALETTE": [[1, 2, 3], [4, 5, 6]], "config": "model = dict()"},
        {"dataset_meta": {"classes": ["road", "car"], "palette": ((1, 2, 3), (4, 5, 6))}, "cfg": "model = dict()"},
    ],
)
def test_classes_and_palette_of_mmsegmentation_old_and_new(save, meta):
    found = read_checkpoint(save({"state_dict": STATE, "meta": meta}))
    assert found.classes == ("road", "car")
    assert found.palette == ((1, 2, 3), (4, 5, 6))


@pytest.mark.parametrize(
    "classes", ["road", 7, ("a", "a"), ("a", ""), ("a", "\x1b[2J"), ("a", "\ud800"), ("a", 1), None]
)
def test_classes_that_no_model_can_have_are_left_out(save, classes):
    assert read_checkpoint(save({"state_dict": STATE, "meta": {"CLASSES": classes}})).classes is None


@pytest.mark.parametrize(
    "palette", ["road", 7, [[1, 2]], [[1, 2, 256]], [[1.0, 2.0, 3.0]], [7], np.zeros((2, 3)), None]
)
def test_palette_that_no_model_can_have_is_left_out(save, palette):
    assert read_checkpoint(save({"state_dict": STATE, "meta": {"PALETTE": palette}})).palette is None


class HistoryBuffer:
    """As in mmengine 0.10: arrays, and its own functions, which pickle looks up with getattr."""

    def __init__(self):
        self._log_history = np.arange(3.0)
        self._statistics_methods = {"mean": HistoryBuffer.mean}

    def mean(self):
        raise AssertionError("a function of the file was called")

    def __setstate__(self, state):
        raise AssertionError("an object of the file was made")


@pytest.fixture
def mmengine(monkeypatch):
    """The module that mmengine's class says it is from, while the file is written."""
    module = types.ModuleType("mmengine.logging.history_buffer")
    module.HistoryBuffer = HistoryBuffer
    monkeypatch.setattr(HistoryBuffer, "__module__", module.__name__)
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_checkpoint_of_a_run_of_mmengine(save, mmengine, monkeypatch):
    # What a Runner of mmengine 0.10.7 saved: the same keys and the same eleven globals.
    saved = {
        "meta": {
            "iter": 6,
            "cfg": "model = dict()",
            "dataset_meta": {"classes": ("a", "b"), "palette": [[1, 2, 3]] * 2},
        },
        "state_dict": STATE,
        "message_hub": {"log_scalars": {"train/loss": HistoryBuffer()}, "runtime_info": {"eta": np.float64(0.5)}},
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 0.01}]},
        "param_schedulers": [{"last_step": 6}],
    }
    path = save(saved)
    monkeypatch.delitem(sys.modules, mmengine.__name__)
    for name in (b"HistoryBuffer", b"getattr", b"_reconstruct", b"scalar", b"dtype"):
        assert name in path.read_bytes()
    found = read_checkpoint(path)
    assert_is_state(found)
    assert found.classes == ("a", "b")


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (
            {"net": STATE, "epoch": 3},
            r"holds no state dict at the top or under \('state_dict', 'model'\).* 'net', 'epoch'",
        ),
        ([STATE], "holds no state dict"),
        ({}, "holds no state dict .* Its first keys: none"),
        ({"state_dict": {}}, "holds no state dict"),
        (OrderedDict(), "holds no state dict"),
        (torch.nn.Linear(2, 2), r"holds an object of 'torch\.nn\.modules\.linear\.Linear', which is not run here"),
        ({"model": torch.nn.Linear(2, 2)}, r"holds an object of 'torch\.nn\.modules\.linear\.Linear'"),
        ({"state_dict": {**STATE, "_extra": 7}}, "'_extra' in its state dict is not a tensor"),
        ({"state_dict": {**STATE, 7: torch.zeros(1)}}, "has a tensor without a sensible name"),
        ({"state_dict": {"n" * 300: torch.zeros(1)}}, "has a tensor without a sensible name"),
        ({"x": torch.zeros(1), "module.x": torch.zeros(1)}, "'x' is there twice"),
    ],
)
def test_file_without_a_state_dict_says_what_it_holds(save, saved, message):
    path = save(saved)
    with pytest.raises(ccnet.WeightsError, match=f"file.pth: {message}"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>", "is a web page, perhaps of a download that needs a browser"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (b"\x89PNG\r\n\x1a\n", r"is no checkpoint \(it begins with b'\\x89PNG"),
        (b"\x00\x01\x00\x00\x00\x00\x00\x00{}", "is damaged or cut short"),
        (b"PK\x03\x04", "is damaged or cut short"),
        (b"\x80\x02", "its pickle is damaged or cut short"),
    ],
)
def test_file_of_another_kind_says_what_it_is(tmp_path, content, message):
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(ccnet.WeightsError, match=f"file.pth: {message}"):
        read_checkpoint(tmp_path / "file.pth")


def test_safetensors_with_one_name_twice_are_refused(tmp_path):
    save_file({"x": torch.zeros(1), "module.x": torch.zeros(1)}, tmp_path / "file.safetensors")
    with pytest.raises(ccnet.WeightsError, match=r"file\.safetensors: 'x' is there twice"):
        read_checkpoint(tmp_path / "file.safetensors")


def test_safetensors_of_a_kind_that_no_network_here_has(tmp_path):
    save_file({"x": torch.zeros(2, dtype=torch.float8_e4m3fn)}, tmp_path / "file.safetensors")
    with pytest.raises(ccnet.WeightsError, match="has numbers of the kind F8_E4M3, which no network here has"):
        read_checkpoint(tmp_path / "file.safetensors")


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(ccnet.WeightsError, match=r"none\.pth: cannot be read \(No such file or directory\)"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(ccnet.WeightsError, match="this is a folder or a pipe"):
        read_checkpoint(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ccnet.WeightsError, match=r"pipe: this is a folder or a pipe\. Give the file"):
        read_checkpoint(tmp_path / "pipe")


def test_path_that_cannot_be_looked_up_is_named(tmp_path):
    with pytest.raises(ccnet.WeightsError, match=r"nnn: cannot be read \(File name too long\)"):
        read_checkpoint(tmp_path / ("n" * 300))
