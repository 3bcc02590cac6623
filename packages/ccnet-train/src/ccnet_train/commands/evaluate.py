"""`ccnet-train evaluate`: measure weights on a split of the recipe's data."""

import argparse

from ccnet_train.commands.arguments import add_recipe, is_main_process
from ccnet_train.recipe import load_recipe


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = commands.add_parser("evaluate", help="measure weights on the recipe's validation split")
    add_recipe(parser)
    parser.add_argument("--weights", required=True, metavar="FOLDER", help="weights folder or Hub id")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Evaluate and print the table of scores."""
    from ccnet_train.evaluate import evaluate_weights, table

    scores, classes = evaluate_weights(load_recipe(options.recipe, options.overrides), options.weights)
    if is_main_process():
        print(table(scores, classes))
