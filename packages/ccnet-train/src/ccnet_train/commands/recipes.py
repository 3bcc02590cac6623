"""`ccnet-train recipes`: the built-in recipes as a table."""

import argparse

from ccnet_train.recipe import recipe_rows


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    commands.add_parser("recipes", help="list the built-in recipes").set_defaults(run=run)


def run(_: argparse.Namespace) -> None:
    """Print a line for each built-in recipe."""
    rows = [("recipe", "dataset", "iterations", "images per step"), *recipe_rows()]
    width, *widths = (max(len(str(row[column])) for row in rows) for column in range(4))
    for name, *facts in rows:
        print(f"{name:{width}}", *(f"{fact:>{width}}" for fact, width in zip(facts, widths, strict=True)), sep="  ")
