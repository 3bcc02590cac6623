import dataclasses
import os
import subprocess
import sys
import time

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import ccnet_core as ccnet

PROCESSES = 2
OPTIONS = {
    "no attention": {"recurrence": 0},
    "unshared": {"shared_weights": False},
    "non-local": {"attention": "non_local"},
    "consistency": {"consistency_channels": 16},
}


def network(options):
    """The same weights in every process. Batch norm is fixed everywhere, because each process sees other pictures."""
    torch.manual_seed(0)
    config = ccnet.CCNet.from_config("ccnet_small", num_classes=3).config
    head = dataclasses.replace(config.head, **options, dropout=0.0, gamma=0.7)
    auxiliary = dataclasses.replace(config.auxiliary, dropout=0.0)
    model = ccnet.CCNet(dataclasses.replace(config, head=head, auxiliary=auxiliary)).double()
    model.freeze(stages=1, batch_norm=True)
    model.checkpoint_activations()
    for head in (model.head, model.auxiliary_head):
        for module in head.modules():
            module.training = not isinstance(module, torch.nn.BatchNorm2d)
    return model


def train_two_steps(model, network, picture):
    """Train `network`, which is `model` or what is around it."""
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for _ in range(2):
        optimiser.zero_grad()
        sum(part.square().mean() for part in network(picture) if part is not None).backward()
        optimiser.step()


def pictures():
    return torch.rand(PROCESSES, 3, 32, 40, generator=torch.Generator().manual_seed(1)) * 255


def main(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES)
    for name, options in OPTIONS.items():
        model = network(options)
        # Without find_unused_parameters the second step raises if a parameter got no gradient in the first.
        train_two_steps(model, DistributedDataParallel(model), pictures()[rank : rank + 1])
        torch.save(model.state_dict(), f"{folder}/{name} {rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
    time.sleep(0.2)
    # gloo's threads outlive the group; a process that ends in the ordinary way while they do may abort.
    os._exit(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes leave that trained every network together."""
    folder = tmp_path_factory.mktemp("distributed")
    commands = [[sys.executable, __file__, str(rank), str(folder)] for rank in range(PROCESSES)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    errors = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES, "\n".join(errors)
    return folder


@pytest.mark.parametrize("name", OPTIONS)
def test_two_processes_train_as_one_with_both_pictures(folder, name):
    model = network(OPTIONS[name])
    train_two_steps(model, model, pictures())
    for rank in range(PROCESSES):
        trained = torch.load(folder / f"{name} {rank}.pt", weights_only=True)
        for key, expected in model.state_dict().items():
            torch.testing.assert_close(trained[key], expected, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", OPTIONS)
def test_the_comparison_sees_training(folder, name):
    trained, start = torch.load(folder / f"{name} 0.pt", weights_only=True), network(OPTIONS[name])
    for key, parameter in start.named_parameters():
        # A bias of the key adds the same to all energies of a query, so softmax leaves it no gradient.
        trains = parameter.requires_grad and not key.endswith("key_conv.bias")
        assert torch.allclose(trained[key], parameter, rtol=0, atol=1e-12) != trains, key


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
