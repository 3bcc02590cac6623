"""What `test_sharding` runs in several processes: a sharded network beside a whole one, on a CPU mesh.

accelerate shards on GPUs only. Here torch's own `fully_shard` takes its place, also in a run.
"""

import sys
from pathlib import Path
from unittest import mock

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import ccnet_core as ccnet
from ccnet_train import fit, launch, load_recipe
from ccnet_train.sharding import gathered, unit_classes, whole

SQUARES = Path(__file__).parent / "squares.yaml"
FOUR_STEPS = (
    *("model.name=ccnet_small", "train.freeze_batch_norm=true", "schedule.power=0", "checkpoint.every=2"),
    *("train.weight_average=0.5", "optimiser.clip_gradient_norm=0.1", "evaluate.every=2"),
)


def build(model, checkpointing):
    """Return a network of which every parameter has a gradient, and the same one for the same pictures."""
    torch.manual_seed(0)
    network = ccnet.CCNet.from_config(model, num_classes=3).double().train()
    for parameter in network.parameters():
        if parameter.ndim <= 1:  # a scale of zero would hide what lies behind it
            torch.nn.init.uniform_(parameter, 0.5, 1.0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
        if isinstance(module, torch.nn.Dropout2d):
            module.p = 0.0
    network.checkpoint_activations(checkpointing)
    return network


def loss_of(network, images):
    return sum(part.square().mean() for part in network(images) if part is not None)


def gradients_of(network, images):
    loss = loss_of(network, images)
    loss.backward()
    return loss.detach(), {name: gathered(parameter.grad) for name, parameter in network.named_parameters()}


def shard(network):
    mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),))
    units = [module for module in network.modules() if type(module).__name__ in unit_classes(network)]
    for unit in reversed(units):
        fully_shard(unit, mesh=mesh)
    fully_shard(network, mesh=mesh)
    return len(units)


def compare(model, checkpointing, folder):
    rank, processes = torch.distributed.get_rank(), torch.distributed.get_world_size()
    images = torch.rand(2 * processes, 3, 24, 32, generator=torch.Generator().manual_seed(1)) * 255
    expected = build(model, checkpointing)
    expected_loss, expected_gradients = gradients_of(expected, images)
    network = build(model, checkpointing)
    units = shard(network)
    loss, gradients = gradients_of(network, images[2 * rank : 2 * rank + 2])
    torch.distributed.all_reduce(loss)
    torch.testing.assert_close(loss / processes, expected_loss, rtol=1e-6, atol=0)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        assert gradient.any(), name
        assert torch.allclose(gradients[name], gradient, rtol=1e-6, atol=1e-12), name
    copy = whole(network)
    if rank == 0:  # alone, so the copy asks nobody
        assert torch.equal(copy.eval()(images).logits, expected.eval()(images).logits)
        copy.save_pretrained(folder / f"{model}-{checkpointing}")
        print(f"{model}: {units} units, {processes} processes")


def prepare_sharded(accelerator, network, optimiser):
    """Do what `Accelerator.prepare` does where it shards."""
    names = {parameter: name for name, parameter in network.named_parameters()}
    shard(network)
    sharded = dict(network.named_parameters())
    for group in optimiser.param_groups:
        group["params"] = [sharded[names[parameter]] for parameter in group["params"]]
    return network, accelerator.prepare_optimizer(optimiser)


def fit_both_ways(folder):
    """Fit four steps, whole, and sharded with a stop after two."""
    torch.nn.Dropout2d.forward = lambda self, x: x
    torch.set_default_dtype(torch.float64)
    whole, half, sharded = (
        load_recipe(SQUARES, [f"output={folder}/{name}", f"train.iterations={steps}", *FOUR_STEPS])
        for name, steps in (("whole", 4), ("sharded", 2), ("sharded", 4))
    )
    with mock.patch.object(launch.Accelerator, "end_training"):
        fit(whole, quiet=True)
        with mock.patch.object(launch.Accelerator, "prepare", prepare_sharded):
            fit(half, quiet=True)
            fit(sharded, quiet=True, allow_change=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with launch.open_accelerator():
        for model in ("ccnet_tiny", "ccnet_small", "ccnet_small_ce2p"):
            for checkpointing in (False, True):
                compare(model, checkpointing, Path(sys.argv[1]))
        fit_both_ways(sys.argv[1])
