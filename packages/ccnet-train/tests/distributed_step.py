"""What `test_distributed` runs in one, two or three processes: `distributed_step.py FOLDER ACCUMULATION`.

Float64, batch norm that does not learn, no dropout, and six pictures of which each ignores more than the one before,
the last one everything: what then differs between numbers of processes is a fault of the sharing.
"""

import os
import sys
from pathlib import Path
from unittest import mock

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ccnet_train import evaluate, fit, launch, load_recipe, network, positions

SQUARES = Path(__file__).parent / "squares.yaml"
EVERY = (
    *("model.name=ccnet_small", "train.freeze_batch_norm=true", "train.iterations=2", "train.images_per_step=6"),
    *("optimiser={name: sgd, lr: 0.5}", "data.train={length: 6, ragged: true}", "data.val={length: 5}"),
    *("evaluate.every=2", "checkpoint.every=2"),
)
HARD = "loss.ohem={threshold: 0.35, min_kept: 300"
CONSISTENT = ("loss.category_consistent={weight: 0.5, channels: 4}", "loss.per_picture=true")
EDGES = ("model.name=ccnet_small_ce2p", "loss.edge_weight=0.8", "loss.auxiliary_weight=1")
ACCUMULATED = "train.accumulation={accumulation}"
VARIANTS = {
    "counted": (),
    "counted, accumulated": (ACCUMULATED,),
    "all": ("loss.average=all", "data.val.length=7"),
    "weighted": ("loss.class_weights=[0.5, 1, 2]",),
    "hard": (f"{HARD}}}", "loss.per_picture=true"),
    "hard by the authors": (f"{HARD}, rule: authors}}", "loss.per_picture=true"),
    "consistent": CONSISTENT,
    "consistent, accumulated": (*CONSISTENT, ACCUMULATED),
    "edges": EDGES,
    "edges, accumulated": (*EDGES, ACCUMULATED),
}


def observe(recipe):
    """Fit, and return gradients by name, losses, confusion matrices and the positions that this process read."""
    seen = {"gradients": [], "matrices": [], "positions": []}
    networks = []
    build, measure, read = network.build_network, evaluate.evaluate, positions.PositionDataset.__getitem__

    def built(*arguments):
        networks.append(build(*arguments))
        return networks[-1]

    def step(*_):
        named = networks[-1].named_parameters()
        seen["gradients"].append({name: parameter.grad.clone() for name, parameter in named})

    def evaluated(*arguments, **options):
        found = measure(*arguments, **options)
        seen["matrices"].append(torch.from_numpy(found.confusion))
        return found

    def noted(dataset, position):
        seen["positions"].append(position)
        return read(dataset, position)

    hook = register_optimizer_step_pre_hook(step)
    with (
        mock.patch.object(network, "build_network", built),
        mock.patch.object(evaluate, "evaluate", evaluated),
        mock.patch.object(positions.PositionDataset, "__getitem__", noted),
    ):
        history = fit(recipe, quiet=True).history
    hook.remove()
    return seen | {"losses": [record["loss"] for record in history if "loss" in record]}


def main(folder, accumulation):
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.nn.Dropout2d.forward = lambda self, x: x
    rank = os.environ.get("RANK", "0")
    seen = {}
    with mock.patch.object(launch.Accelerator, "end_training"):  # the processes meet once, for all variants
        for name, overrides in VARIANTS.items():
            changes = [text.replace("{accumulation}", accumulation) for text in overrides]
            seen[name] = observe(load_recipe(SQUARES, [f"output={folder}/{name}", *EVERY, *changes]))
    torch.save(seen, f"{folder}/rank{rank}.pt")
    with launch.open_accelerator():
        pass  # which ends them in order


if __name__ == "__main__":
    main(*sys.argv[1:])
