"""`ccnet-train evaluate`: measure weights on a split of the recipe's data."""

import argparse
from pathlib import Path

from ccnet_train.commands.arguments import add_recipe, is_main_process
from ccnet_train.label_files import FORMATS
from ccnet_train.recipe import Recipe, load_recipe


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "evaluate",
        help="measure weights on the recipe's validation split",
        description="Measure weights on a split of the recipe's data, by its section `evaluate`. What was stopped goes "
        "on when the same command is given again.",
    )
    add_recipe(parser)
    parser.add_argument("--weights", required=True, metavar="FOLDER", help="weights folder, Hub id or zoo model")
    parser.add_argument("--split", default="val", metavar="NAME", help="of the dataset (default: val)")
    parser.add_argument("--tta", action="store_true", help="average six scales and their mirror images")
    parser.add_argument(
        "--labels", choices=FORMATS, help="write each prediction as a PNG: as it is, or as that server takes it"
    )
    parser.add_argument("--report", action="store_true", help="also write report.html, a page that needs nothing else")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: a folder beside the weights")
    parser.add_argument("--fresh", action="store_true", help="delete the evaluation in DIR and start over")
    parser.set_defaults(run=run, how_to_continue=lambda _: " The same command continues.")


def run(options: argparse.Namespace) -> None:
    """Evaluate and print the table of scores."""
    from ccnet_train.evaluate_weights import evaluate_weights

    recipe = load_recipe(options.recipe, options.overrides)
    out = options.out or _beside(options.weights, recipe, options.split, tta=options.tta)
    found = evaluate_weights(
        recipe,
        options.weights,
        out=out,
        split=options.split,
        tta=options.tta,
        labels=options.labels,
        report=options.report,
        fresh=options.fresh,
    )
    if is_main_process():
        if found.has_truth:
            print(found.table())
        elif options.report:
            print("No pixel of the split has a class, so there are no scores and no report.")
        print(f"\n{len(found.pictures)} pictures: {out}")


def _beside(weights: str, recipe: Recipe, split: str, *, tta: bool) -> Path:
    """Return the folder for an evaluation of a weights folder, beside it; of other weights, in the recipe's output."""
    folder = Path(weights).expanduser()
    parent, name = (folder.parent, folder.name) if folder.is_dir() else (Path(recipe.output), weights.replace("/", "-"))
    return parent.expanduser() / "evaluation" / f"{name}-{split}{'-tta' if tta else ''}"
