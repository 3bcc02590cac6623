"""Arguments that several commands take."""

import argparse
import os


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Let a command take a recipe and `key=value` overrides."""
    parser.add_argument("recipe", metavar="RECIPE", help="built-in name or YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example train.iterations=10")


def is_main_process() -> bool:
    """Tell whether this process speaks for all: known before there is an accelerator, and where one is refused."""
    return os.environ.get("RANK", "0") == "0"
