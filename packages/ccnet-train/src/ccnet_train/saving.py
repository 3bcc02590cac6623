"""A checkpoint, and with it the weights of an evaluation: they become visible together."""

from contextlib import nullcontext
from pathlib import Path

import torch

import ccnet_core as ccnet
from ccnet_train import checkpoint, kept_weights
from ccnet_train.durable import sync
from ccnet_train.errors import TrainError
from ccnet_train.evaluate import evaluate
from ccnet_train.evaluation_folder import write_evaluation
from ccnet_train.launch import share_buffers, sum_over_processes
from ccnet_train.model_card import card_values
from ccnet_train.preview import write_preview
from ccnet_train.run import Run
from ccnet_train.sharding import local, whole
from ccnet_train.state import collect, restore
            network.save_pretrained(target / "last", **card_values(run.recipe, metrics, run.parts.val))
            write_evaluation(target / "last", _subject(run, network, step), found.pictures)
            if best is None or scores.miou > best["miou"]:
                kept_weights.copy(target / "last", target / "best")
            preview = write_preview(run.folder.preview, network, run.parts.val)
            log_picture(run.accelerator, "val/preview", preview, step)


def _subject(run: Run, network: ccnet.CCNet, step: int) -> Subject:
    precision = run.accelerator.mixed_precision
    return subject_of(run.recipe, network, run.parts.val, weights=f"step {step}", split="val", precision=precision)


def _refuse_spoiled(run: Run, step: int) -> None:
    values = run.network.state_dict().values()
    finite = torch.stack([local(value).isfinite().all() for value in values if value.is_floating_point()]).all()
    if int(sum_over_processes(finite.int(), run.accelerator)) < run.accelerator.num_processes:
        raise TrainError(
            f"The weights are not finite after step {step}, although the loss was: nothing of it was saved. "
            "Set optimiser.clip_gradient_norm or lower optimiser.lr, each with --allow-change or --fresh."
        )
