"""What `test_launch` runs in two processes: `ccnet_train`, the loss of process 1 being NaN in step 3."""

import math
import os
import sys

import torch

from ccnet_train import loop
from ccnet_train.cli import main
from ccnet_train.losses import Objective

RANK = int(os.environ["RANK"])
forward, train, calls = Objective.forward, loop._train, []


def poisoned(*arguments):
    calls.append(arguments)
    return forward(*arguments) * (math.nan if RANK == 1 and len(calls) == 3 else 1.0)


def compared(run, resumed):
    """Train, then tell whether the weights, which no process sends to another, became different ones."""
    stopped_by = train(run, resumed)
    weights = torch.cat([parameter.detach().flatten() for parameter in run.network.parameters()])
    both = [torch.empty_like(weights) for _ in range(2)]
    torch.distributed.all_gather(both, weights)
    sys.stdout.write(f"weights differ: {not torch.equal(*both)}\n")  # in one piece: both processes write here
    return stopped_by


Objective.forward, loop._train = poisoned, compared
sys.exit(main())
