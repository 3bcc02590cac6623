"""Criss-cross attention in DistributedDataParallel: two processes, one half of the batch each."""

import subprocess
import sys

import pytest
import torch

import ccnet_core as ccnet

SCRIPT = """
import os
import sys
import time
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
import ccnet_core as ccnet

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
for case, (module, x) in torch.load(f"{folder}/cases.pt", weights_only=False).items():
    parallel = DistributedDataParallel(module, find_unused_parameters=False)
    for _ in range(2):  # DDP raises in the second step if a parameter got no gradient in the first
        parallel.zero_grad()
        parallel(x.chunk(2)[rank]).square().mean().backward()
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    torch.save(gradients, f"{folder}/{case} {rank}.pt")
dist.barrier()
dist.destroy_process_group()
time.sleep(0.2)
# gloo's threads outlive the group; a process that ends in the ordinary way while they do may abort.
os._exit(0)
"""


def make(kind, extent, **options):
    return kind(8, reduction=4, **options), torch.randn(4, 8, *extent)


@pytest.fixture(scope="module")
def cases():
    return {
        "recurrent": make(ccnet.RecurrentCrissCrossAttention, (4, 5), gamma=0.7),
        "fresh": make(ccnet.RecurrentCrissCrossAttention, (4, 5)),
        "unshared": make(ccnet.RecurrentCrissCrossAttention, (4, 5), gamma=0.7, shared_weights=False),
        "clip": make(ccnet.CrissCrossAttention3d, (2, 3, 4), gamma=0.7),
    }


@pytest.fixture(scope="module")
def distributed(cases, tmp_path_factory):
    """The folder where each process left its gradients."""
    folder = tmp_path_factory.mktemp("distributed")
    torch.save(cases, folder / "cases.pt")
    ranks = [subprocess.Popen([sys.executable, "-c", SCRIPT, str(rank), str(folder)]) for rank in range(2)]
    assert [process.wait(timeout=240) for process in ranks] == [0, 0]
    return folder


@pytest.mark.parametrize("case", ["recurrent", "fresh", "unshared", "clip"])
def test_every_parameter_has_in_both_processes_the_gradient_of_the_whole_batch(cases, distributed, case):
    module, x = cases[case]
    module.zero_grad()
    module(x).square().mean().backward()
    for rank in range(2):
        found = torch.load(distributed / f"{case} {rank}.pt")
        for name, parameter in module.named_parameters():
            assert found[name] is not None, name
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-5, atol=1e-6, msg=f"{name} of {rank}")
