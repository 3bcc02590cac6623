"""The command `ccnet-train`, also `accelerate launch -m ccnet_train`."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from ccnet_core.errors import CCNetError
from ccnet_train.errors import ProcessError, Terminated, TrainError
from ccnet_train.recipe import load_recipe, recipe_rows, to_yaml

# The modules that import accelerate are imported where they are used: they take seconds, and `recipes` needs none.

EXIT_CODES = (
    "exit codes: 0 done; 2 a mistake, in one line that says what to do; 130 after Ctrl-C and 143 after SIGTERM: "
    "`fit` has then finished its step and saved, and the same command continues."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; :data:`EXIT_CODES` says what it means."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    try:
        {"fit": _fit, "evaluate": _evaluate, "recipes": _recipes}[options.command](options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ProcessError as error:
        # On a line of its own: the bar of the main process may stand there.
        print(f"\nerror (process {os.environ.get('RANK', '0')}): {error}", file=sys.stderr)
        return 2
    except (TrainError, CCNetError, OSError) as error:
        # Every process raises it, so one per machine tells.
        if os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")) == "0":
            print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Terminated) as reason:
        if _is_main_process():
            print(f"\nstopped.{_how_to_continue(options)}", file=sys.stderr)
        return reason.code if isinstance(reason, Terminated) else 130
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ccnet-train", description="Train and evaluate CCNet.", epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"ccnet-train {version('ccnet-train')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    fit = commands.add_parser("fit", help="train, or continue the run in the recipe's output folder", epilog=EXIT_CODES)
    _add_recipe(fit)
    start = fit.add_mutually_exclusive_group()
    start.add_argument("--fresh", action="store_true", help="delete the run in the output folder and start over")
    start.add_argument("--allow-change", action="store_true", help="continue although keys changed that matter")
    fit.add_argument("--dry-run", action="store_true", help="check recipe and data, print what would run")
    evaluate = commands.add_parser("evaluate", help="measure weights on the recipe's validation split")
    _add_recipe(evaluate)
    evaluate.add_argument("--weights", required=True, metavar="FOLDER", help="weights folder or Hub id")
    commands.add_parser("recipes", help="list the built-in recipes")
    options, rest = parser.parse_known_args(arguments)
    # argparse stops collecting key=value at the first option; they may also stand after it.
    misplaced = [word for word in rest if word.startswith("-") or "overrides" not in options]
    if misplaced:
        parser.error(f"unrecognized arguments: {' '.join(misplaced)}")
    if rest:
        options.overrides = [*options.overrides, *rest]
    return options


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="built-in name or YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example train.iterations=10")


def _fit(options: argparse.Namespace) -> None:
    recipe = load_recipe(options.recipe, options.overrides)
    if options.dry_run:
        from ccnet_train.dry_run import describe
        from ccnet_train.launch import launched_processes, refuse_lost_processes

        processes = launched_processes(os.environ)
        refuse_lost_processes(os.environ, processes)
        if _is_main_process():  # alone: two at once would disturb each other's try of the output folder
            description = describe(recipe, processes=processes, fresh=options.fresh, allow_change=options.allow_change)
            print(to_yaml(recipe))
            print(description)
        return
    from ccnet_train.loop import fit

    fit(recipe, fresh=options.fresh, allow_change=options.allow_change)


def _how_to_continue(options: argparse.Namespace) -> str:
    """Return what is true of the interrupted command: whether it can continue, from where, and how."""
    if options.command != "fit" or options.dry_run:
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


def _evaluate(options: argparse.Namespace) -> None:
    recipe = load_recipe(options.recipe, options.overrides)
    from ccnet_train.evaluate import evaluate_weights, table

    scores, classes = evaluate_weights(recipe, options.weights)
    if _is_main_process():
        print(table(scores, classes))


def _recipes(_: argparse.Namespace) -> None:
    rows = [("recipe", "dataset", "iterations", "images per step"), *recipe_rows()]
    width, *widths = (max(len(str(row[column])) for row in rows) for column in range(4))
    for name, *facts in rows:
        print(f"{name:{width}}", *(f"{fact:>{width}}" for fact, width in zip(facts, widths, strict=True)), sep="  ")


def _is_main_process() -> bool:
    # Known before there is an accelerator, and where one is refused.
    return os.environ.get("RANK", "0") == "0"
