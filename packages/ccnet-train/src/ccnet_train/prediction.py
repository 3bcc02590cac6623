"""Predictions written to files, shared among processes: each output is written by one of them."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Unpack

import torch

from ccnet_core.outputs import Results
from ccnet_core.picture_files import SUFFIXES, Named
from ccnet_core.predict import PlanOptions
from ccnet_core.predict_files import Outcome, predict_files, predict_pictures
from ccnet_train.datasets import SampleDataset
from ccnet_train.errors import TrainError
from ccnet_train.launch import Accelerator, gather_texts, own_errors, sum_over_processes


def predict_files_shared(
    model: Any,
    sources: Sequence[Named],
    outputs: Results,
    accelerator: Accelerator,
    *,
    batch_size: int = 4,
    overwrite: bool = False,
    **options: Unpack[PlanOptions],
) -> Outcome:
    """Do what :func:`ccnet_core.predict_files.predict_files` does, each process for its share of the `sources`.

    Every process returns what became of all. Raises TrainError if the processes were given different sources.
    """
    _refuse_differences([named.name for named in sources], accelerator)
    outcome = Outcome()
    with own_errors(accelerator), accelerator.autocast():
        predict_files(
            model,
            sources[accelerator.process_index :: accelerator.num_processes],
            outputs,
            outcome,
            batch_size=batch_size,
            overwrite=overwrite,
            show=accelerator.is_main_process,
            **options,
        )
    return _of_all_processes(outcome, accelerator)


def predict_split_shared(
    model: Any,
    dataset: SampleDataset,
    outputs: Results,
    accelerator: Accelerator,
    *,
    batch_size: int = 4,
    overwrite: bool = False,
    **options: Unpack[PlanOptions],
) -> Outcome:
    """Do the same for the pictures of a split, which are called by their `id`, without the suffix of a picture."""
    outcome = Outcome()
    share = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    with own_errors(accelerator), accelerator.autocast():
        predict_pictures(
            model,
            _pictures(dataset, share, outputs, outcome, overwrite=overwrite),
            outputs,
            outcome,
            total=len(share),
            batch_size=batch_size,
            show=accelerator.is_main_process,
            **options,
        )
    return _of_all_processes(outcome, accelerator)


def _pictures(
    dataset: SampleDataset, indices: Sequence[int], outputs: Results, outcome: Outcome, *, overwrite: bool
) -> Iterator[Named]:
    """Give the pictures whose outputs are not there, keeping account of the others."""
    for index in indices:
        try:
            sample = dataset[index]
            named = Named(torch.tensor(sample["image"]), _name(sample["id"]))
        except TrainError as error:
            outcome.failures.append(str(error))
            continue
        if not overwrite and outputs.are_there(named):
            outcome.skipped += 1
        else:
            yield named


def _name(id: str) -> str:
    path = PurePosixPath(id)
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise TrainError(f"{id!r}: the results of a picture of this name cannot be written. Rename it.")
    return str(path.with_suffix("") if path.suffix.lower() in SUFFIXES else path)


def _refuse_differences(names: Sequence[str], accelerator: Accelerator) -> None:
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    if len(set(gather_texts([f"{len(names)} {digest}"], accelerator))) > 1:
        raise TrainError(
            "The processes do not find the same pictures. Give a folder that all machines see, and change nothing in "
            "it meanwhile."
        )


def _of_all_processes(outcome: Outcome, accelerator: Accelerator) -> Outcome:
    counts = sum_over_processes(torch.tensor([outcome.written, outcome.skipped]), accelerator).tolist()
    failures, notes = (gather_texts(texts, accelerator) for texts in (outcome.failures, outcome.notes))
    return Outcome(written=counts[0], skipped=counts[1], failures=failures, notes=notes)
