"""`ccnet-train predict`: what `ccnet predict` does, spread over processes and machines; also for a dataset."""

import argparse
import os
from typing import Any

from ccnet_core import files
from ccnet_core.commands.options import add_model_options
from ccnet_core.commands.predict import (
    EXIT_CODES,
    PICTURES,
    add_output_options,
    add_plan_options,
    find_sources,
    places_of,
    plan_options,
    prepare,
    report,
    what_of,
)
from ccnet_core.picture_files import LIST, Named
from ccnet_core.predict_files import Outcome
from ccnet_train.commands.arguments import is_main_process
from ccnet_train.datasets import check_data, load_split
from ccnet_train.errors import TrainError
from ccnet_train.recipe import load_recipe


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "predict",
        help="segment pictures, folders, videos or a dataset, by any number of processes",
        description="Segment pictures as `ccnet predict` does; `accelerate launch -m ccnet_train predict` shares them.",
        epilog=EXIT_CODES,
    )
    # Called so because main() adds to them the words that stand after an option.
    parser.add_argument("overrides", nargs="*", metavar="PICTURE", help=f"{PICTURES}; with --recipe: key=value")
    parser.add_argument("--recipe", metavar="RECIPE", help="predict a split of this recipe's dataset instead")
    parser.add_argument("--split", default="val", metavar="NAME", help="of the dataset (default: val)")
    add_model_options(parser, device=False)
    add_output_options(parser)
    add_plan_options(parser)
    parser.set_defaults(run=run, how_to_continue=how_to_continue)


def how_to_continue(options: argparse.Namespace) -> str:
    """Return what is true of the interrupted command."""
    return f" What is written is whole. The same command{' without --overwrite' * options.overwrite} continues."


def run(options: argparse.Namespace) -> int:
    """Write the results of every picture, and say how it went; return the exit code."""
    outcome, what, places = _predict_split(options) if options.recipe else _predict_files(options)
    if is_main_process():
        return report(outcome, what, places)
    return 1 if outcome.failures else 0


def _predict_files(options: argparse.Namespace) -> tuple[Outcome, str, list[str]]:
    from ccnet_train.launch import launched_processes, open_accelerator
    from ccnet_train.prediction import predict_files_shared

    options.pictures = options.overrides
    if not options.pictures:
        raise TrainError("Give pictures, or --recipe RECIPE for those of a dataset.")
    if LIST in options.pictures and launched_processes(os.environ) > 1:
        raise TrainError("A list on stdin (-) cannot be shared by several processes. Give files, folders or patterns.")
    sources = find_sources(options)
    model, outputs = prepare(options, sources)
    with open_accelerator() as accelerator:
        model.to(accelerator.device)
        outcome = predict_files_shared(model, sources, outputs, accelerator, **_how(options), **plan_options(options))
    return outcome, what_of(sources), places_of(sources, outputs)


def _predict_split(options: argparse.Namespace) -> tuple[Outcome, str, list[str]]:
    from ccnet_train.launch import open_accelerator
    from ccnet_train.prediction import predict_split_shared

    data = load_recipe(options.recipe, options.overrides).data
    check_data(data, splits=(options.split,))
    dataset = load_split(data, options.split)
    files.require_folder(options.out)
    model, outputs = prepare(options)
    with open_accelerator() as accelerator:
        model.to(accelerator.device)
        outcome = predict_split_shared(model, dataset, outputs, accelerator, **_how(options), **plan_options(options))
    places = [str(path) for path in outputs.paths(Named(None, "ID")).values()]
    return outcome, f"{len(dataset)} pictures of {data.name!r}, split {options.split!r}", places


def _how(options: argparse.Namespace) -> dict[str, Any]:
    return {"batch_size": options.batch, "overwrite": options.overwrite}
