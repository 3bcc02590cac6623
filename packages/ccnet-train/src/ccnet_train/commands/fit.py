"""`ccnet-train fit`: train, or continue a run."""

import argparse
import os
from pathlib import Path

from ccnet_train.commands.arguments import add_recipe, is_main_process
from ccnet_train.errors import TrainError
from ccnet_train.recipe import Recipe, load_recipe, to_yaml


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", *, epilog: str) -> None:
    """Describe the command; `epilog` says what the exit codes mean."""
    parser = commands.add_parser("fit", help="train, or continue the run in the recipe's output folder", epilog=epilog)
    add_recipe(parser)
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--fresh", action="store_true", help="delete the run in the output folder and start over")
    start.add_argument("--allow-change", action="store_true", help="continue although keys changed that matter")
    parser.add_argument("--dry-run", action="store_true", help="check recipe and data, print what would run")
    parser.add_argument(
        "--push", metavar="ORG/NAME", help="after the run, push its best weights to the Hugging Face Hub"
    )
    parser.set_defaults(run=run, how_to_continue=how_to_continue)


def run(options: argparse.Namespace) -> None:
    """Train as the recipe says, or with `--dry-run` say what would be trained."""
    recipe = load_recipe(options.recipe, options.overrides)
    pushes = options.push is not None and is_main_process()
    if pushes:
        from ccnet_train.publish import announce, push

        print(announce(recipe, options.push))
    if options.dry_run:
        _describe(recipe, options)
        return
    from ccnet_train.loop import fit

    result = fit(recipe, fresh=options.fresh, allow_change=options.allow_change)
    if pushes:
        print(f"pushed {push(recipe, result, options.push)}")


def how_to_continue(options: argparse.Namespace) -> str:
    """Return what is true of the interrupted command: whether it can continue, from where, and how."""
    if options.dry_run:
        return ""
    from ccnet_train.checkpoint import latest
    from ccnet_train.run_folder import RunFolder

    try:
        recipe = load_recipe(options.recipe, options.overrides)
        folder = RunFolder(Path(recipe.output).expanduser())
        folder.refuse_other_recipe(recipe)
        found = latest(folder.checkpoints)
    except (TrainError, OSError):  # an older run that --fresh has not deleted yet
        return ""
    if found is None:
        return " No checkpoint had been written yet."
    without = " without --fresh" if options.fresh else ""
    return f" The same command{without} continues from step {found.step}."


def _describe(recipe: Recipe, options: argparse.Namespace) -> None:
    from ccnet_train.dry_run import describe
    from ccnet_train.launch import launched_processes, refuse_lost_processes

    processes = launched_processes(os.environ)
    refuse_lost_processes(os.environ, processes)
    if is_main_process():  # alone: two at once would disturb each other's try of the output folder
        description = describe(recipe, processes=processes, fresh=options.fresh, allow_change=options.allow_change)
        print(to_yaml(recipe))
        print(description)
