import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_auto_wrap_policy

import ccnet_core as ccnet
from ccnet_train import TrainError
from ccnet_train.sharding import choose_units, unit_classes, whole

SCRIPT = Path(__file__).parent / "distributed_sharding.py"
TWO = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def network_of(model):
    with torch.device("meta"):
        return ccnet.CCNet.from_config(model)


def accelerator_with(plugin):
    return SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin))


def test_the_units_are_the_stem_the_residual_blocks_and_the_heads():
    assert unit_classes(network_of("ccnet_small")) == ["AuxiliaryHead", "BasicBlock", "CrissCrossHead", "Stem"]
    assert unit_classes(network_of("ccnet_small_ce2p")) == ["BasicBlock", "ParsingHead", "Stem"]
    assert unit_classes(network_of("ccnet_tiny")) == ["Bottleneck", "CrissCrossHead", "Stem"]


def test_accelerate_shards_these_units_although_its_configuration_names_none():
    network = network_of("ccnet_r101-d8_authors")
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2, auto_wrap_policy="no_wrap")
    choose_units(network, accelerator_with(plugin))
    plugin.set_auto_wrap_policy(network)
    chosen = fsdp2_prepare_auto_wrap_policy(plugin, network)
    names = [name for name, module in network.named_modules() if chosen(module)]
    assert len(names) == 1 + 33 + 2
    assert names[:2] == ["backbone.stem", "backbone.layer1.0"]
    assert names[-2:] == ["head", "auxiliary_head"]


def test_the_first_version_of_fsdp_is_refused_with_the_key_to_change():
    plugin = SimpleNamespace(fsdp_version=1)
    with pytest.raises(TrainError, match=r"FSDP 1\. Set fsdp_version: 2"):
        choose_units(network_of("ccnet_tiny"), accelerator_with(plugin))


def test_other_networks_than_ours_are_not_sharded():
    with pytest.raises(TrainError, match=r"shards weights \(FSDP\), which this network does not take"):
        choose_units(torch.nn.Linear(2, 2), accelerator_with(SimpleNamespace(fsdp_version=2)))


def test_a_launch_without_sharding_is_left_as_it_is():
    network = network_of("ccnet_tiny")
    choose_units(network, SimpleNamespace(state=SimpleNamespace()))
    assert whole(network) is network


def test_two_processes_that_share_the_weights_do_what_whole_networks_do(start, tmp_path):
    """Each process has two of the pictures; the script compares losses and gradients by name."""
    done = start(*TWO, SCRIPT, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{model}: {units} units, 2 processes"
        for model, units in (("ccnet_tiny", 3), ("ccnet_small", 6), ("ccnet_small_ce2p", 6))
        for _ in ("activations kept", "computed again")
    ]
    for model in ("ccnet_tiny", "ccnet_small", "ccnet_small_ce2p"):
        for name in (f"{model}-False", f"{model}-True"):
            assert ccnet.CCNet.from_pretrained(tmp_path / name).config.num_classes == 3
    whole, sharded = (records(tmp_path / name) for name in ("whole", "sharded"))
    assert [line["step"] for line in sharded] == [1, 2, 2, 3, 4, 4]
    for one, other in zip(sharded, whole, strict=True):
        assert one == pytest.approx(other, rel=1e-6)
    averaged = [tensors(tmp_path / name) for name in ("whole", "sharded")]
    torch.testing.assert_close(*averaged, rtol=1e-6, atol=1e-9)


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def tensors(folder):
    return ccnet.CCNet.from_pretrained(folder / "last").state_dict()
