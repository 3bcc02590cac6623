"""The benchmark of whole networks, which needs core and kernels; here as small as it can be, on the CPU."""

import csv
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).parents[1] / "packages" / "ccnet-kernels" / "benchmarks" / "network.py"


@pytest.fixture(scope="module")
def network():
    spec = spec_from_file_location("network", FILE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_times_a_training_step_a_prediction_and_its_parts(network, tmp_path):
    network.main(["--tiny", "--out", str(tmp_path / "table.csv")])
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    parts = ["backbone", "reduce", "attention", "refine, fuse, classify", "upsample, argmax"]
    assert [row["step"] for row in rows[::2]] == ["train", "predict", *(f"predict: {part}" for part in parts)]
    assert {row["attention"] for row in rows} == {"torch", "einsum"}
    assert all(float(row["milliseconds"]) > 0 for row in rows)


def test_networks_that_differ_in_attention_predict_the_same(network):
    one, other = network.networks(network.TINY)
    assert one.attention != other.attention
    for each in (one, other):
        torch.nn.init.ones_(each.model.head.attention.cca.gamma)
        each.picture = one.picture
    assert (one.predict() == other.predict()).float().mean() > 0.99


def test_a_training_step_takes_the_attention_it_is_told_to(network):
    asked = []

    def attend(query, key, value, *, scale, residual):
        asked.append(query.dtype)
        return scale * value + residual

    network.Network("einsum", attend, network.TINY).train()
    assert asked == [torch.bfloat16] * 2
